"""
What is left of a volume in its directory: sound records, notes at the images, headers, names.

Changes nothing. The caller holds the volume's lock.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from snapengine import arguments, blank, chain, errors, inventory, layout, notes, qcow2, records, tree, units
from snapengine.checks import Expected
from snapengine.inventory import SnapshotRecord, TrashRecord, VolumeRecord
from snapengine.reckoning import Image
from snapengine.removal import Family

Kept = TypeVar("Kept")

NOTED, MADE = "noted", "made"


class Remains(NamedTuple):
    """
    What is left of a volume.

    stored are its sound records, by uuid; family has one for everything that is to have one. source says of the others
    whether theirs is NOTED at the image or MADE of what the files tell. images are those that can be read, bad says of
    the others where they should be and why they can't.
    """

    directory: Path
    family: Family
    images: dict[str, Image]
    stored: dict[str, tree.Standing]
    source: dict[str, str]
    bad: dict[str, tuple[Path, str]]


class _Version(msgspec.Struct, rename="camel"):
    schema_version: int = 0


def look(directory: Path, place: blank.Place) -> Remains:
    """
    Return what is left of the volume in directory; place says what its records can't.

    Raises Corrupt where a record was written by a newer snapengine, OSError for what can't be read.
    """
    uuid, left = place.volume, _Left(directory, place)
    volume = left.volume()
    gone = set(volume.gone)
    names = os.listdir(directory)
    frozen = {name for name in map(layout.uuid_of, names) if name} - {uuid} - gone
    kept = {layout.owner(name) for name in names if layout.is_trash(name)} - gone
    recorded, _ = records.record_names(directory)
    for item in sorted(kept):
        left.trash(item)
    for snapshot in sorted((frozen | set(recorded)) - {uuid} - gone):
        left.snapshot(snapshot)
    left.needed(gone)
    family = Family(_known(volume, left), left.snapshots, left.items)
    return Remains(directory, family, left.images, left.stored, left.source, left.bad)


def _known(volume: VolumeRecord, left: "_Left") -> VolumeRecord:
    """Return a record that was made anew with what its snapshots know: the type of a deleted volume, its size."""
    if left.source.get(volume.uuid) != MADE:
        return volume
    kinds = [r.volume_type for uuid, r in left.snapshots.items() if left.source.get(uuid) != MADE]
    size = volume.size or max((image.size for image in left.images.values()), default=0)
    return msgspec.structs.replace(volume, type=kinds[0] if kinds else volume.type, size=size)


class _Left:
    """What was found so far."""

    def __init__(self, directory: Path, place: blank.Place) -> None:
        self.directory, self.place = directory, place
        self.snapshots: dict[str, SnapshotRecord] = {}
        self.items: dict[str, TrashRecord] = {}
        self.images: dict[str, Image] = {}
        self.stored: dict[str, tree.Standing] = {}
        self.source: dict[str, str] = {}
        self.bad: dict[str, tuple[Path, str]] = {}
        self.active: os.stat_result | None = None

    def volume(self) -> VolumeRecord:
        """Find the volume's own record and its active image."""
        uuid = self.place.volume
        said = sound(self.directory / layout.record(uuid), lambda: _volume(self.directory))
        path = self.directory / (layout.active_name(said) if said else layout.image(uuid))
        file = self._image(uuid, path)
        with suppress(FileNotFoundError):
            self.active = os.lstat(path)
        if said is not None:
            self.stored[uuid] = said
            return said
        noted = notes.volume(path, uuid)
        self.source[uuid] = NOTED if noted else MADE
        size = self.images[uuid].size if uuid in self.images else 0
        made = noted or blank.volume(self.place, size, file)
        where = {"account": self.place.account, "primary_storage_uuid": self.place.storage, "install_path": str(path)}
        base = made.base if is_base(made.base, self.place.account) else None
        return records.placed(msgspec.structs.replace(made, **where, base=base), self.directory)

    def snapshot(self, uuid: str) -> None:
        """Find a snapshot: a file that is but the active image's second name, or tells nothing, is none."""
        path = self.directory / layout.image(uuid)
        said = sound(path.with_suffix(".json"), lambda: records.read_snapshot(self.directory, uuid))
        if said is None and self._is_active(path):
            return
        file = self._image(uuid, path)
        if said is not None:
            self.snapshots[uuid] = self.stored[uuid] = said
            return
        noted = notes.snapshot(path, uuid)
        if noted is None and uuid not in self.images:
            return
        self.source[uuid] = NOTED if noted else MADE
        self.snapshots[uuid] = self._here(noted) if noted else blank.snapshot(self.place, uuid, file)

    def trash(self, uuid: str) -> None:
        """Find a trash item; a file that tells nothing is none."""
        path = self.directory / layout.trash_image(uuid)
        said = sound(path.with_suffix(".json"), lambda: records.read_trash(self.directory, uuid))
        file = self._image(uuid, path)
        if said is not None:
            self.items[uuid] = self.stored[uuid] = said
            return
        noted = notes.trash(path, uuid)
        if noted is None and uuid not in self.images:
            return
        self.source[uuid] = NOTED if noted else MADE
        here = {"volume_uuid": self.place.volume}
        self.items[uuid] = msgspec.structs.replace(noted, **here) if noted else blank.trash(self.place, uuid, file)

    def needed(self, gone: Iterable[str]) -> None:
        """Add the snapshots that images stand on and of which nothing else is left."""
        named = {layout.uuid_of(image.backing) for image in self.images.values() if image.backing}
        for uuid in sorted(name for name in named if name and layout.is_uuid(name)):
            if uuid not in self.snapshots and uuid != self.place.volume and uuid not in gone:
                self.source[uuid] = MADE
                path = self.directory / layout.image(uuid)
                self.snapshots[uuid] = blank.snapshot(self.place, uuid, _file(path))
                self.bad.setdefault(uuid, (path, f"image {path} is missing"))

    def _here(self, record: SnapshotRecord) -> SnapshotRecord:
        """Return a noted record with the path and the owner that the image has now."""
        path = f"{self.place.directory}/{layout.image(record.uuid)}"
        where = {"volume_uuid": self.place.volume, "primary_storage_install_path": path}
        return msgspec.structs.replace(record, **where, primary_storage_uuid=self.place.storage)

    def _is_active(self, path: Path) -> bool:
        try:
            return self.active is not None and os.path.samestat(self.active, os.lstat(path))
        except FileNotFoundError:
            return False

    def _image(self, uuid: str, path: Path) -> blank.File:
        """Read the image at path, and return what the file system says of it."""
        try:
            layer = _read(path, self.place.account)
        except (errors.Corrupt, errors.Refused) as e:
            self.bad[uuid] = path, str(e)
            return _file(path)
        self.images[uuid] = Image(layer.backing, layer.header.size)
        is_own = layer.backing == path.name  # a circle
        if layer.backing and layout.is_bare(layer.backing) and (is_own or layout.uuid_of(layer.backing) is None):
            self.bad[uuid] = path, f"image {path} stands on {layer.backing}, which is no snapshot's image"
        return blank.File(layer.allocated, layer.modified)


def _file(path: Path) -> blank.File:
    """Return what the file system says of an image that can't be read; nothing where it is missing."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return blank.File(0, 0)
    return blank.File(units.allocated(found), found.st_mtime_ns)


def is_base(name: str | None, account: str) -> bool:
    """Tell whether a volume of an account may stand on what has this name: a guest may have written it."""
    return name is not None and layout.base_of(name) is not None and f"/acct-{account}/" in name


def _read(path: Path, account: str) -> chain.Layer:
    """Return the inspected image at path, which may stand on one beside it or on another snapshot of its account."""
    fd = chain.open_layer(path)
    try:
        name = qcow2.read_header(fd, path=path).backing_name
        base = name if is_base(name, account) else None
        return chain.opened(fd, path, Expected(backing=base, any_backing=True, max_size=arguments.MAX_SIZE))
    finally:
        os.close(fd)


def sound(path: Path, found: Callable[[], Kept]) -> Kept | None:
    """Return what found reads at path, None where that is missing or damaged; Corrupt where it is of a newer schema."""
    try:
        return found()
    except (errors.NotFound, FileNotFoundError):
        return None
    except errors.Corrupt:
        if is_newer(path):
            raise
        return None


def _volume(directory: Path) -> VolumeRecord:
    """Return the record of the volume in directory; one that gives its image a strange name is damaged too."""
    found = records.read_volume(directory)
    layout.active_name(found)
    return found


def is_newer(path: Path) -> bool:
    """Tell whether the record at path was written by a newer snapengine, which alone can read it."""
    with suppress(FileNotFoundError, errors.Corrupt, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        data = records.read_bytes(path)
        return msgspec.json.decode(data, type=_Version).schema_version > inventory.SCHEMA_VERSION
    return False
