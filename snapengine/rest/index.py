"""
What readers know of the store: the records of each volume, kept as long as its directory was not touched.

It can be thrown away at any moment and is never wrong: every record is replaced by a rename, which moves the time of
its directory, so a directory with the times that it had before holds what it held; one that was touched within the last
moment is read anew each time (stamps).
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from snapengine import deleted, errors, layout, records, roster, stamps, store, tag, tree
from snapengine.inventory import Snapshot, VolumeRecord
from snapengine.records import Contents
from snapengine.rest import faults
from snapengine.rest.things import Thing
from snapengine.stamps import Stamp


class Known(NamedTuple):
    """A volume as it was read: what its records said, and its snapshots as they are shown, oldest first."""

    stamp: Stamp | None  # of its directory; None where that was touched a moment ago
    account: str
    contents: Contents
    snapshots: tuple[Snapshot, ...]


class Place(NamedTuple):
    """Whose an object is, and the uuids of the volumes that a verb on it works on."""

    account: str
    volumes: tuple[str, ...]


class Index:
    """The records of all volumes below root. Not for several threads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[Path, Known] = {}
        self._where: dict[str, Path] = {}  # of snapshots: a hint, checked at each use

    def volumes(self) -> Iterator[Known]:
        """Give every volume that is there now; one that can't be read is left out."""
        there = list(store.directories(self._root))
        for gone in self._known.keys() - set(there):
            self._forget(gone)
        for directory in there:
            if (known := self.volume(directory)) is not None:
                yield known

    def volume(self, directory: Path) -> Known | None:
        """Return the volume in a `snapshots` directory; None where it went, or its record can't be read."""
        try:
            stamp = stamps.of(os.stat(directory))
            known = self._known.get(directory)
            if known is not None and known.stamp == stamp:
                return known
            return self._read(directory, stamp)
        except (errors.NotFound, errors.Corrupt, FileNotFoundError):
            self._forget(directory)
            return None

    def _read(self, directory: Path, stamp: Stamp) -> Known:
        contents, _ = records.intact(directory)
        ordered = sorted(contents.snapshots.values(), key=tree.age)
        known = Known(stamp, layout.account_of(directory), contents, tuple(map(tree.view, ordered)))
        self._forget(directory)
        self._known[directory] = known if stamps.is_settled(stamp) else known._replace(stamp=None)
        self._where |= dict.fromkeys(contents.snapshots, directory)
        return known

    def _forget(self, directory: Path) -> None:
        if (known := self._known.pop(directory, None)) is not None:
            for snapshot in known.contents.snapshots:
                self._where.pop(snapshot, None)

    def volume_of(self, uuid: str) -> Known | None:
        """Return the volume with this uuid."""
        try:
            return self.volume(store.find_volume(self._root, uuid))
        except errors.NotFound:
            return None

    def holding(self, snapshot: str) -> Known | None:
        """Return the volume that has this snapshot."""
        if not layout.is_uuid(snapshot):
            return None
        known = self._hinted(snapshot)
        return known or next((known for known in self.volumes() if snapshot in known.contents.snapshots), None)

    def _hinted(self, snapshot: str) -> Known | None:
        """Return the volume that had this snapshot when it was read last, if it still has."""
        hint = self._where.get(snapshot)
        known = self.volume(hint) if hint is not None else None
        return known if known is not None and snapshot in known.contents.snapshots else None

    def deleted(self) -> Iterator[tuple[Path, VolumeRecord]]:
        """Give the directory and the record of every deleted volume."""
        return deleted.volumes(self._root)

    def places(self, things: Iterable[Thing], only: str | None) -> Iterator[tuple[Thing, Place | None]]:
        """
        Give each thing and where it is, None for an unknown one; Forbidden for what is not of the account only.

        However many snapshots there are, each volume is looked at once for all that are unknown.
        """
        held, is_all = dict[str, Known](), False
        for thing in things:
            if thing.kind != "VolumeSnapshotVO":
                place = self.find(thing)
            else:
                if thing.uuid not in held and not is_all:
                    known = self._hinted(thing.uuid)
                    is_all = known is None
                    for each in (known,) if known is not None else self.volumes():
                        held |= dict.fromkeys(each.contents.snapshots, each)
                place = _place_of(held.get(thing.uuid))
            if place is not None and only not in (None, place.account):
                raise faults.Forbidden(type=thing.type, uuid=thing.uuid)
            yield thing, place

    def require_own(self, things: Iterable[Thing], only: str | None) -> None:
        """Raise Forbidden where one of things is there and not of the account only; None is whoever may all."""
        for _ in self.places(things, only):
            pass

    def find(self, thing: Thing) -> Place | None:
        """Return where a thing is; None for an unknown one."""
        with suppress(errors.NotFound, errors.Corrupt):
            if thing.kind == "VolumeVO":
                return _place(store.find_volume(self._root, thing.uuid), thing.uuid)
            if thing.kind == "DeletedVolumeVO":
                return _place(deleted.find(self._root, thing.uuid), thing.uuid)
            if thing.kind == "VolumeSnapshotGroupVO":
                return self._group(thing.uuid)
        known = self.holding(thing.uuid) if thing.kind == "VolumeSnapshotVO" else None
        if thing.kind == "TagVO":
            known = next((each for each in self.volumes() if _has_tag(each, thing.uuid)), None)
        return _place_of(known)

    def owner_of_group(self, group: str) -> str | None:
        """Return the account that a group belongs to; None for an unknown one."""
        place = self.find(Thing("VolumeSnapshotGroupVO", group, ""))
        return None if place is None else place.account

    def _group(self, group: str) -> Place:
        """Return whose a group is; where its record does not say, nobody but admin knows whose a lost volume was."""
        record = roster.read(self._root, group)
        volumes = tuple(member.volume_uuid for member in record.members)
        return Place(record.account or roster.owner(map(self._owner, volumes)), volumes)

    def _owner(self, volume: str) -> str:
        place = self.find(Thing("VolumeVO", volume, "")) or self.find(Thing("DeletedVolumeVO", volume, ""))
        return place.account if place else layout.ADMIN


def _place_of(known: Known | None) -> Place | None:
    return None if known is None else Place(known.account, (known.contents.volume.uuid,))


def _has_tag(known: Known, uuid: str) -> bool:
    return any(each.uuid == uuid for each in tag.of(known.contents))


def _place(directory: Path, volume: str) -> Place:
    return Place(layout.account_of(directory), (volume,))
