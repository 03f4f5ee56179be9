"""
Read the records of one volume.

Readers take no lock. A volume's records are read again when its generation moved meanwhile, so that what is returned
is the state before or after a concurrent verb and never a mix.
"""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from snapengine import errors, inventory, layout, ownership, tree
from snapengine.inventory import Record, Snapshot, SnapshotRecord, TrashRecord, VolumeRecord

ATTEMPTS = 100  # a reader loses this often only against writers without a pause
_USUAL = 2**16  # bytes; to make room for the largest record would cost more than to read a usual one


Kept = TypeVar("Kept", SnapshotRecord, TrashRecord)


class Contents(NamedTuple):
    """All records of one volume at one moment; directory is where its images and records lie."""

    directory: Path
    volume: VolumeRecord
    snapshots: Mapping[str, SnapshotRecord]
    trash: Mapping[str, TrashRecord]


def read(path: Path | str, kind: type[Record]) -> Record:
    """Return the record of kind at path; FileNotFoundError without one, Corrupt for a damaged one."""
    return inventory.decode(read_bytes(path), kind, path)


def read_bytes(path: Path | str) -> bytes:
    """Return what the record's file at path holds; Corrupt for what is no regular file, or too large for a record."""
    try:
        data = _bytes(path)
    except OSError as e:
        if e.errno != errno.EISDIR and not os.path.islink(path):
            raise
        raise errors.Corrupt(what=f"record {path} is no regular file") from e
    if len(data) > inventory.MAX_RECORD:
        raise errors.Corrupt(what=f"record {path} is larger than any that snapengine writes")
    return data


def _bytes(path: Path | str) -> bytes:
    """Return the start of the file at path, a byte more than a record may have; os.open is half the cost of open()."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        data = os.read(fd, _USUAL)
        return data + os.read(fd, inventory.MAX_RECORD + 1 - _USUAL) if len(data) == _USUAL else data
    finally:
        os.close(fd)


def read_volume(directory: Path) -> VolumeRecord:
    """
    Return the record of the volume in directory, its path as it is now; NotFound when it went, Corrupt when damaged.

    A store may have been moved, and no path in a record is trusted.
    """
    return placed(stored_volume(directory), directory)


def stored_volume(directory: Path) -> VolumeRecord:
    """Return the record of the volume in directory as it was written; errors as for read_volume."""
    volume = layout.volume_of(directory)
    path = directory / layout.record(volume)
    try:
        _require_own(directory)
        record = read(path, VolumeRecord)
    except FileNotFoundError as e:
        if directory.is_dir():
            raise errors.Corrupt(what=f"the record {path} of volume {volume} is missing") from e
        raise errors.unknown("volume", volume) from e
    if record.uuid != volume:
        raise errors.Corrupt(what=f"record {path} is of another volume, {record.uuid}")
    return record


def _require_own(directory: Path) -> None:
    """Raise Corrupt where a volume's directories, or its account's, are links, or others could plant files in them."""
    try:
        for path in (directory.parents[1], directory.parent, directory):
            ownership.require_own(path)
    except errors.Denied as e:
        raise errors.Corrupt(what=e.what, hint="nothing in it was looked at") from e


def placed(record: VolumeRecord, directory: Path) -> VolumeRecord:
    """
    Return record with the path that its image has now, and its status; record itself when it says just that.

    A volume is deleted where it lies among the deleted ones, and nowhere else, whatever its record says.
    """
    path, status = f"{directory}/{layout.active_name(record)}", record.status
    if layout.is_deleted(directory):
        status = "Deleted"
    elif status == "Deleted":
        status = "Ready"
    if (record.install_path, record.status) == (path, status):
        return record
    return msgspec.structs.replace(record, install_path=path, status=status)


def read_snapshot(directory: Path, snapshot: str) -> SnapshotRecord:
    """Return the record of a snapshot in directory, its path as it is now; NotFound without one."""
    path = f"{directory}/{snapshot}.json"
    try:
        record = read(path, SnapshotRecord)
    except FileNotFoundError as e:
        raise errors.unknown("snapshot", snapshot) from e
    if record.uuid != snapshot or f"vol-{record.volume_uuid}" != directory.parent.name:
        raise errors.Corrupt(what=f"record {path} is of another snapshot or volume")
    image = f"{directory}/{snapshot}.qcow2"
    if record.primary_storage_install_path == image:
        return record
    return msgspec.structs.replace(record, primary_storage_install_path=image)


def shown_snapshot(directory: Path, snapshot: str) -> SnapshotRecord:
    """Return the record of a snapshot as readers see it; NotFound also for one that an unfinished delete destroys."""
    found = contents(directory).snapshots
    if snapshot not in found:
        raise errors.unknown("snapshot", snapshot)
    return found[snapshot]


def require_ready(snapshot: Snapshot, done: str) -> None:
    """Raise WrongStatus unless a snapshot is Enabled and Ready to be reverted to, cloned, or whatever is to be done."""
    if snapshot.status != "Ready" or snapshot.state != "Enabled":
        uuid, name, state, status = snapshot.uuid, snapshot.name, snapshot.state, snapshot.status
        raise errors.WrongStatus(uuid=uuid, name=name, state=state, status=status, done=done)


def named_snapshot(directory: Path, snapshot: str) -> SnapshotRecord:
    """Return the record of a snapshot that another record names; Corrupt without one, since nobody asked for it."""
    try:
        return read_snapshot(directory, snapshot)
    except errors.NotFound as e:
        raise errors.Corrupt(what=f"a record in {directory} names snapshot {snapshot}, which has no record") from e


def read_trash(directory: Path, item: str) -> TrashRecord:
    """Return the record of a trash item in directory; NotFound without one."""
    path = directory / layout.trash_record(item)
    try:
        record = read(path, TrashRecord)
    except FileNotFoundError as e:
        raise errors.unknown("trash item", item) from e
    if record.uuid != item or f"vol-{record.volume_uuid}" != directory.parent.name:
        raise errors.Corrupt(what=f"record {path} is of another trash item or volume")
    return record


def contents(directory: Path) -> Contents:
    """Return all records of the volume in directory, as of one moment; NotFound when the volume went meanwhile."""
    return _as_of_one_moment(directory, whole=True)[0]


def intact(directory: Path) -> tuple[Contents, tuple[errors.Corrupt, ...]]:
    """
    Return the records as contents() does without damaged ones of snapshots and trash items, and what those are.

    For whoever only shows them: what stands on a snapshot that is left out has `latest` and `distance` as recorded.
    """
    return _as_of_one_moment(directory, whole=False)


def _as_of_one_moment(directory: Path, whole: bool) -> tuple[Contents, tuple[errors.Corrupt, ...]]:
    for _ in range(ATTEMPTS):
        before = read_volume(directory)
        damaged: list[errors.Corrupt] = []
        try:
            found = _read_all(directory, before, None if whole else damaged)
        except errors.NotFound:
            continue  # a record went between the listing and the reading: a verb is at work
        except errors.Corrupt:
            if read_volume(directory).generation == before.generation:
                raise
            continue
        if read_volume(directory).generation == before.generation:
            return found, tuple(damaged)
    raise errors.Busy(what=f"volume {directory.parent.name.removeprefix('vol-')} changes all the time; try again later")


def _read_all(directory: Path, volume: VolumeRecord, damaged: list[errors.Corrupt] | None) -> Contents:
    """Return all records; damaged, if given, takes the error of each that is left out."""
    names, items = record_names(directory)
    snapshots = _each(directory, (name for name in names if name != volume.uuid), read_snapshot, damaged)
    trash = _each(directory, items, read_trash, damaged)
    records = {r.uuid: r for r in snapshots if _is_there(volume, r)}
    kept = {r.uuid: r for r in trash if _is_there(volume, r)}
    for moved in volume.moved:
        if moved.uuid in records:
            changes = {"parent_uuid": moved.parent_uuid, "tree_uuid": moved.tree_uuid}
            records[moved.uuid] = msgspec.structs.replace(records[moved.uuid], **changes)
        elif moved.uuid in kept:
            kept[moved.uuid] = msgspec.structs.replace(kept[moved.uuid], snapshot_uuid=moved.parent_uuid)
    try:
        return Contents(directory, volume, tree.fresh(volume, records), kept)
    except errors.Corrupt as e:
        if damaged is None:
            raise
        damaged += [] if damaged else [e]
        return Contents(directory, volume, records, kept)


def _each(
    directory: Path, names: Iterable[str], read: Callable[[Path, str], Kept], damaged: list[errors.Corrupt] | None
) -> list[Kept]:
    found = []
    for name in names:
        try:
            found.append(read(directory, name))
        except errors.Corrupt as e:
            if damaged is None:
                raise
            damaged.append(e)
    return found


def _is_there(volume: VolumeRecord, record: SnapshotRecord | TrashRecord) -> bool:
    """Tell whether the volume's record knows this one: its verb has ended, and none has removed it since."""
    return record.generation <= volume.generation and record.uuid not in volume.gone


def record_names(directory: Path) -> tuple[list[str], list[str]]:
    """
    Return the uuids of all records in directory: those of the volume and its snapshots, and those of trash items.

    NotFound when the volume went: it was read a moment ago, and has been deleted or recovered since.
    """
    try:
        found = os.listdir(directory)
    except FileNotFoundError as e:
        raise errors.unknown("volume", layout.volume_of(directory)) from e
    names = [name.removesuffix(".json") for name in found if name.endswith(".json")]
    trash = [name.removesuffix(".trash") for name in names if name.endswith(".trash")]
    return [n for n in names if layout.is_uuid(n)], [n for n in trash if layout.is_uuid(n)]
