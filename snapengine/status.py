"""The store at a glance, and the settings that hold for all of it."""

import os
from contextlib import suppress

import msgspec

from snapengine import arguments, errors, journal, lock, records, reflink, store
from snapengine.inventory import PrimaryStorage, Setting, Struct
from snapengine.store import Store


class Unfinished(Struct, frozen=True, kw_only=True):
    """An operation that is under way (running) or was cut off."""

    operation: str
    verb: str
    volume_uuid: str
    started: str
    pid: int
    running: bool


class Status(Struct, frozen=True, kw_only=True):
    """The store at a glance; free, used and trash are bytes: used is what the store's own files take."""

    uuid: str
    name: str
    root: str
    free: int
    used: int
    volumes: int
    snapshots: int
    deepest_chain: int
    max_incremental_snapshot_num: int
    reflinks: bool
    trash_items: int
    trash: int
    unfinished: tuple[Unfinished, ...]


def status(opened: Store) -> Status:
    """Return the store at a glance; sizes are read from the files, not from records."""
    every = list(store.every(opened.root))
    space = os.statvfs(opened.root)
    items = [item for contents in every for item in contents.trash.values()]
    depths = [record.distance for contents in every for record in contents.snapshots.values()]
    return Status(
        uuid=opened.record.uuid,
        name=opened.record.name,
        root=str(opened.root),
        free=space.f_bavail * space.f_frsize,
        used=sum(_used(contents) for contents in every),
        volumes=len(every),
        snapshots=len(depths),
        deepest_chain=max(depths, default=0),
        max_incremental_snapshot_num=opened.record.max_incremental_snapshot_num,
        reflinks=opened.record.reflinks,
        trash_items=len(items),
        trash=sum(item.size for item in items),
        unfinished=_unfinished(opened),
    )


def _used(contents: records.Contents) -> int:
    """Return the bytes that the files of a volume take; two names of one file count once."""
    blocks = {}
    for name in os.listdir(contents.directory):
        with suppress(FileNotFoundError):  # a verb has just renamed or removed it
            status = os.lstat(contents.directory / name)
            blocks[status.st_ino] = status.st_blocks
    return sum(blocks.values()) * 512


def _unfinished(opened: Store) -> tuple[Unfinished, ...]:
    return tuple(
        Unfinished(
            operation=entry.uuid,
            verb=entry.verb,
            volume_uuid=entry.volume_uuid,
            started=entry.started,
            pid=entry.pid,
            running=journal.is_running(opened.root, entry.uuid),
        )
        for entry in journal.readable(opened.root)
    )


def set_depth(opened: Store, depth: int, wait: float) -> PrimaryStorage:
    """
    Set the depth limit of all volumes that have none of their own (2 to 119); it holds from the next snapshot on.

    One durable replacement of the store's record: a crash leaves the old one or the new one.
    """
    arguments.depth(depth)
    with lock.exclusive(opened.root, "set the depth limit", wait):
        record = store.open_store(opened.root).record
        new = msgspec.structs.replace(record, max_incremental_snapshot_num=depth)
        store.write_storage(opened.root, new)
    return new


def set_reflinks(opened: Store, setting: Setting, wait: float) -> PrimaryStorage:
    """
    Set whether copies share extents: off, auto for where the file system lets them, on to insist that it does.

    The file system is tested anew. One durable replacement of the store's record, as for set_depth. Raises Conflict
    for on where files can't share extents.
    """
    with lock.exclusive(opened.root, "set reflinks", wait):
        found = setting != "off" and reflink.is_possible(opened.root)
        if setting == "on" and not found:
            what = f"files in {opened.root} can't share extents; XFS and btrfs have that, 'auto' uses it where it works"
            raise errors.Conflict(what=what)
        record = store.open_store(opened.root).record
        new = msgspec.structs.replace(record, reflinks=found, reflinks_setting=setting)
        store.write_storage(opened.root, new)
    return new
