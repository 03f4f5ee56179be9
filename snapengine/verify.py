"""
Compare the records with the images: what the records say must be what the headers say, and nothing else may be there.

Changes nothing. Each kind of problem is a stable word; docs/reliability.md lists them.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snapengine import chain, driver, errors, journal, layout, lock, records, roster, settle, store, strays, tree
from snapengine.inventory import Struct
from snapengine.records import Contents
from snapengine.store import Store

_RESTORE_RECORD = "restore the record from a backup; the images are not touched"
_RESTORE_IMAGE = "restore the file from a backup"
_LEAVE = "leave it where it is: it holds data of the volume; restore its record from a backup"
_MOVE_COPY = "move one of them out of the store"
_SEPARATE = "copy the file and put the copy in its place: what is written to one name shows in the other"
_REGROUP = "harmless; restore the record of the snapshot or of the group from a backup"
_RESTORE_ROOM = "harmless; 'qemu-img check -r leaks' gives the room back while no VM runs"


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong; object is a uuid, repair says what to do."""

    kind: str
    object: str
    path: str
    message: str
    repair: str


def verify(opened: Store, volumes: tuple[str, ...], deep: bool, wait: float) -> tuple[Problem, ...]:
    """
    Return all problems of the volumes, or of the whole store when none are given.

    deep runs `qemu-img check` on each image too. A volume is looked at under its lock, together with others that only
    read: Locked when a writing operation holds it for longer than wait seconds.
    """
    found: list[Problem] = [] if volumes else list(_storage(opened))
    chosen = [store.find_volume(opened.root, v) for v in volumes] or store.directories(opened.root)
    for directory in chosen:
        with suppress(FileNotFoundError), lock.shared(directory.parent, "verify", wait):
            found += _volume(opened.root, directory, deep)
    return tuple(found)


def _storage(opened: Store) -> Iterator[Problem]:
    root = opened.root
    for operation in journal.operations(root):
        yield from _operation(root, operation)
    yield from _accounts(opened)
    yield from _groups(root)
    first: dict[str, Path] = {}
    for volume in (directory.parent for directory in store.directories(root)):
        if first.setdefault(volume.name, volume) != volume:
            message = f"{first[volume.name]} has the same uuid; nobody can tell which one is meant"
            yield _problem("duplicate-uuid", volume.name.removeprefix("vol-"), volume, message, _MOVE_COPY)
    yield from (_stray(opened.record.uuid, path) for path in strays.of_store(root))


def _accounts(opened: Store) -> Iterator[Problem]:
    path = opened.root / layout.ACCOUNTS_RECORD
    try:
        store.read_accounts(opened.root)
    except FileNotFoundError:
        yield _problem("record-damaged", opened.record.uuid, path, "the accounts' record is missing", _RESTORE_RECORD)
    except errors.Corrupt as e:
        yield _problem("record-damaged", opened.record.uuid, path, str(e), _RESTORE_RECORD)


def _groups(root: Path) -> Iterator[Problem]:
    for uuid in roster.uuids(root):
        path = roster.path(root, uuid)
        try:
            for member in roster.read(root, uuid).members:
                yield from _member(root, uuid, member.volume_uuid, member.volume_snapshot_uuid)
        except errors.Corrupt as e:
            yield _problem("record-damaged", uuid, path, str(e), _RESTORE_RECORD)
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
            yield _problem("wrong-group", snapshot, path, message, _REGROUP)


def _operation(root: Path, operation: str) -> Iterator[Problem]:
    path = journal.path_of(root, operation)
    try:
        entry = journal.read(root, operation)
    except errors.Corrupt as e:
        repair = "if no newer snapengine wrote it, move it out of the store, then verify again"
        yield _problem("journal-damaged", operation, path, str(e), repair)
        return
    if entry is not None and not journal.is_running(root, operation):
        message = f"{entry.verb} of {entry.started} was cut off"
        repair = "the next verb on the volume, or 'snapengine status', finishes or undoes it"
        if not all(directory.is_dir() for directory in settle.directories(root, entry)):
            repair = "mount the disk of its volume; only if the volume is gone for good, remove this file"
        yield _problem("unfinished", entry.volume_uuid, path, message, repair)


def _stray(uuid: str, path: Path) -> Problem:
    message = f"{path.name} belongs to nothing that the records know"
    return Problem(kind="stray-file", object=uuid, path=str(path), message=message, repair="move it out of the store")


def _volume(root: Path, directory: Path, deep: bool) -> list[Problem]:
    volume = directory.parent.name.removeprefix("vol-")
    try:
        contents = records.contents(directory)
    except errors.NotFound:
        return []
    except errors.Corrupt as e:
        return [_problem("record-damaged", volume, directory, str(e), _RESTORE_RECORD)]
    found = [*_trees(contents), *_strays(root, contents)]
    if not any(directory in settle.directories(root, entry) for entry in journal.readable(root)):
        found += _shared(contents)  # an operation under way gives the active image its second name
        strangers = roster.strangers(root, contents)
        found += [_problem("wrong-group", uuid, path, message, _REGROUP) for uuid, path, message in strangers]
    return [*found, *(problem for image in _images(contents) for problem in _image(contents, *image, deep))]


def _shared(contents: Contents) -> Iterator[Problem]:
    for uuid, name, _, _ in _images(contents):
        path = contents.directory / name
        with suppress(FileNotFoundError):
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and status.st_nlink != 1:
                yield _problem("image-shared", uuid, path, "the file has another name elsewhere", _SEPARATE)


def _strays(root: Path, contents: Contents) -> Iterator[Problem]:
    """Tell what no record knows; above all what must not be moved away, since an image of the volume stands on it."""
    found = strays.of_volume(root, contents)
    needed = {_backing(contents.directory / name): name for _, name, _, _ in _images(contents)} if found else {}
    for path in found:
        if path.name in needed:
            message = f"{needed[path.name]} stands on it, but it has no record"
            yield _problem("record-missing", contents.volume.uuid, path, message, _LEAVE)
        else:
            yield _stray(contents.volume.uuid, path)


def _backing(path: Path) -> str | None:
    with suppress(errors.Refused, errors.Corrupt):
        return chain.layer(path).backing
    return None


def _problem(kind: str, uuid: str, path: Path, message: str, repair: str) -> Problem:
    return Problem(kind=kind, object=uuid, path=str(path), message=message, repair=repair)


def _trees(contents: Contents) -> Iterator[Problem]:
    volume, path = contents.volume, contents.directory / layout.record(contents.volume.uuid)
    if sum(t.current for t in volume.trees) > 1:
        yield _problem("wrong-current", volume.uuid, path, "more than one tree is current", _RESTORE_RECORD)
    for t in volume.trees:
        if t.latest not in contents.snapshots:
            message = f"tree {t.uuid} has the latest {t.latest}, which is no snapshot"
            yield _problem("wrong-latest", volume.uuid, path, message, _RESTORE_RECORD)
        elif contents.snapshots[t.latest].tree_uuid != t.uuid:
            message = f"the latest of tree {t.uuid} is in another tree"
            yield _problem("wrong-latest", volume.uuid, path, message, _RESTORE_RECORD)
    known = {t.uuid for t in volume.trees}
    for record in contents.snapshots.values():
        at = contents.directory / layout.record(record.uuid)
        parent = contents.snapshots.get(record.parent_uuid or "")
        if record.tree_uuid not in known or (parent is not None and parent.tree_uuid != record.tree_uuid):
            message = "the snapshot is not in the tree of its parent"
            yield _problem("torn-tree", record.uuid, at, message, _RESTORE_RECORD)
        yield from _copies(contents, record.uuid, at)


def _copies(contents: Contents, uuid: str, path: Path) -> Iterator[Problem]:
    """Compare the copies of latest and distance in a snapshot's own record with what the trees say."""
    said = records.read_snapshot(contents.directory, uuid)
    right = contents.snapshots[uuid]
    for name, told, true in (("latest", said.latest, right.latest), ("distance", said.distance, right.distance)):
        if told != true:
            message = f"the record says {name} {told}, the trees say {true}"
            yield _problem(f"wrong-{name}", uuid, path, message, _RESTORE_RECORD)


def _images(contents: Contents) -> Iterator[tuple[str, str, str | None, int | None]]:
    """Give uuid, file name and expected backing uuid of every image, and the active one's recorded size."""
    volume = contents.volume
    yield volume.uuid, layout.active_name(volume), tree.latest(volume), volume.size
    for record in contents.snapshots.values():
        yield record.uuid, layout.image(record.uuid), record.parent_uuid, None
    for item in contents.trash.values():
        yield item.uuid, layout.trash_image(item.uuid), item.snapshot_uuid, None


def _image(
    contents: Contents, uuid: str, name: str, backing: str | None, size: int | None, deep: bool
) -> Iterator[Problem]:
    path = contents.directory / name
    if not os.path.lexists(path):
        yield _problem("image-missing", uuid, path, "the image is missing", _RESTORE_IMAGE)
        return
    try:
        layer = chain.layer(path)
    except errors.Refused as e:
        yield _problem("image-refused", uuid, path, str(e), _RESTORE_IMAGE)
        return
    said = layout.image(backing) if backing else None
    if layer.backing != said:
        message = f"the image stands on {layer.backing}, the record says {said}"
        yield _problem("wrong-backing", uuid, path, message, _RESTORE_RECORD)
    if size is not None and layer.header.size != size:
        message = f"the image has {layer.header.size} bytes, the record says {size}"
        yield _problem("wrong-size", uuid, path, message, _RESTORE_RECORD)
    if deep:
        yield from _checked(uuid, path)


def _checked(uuid: str, path: Path) -> Iterator[Problem]:
    try:
        found = driver.check(path)
    except errors.CommandFailed as e:
        if e.status != 1:  # not an answer: the tool is missing, or was killed
            raise
        message = f"qemu-img check can't read it: {e.stderr.splitlines()[0]}"
        yield _problem("image-corrupt", uuid, path, message, _RESTORE_IMAGE)
        return
    if found.corruptions or found.check_errors:
        message = f"qemu-img check found {found.corruptions} corruptions and {found.check_errors} errors"
        yield _problem("image-corrupt", uuid, path, message, _RESTORE_IMAGE)
    if found.leaks:
        yield _problem("image-leaks", uuid, path, f"{found.leaks} clusters are leaked", _RESTORE_ROOM)
