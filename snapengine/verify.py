"""
Compare the records with the images: what the records say must be what the headers say, and nothing else may be there.

Changes nothing. Each kind of problem is a stable word; docs/reliability.md lists them.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from snapengine import (
    chain,
    checksums,
    clones,
    deleted,
    errors,
    health,
    journal,
    layout,
    lock,
    records,
    roster,
    settle,
    standing,
    store,
    strays,
    unfinished,
    units,
)
from snapengine.health import Problem
from snapengine.intent import Entry
from snapengine.printed import Progress
from snapengine.records import Contents
from snapengine.store import Store

_LEAVE = "leave it where it is: it holds data of the volume; 'snapengine rebuild' makes a record for it"
_ADOPT = "'snapengine rebuild' makes a record for it; move it out of the store only if it is none of this volume"
_MOVE_COPY = "move one of them out of the store"
_SEPARATE = "copy the file and put the copy in its place: what is written to one name shows in the other"
_REGROUP = "harmless; 'snapengine repair' puts it right, or 'snapengine rebuild' where the group's record is lost"


class _Look:
    """How deep verify looks, and how far it is, by what the images take."""

    def __init__(self, directories: Iterable[Path], deep: bool, progress: Progress | None, rate: int | None) -> None:
        self.deep, self.rate = deep, rate
        self._progress = progress
        self._done = self._total = 0
        with suppress(OSError):  # what can't be read is a problem of its own
            self._total = sum(map(deleted.allocated, directories)) if progress is not None else 0

    def has_seen(self, path: Path) -> None:
        """Tell how far it is, once the image at path was looked at."""
        if self._progress is None:
            return
        with suppress(OSError):
            self._done += units.allocated(os.lstat(path))
        self._progress(min(self._done / self._total, 1.0) if self._total else 1.0)


def verify(
    opened: Store, volumes: tuple[str, ...], deep: bool, wait: float, progress: Progress | None = None,
    rate: int | None = None,
) -> tuple[Problem, ...]:  # fmt: skip
    """
    Return all problems of the volumes, or of the whole store when none are given.

    deep runs `qemu-img check` on each image too, and reads those that have a checksum, without a lock and at most rate
    bytes a second; progress is told the fraction done after each. All else is done under the volume's lock, together
    with others that only read: Locked when a writing operation holds it for longer than wait seconds.
    """
    root, uuid = opened.root, opened.record.uuid
    named = [store.find_volume(root, v) for v in volumes]
    look = _Look(named or store.all_directories(root), deep, progress, rate)
    if named:
        return tuple(_volumes(root, named, look, wait))
    whole = _volumes(root, store.all_directories(root), look, wait)
    parts = (unfinished.problems(root), _accounts(opened), _groups(root), _outside(opened), whole)
    return tuple(problem for part in parts for problem in health.readable(uuid, root, part))


def _volumes(root: Path, directories: Iterable[Path], look: _Look, wait: float) -> Iterator[Problem]:
    for directory in directories:
        with suppress(FileNotFoundError):
            uuid = layout.volume_of(directory)
            yield from health.readable(uuid, directory, _locked(root, directory, look, wait))


def _locked(root: Path, directory: Path, look: _Look, wait: float) -> Iterator[Problem]:
    with lock.shared(directory.parent, "verify", wait):
        found = _volume(root, directory, look)
    yield from found
    if look.deep:
        yield from checksums.problems(root, (directory,), wait, look.rate)


def _outside(opened: Store) -> Iterator[Problem]:
    root = opened.root
    first: dict[str, Path] = {}
    for volume in (directory.parent for directory in store.all_directories(root)):
        if first.setdefault(volume.name, volume) != volume:
            message = f"{first[volume.name]} has the same uuid; nobody can tell which one is meant"
            yield health.problem("duplicate-uuid", layout.owner(volume.name), volume, message, _MOVE_COPY)
    yield from (health.stray(opened.record.uuid, path) for path in strays.of_store(root))


def _accounts(opened: Store) -> Iterator[Problem]:
    path = opened.root / layout.ACCOUNTS_RECORD
    try:
        store.read_accounts(opened.root)
    except errors.Corrupt as e:
        yield health.problem("record-damaged", opened.record.uuid, path, e.what, health.REMAKE)


def _groups(root: Path) -> Iterator[Problem]:
    for uuid in roster.uuids(root):
        path = roster.path(root, uuid)
        try:
            for member in roster.read(root, uuid).members:
                yield from _member(root, uuid, member.volume_uuid, member.volume_snapshot_uuid)
        except errors.Corrupt as e:
            yield health.problem("record-damaged", uuid, path, e.what, health.REMAKE)
        except errors.NotFound:
            continue  # it went a moment ago


def _member(root: Path, group: str, volume: str, snapshot: str) -> Iterator[Problem]:
    """Compare a member's copy of the group's uuid, unless a verb that is at work on groups may just be changing it."""
    with suppress(errors.NotFound, errors.Corrupt):  # a deleted member is fine, a damaged one told of elsewhere
        directory = store.find_volume(root, volume)
        told = records.read_snapshot(directory, snapshot).group_uuid
        if told == group or any(entry.members for entry in journal.readable(root)):
            return
        if roster.path(root, group).exists():
            path, message = directory / layout.record(snapshot), f"group {group} lists it, the record says {told}"
            yield health.problem("wrong-group", snapshot, path, message, _REGROUP)


def _volume(root: Path, directory: Path, look: _Look) -> list[Problem]:
    volume = layout.volume_of(directory)
    try:
        contents = records.contents(directory)
    except errors.NotFound:
        return []
    except errors.Corrupt as e:
        return [health.problem("record-damaged", volume, directory, e.what, health.REMAKE)]
    found = [*_trees(contents), *_strays(root, contents)]
    if fault := clones.fault(contents):
        found.append(health.problem("base-missing", volume, *fault, health.RESTORE_IMAGE))
    entries = [entry for entry in journal.readable(root) if directory in settle.directories(root, entry)]
    if not entries:
        found += _shared(contents)  # an operation under way gives the active image its second name
        strangers = roster.strangers(root, contents)
        found += [health.problem("wrong-group", uuid, path, message, _REGROUP) for uuid, path, message in strangers]
    for image in standing.images(contents):
        found += health.readable(image[0], directory / image[1], health.of_image(directory, *image, look.deep))
        look.has_seen(directory / image[1])
    return [_meanwhile(problem, entries[0]) for problem in found] if entries else found


def _meanwhile(problem: Problem, entry: Entry) -> Problem:
    """Return what is to be done about records that disagree with the images while an operation is unfinished there."""
    if problem.repair not in (health.AGREE, health.FOLLOW, health.REMAKE):
        return problem
    repair = f"{entry.verb} is unfinished there: {health.SETTLE}; then verify again"
    return msgspec.structs.replace(problem, repair=repair)


def _shared(contents: Contents) -> Iterator[Problem]:
    for uuid, name, _, _ in standing.images(contents):
        path = contents.directory / name
        with suppress(FileNotFoundError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_nlink != 1:
                yield health.problem("image-shared", uuid, path, "the file has another name elsewhere", _SEPARATE)


def _strays(root: Path, contents: Contents) -> Iterator[Problem]:
    """Tell what no record knows; above all what must not be moved away, since an image of the volume stands on it."""
    found = strays.of_volume(root, contents)
    needed = {_backing(contents.directory / name): name for _, name, _, _ in standing.images(contents)} if found else {}
    for path in found:
        if path.name in needed:
            message = f"{needed[path.name]} stands on it, but it has no record"
            yield health.problem("record-missing", contents.volume.uuid, path, message, _LEAVE)
        elif _is_orphan(path):
            message = "it is an image as a snapshot or a trash item has one, but it has no record"
            yield health.problem("record-missing", contents.volume.uuid, path, message, _ADOPT)
        else:
            yield health.stray(contents.volume.uuid, path)


def _backing(path: Path) -> str | None:
    with suppress(errors.Refused, errors.Corrupt, OSError):
        return chain.layer(path).backing
    return None


def _is_orphan(path: Path) -> bool:
    """Tell whether a rebuild would take the image at path for that of a snapshot or trash item."""
    if layout.uuid_of(path.name) is None and not layout.is_trash(path.name):
        return False
    try:
        chain.layer(path)
    except (errors.Refused, errors.Corrupt, OSError):
        return False
    return True


def _trees(contents: Contents) -> Iterator[Problem]:
    volume, path = contents.volume, contents.directory / layout.record(contents.volume.uuid)
    if sum(t.current for t in volume.trees) > 1:
        yield health.problem("wrong-current", volume.uuid, path, "more than one tree is current", health.AGREE)
    for t in volume.trees:
        if t.latest not in contents.snapshots:
            message = f"tree {t.uuid} has the latest {t.latest}, which is no snapshot"
            yield health.problem("wrong-latest", volume.uuid, path, message, health.AGREE)
        elif contents.snapshots[t.latest].tree_uuid != t.uuid:
            message = f"the latest of tree {t.uuid} is in another tree"
            yield health.problem("wrong-latest", volume.uuid, path, message, health.AGREE)
    known = {t.uuid for t in volume.trees}
    for record in contents.snapshots.values():
        at = contents.directory / layout.record(record.uuid)
        parent = contents.snapshots.get(record.parent_uuid or "")
        if record.tree_uuid not in known or (parent is not None and parent.tree_uuid != record.tree_uuid):
            message = "the snapshot is not in the tree of its parent"
            yield health.problem("torn-tree", record.uuid, at, message, health.AGREE)
        yield from _copies(contents, record.uuid, at)


def _copies(contents: Contents, uuid: str, path: Path) -> Iterator[Problem]:
    """Compare the copies of latest and distance in a snapshot's own record with what the trees say."""
    said = records.read_snapshot(contents.directory, uuid)
    right = contents.snapshots[uuid]
    if said.latest != right.latest:
        message = f"the record says latest {said.latest}, the trees say {right.latest}"
        yield health.problem("wrong-latest", uuid, path, message, health.AGREE)
    if said.distance != right.distance:
        message = f"the record says distance {said.distance}, the trees say {right.distance}"
        yield health.problem("wrong-distance", uuid, path, message, health.AGREE)
