"""The store at a glance, and the settings that hold for all of it."""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from snapengine import (
    arguments,
    deleted,
    discard,
    errors,
    journal,
    layout,
    lock,
    mounts,
    ownership,
    records,
    reflink,
    store,
)
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
    """
    The store at a glance; free, used and trash are bytes: used is what the files of volumes take.

    damaged is how many records, and entries of the journal, can't be read: `verify` tells which.
    snapshots and deepest_chain leave deleted volumes out, the trash counts them.
    """

    uuid: str
    name: str
    root: str
    free: int
    used: int
    volumes: int
    deleted_volumes: int
    snapshots: int
    deepest_chain: int
    max_incremental_snapshot_num: int
    reflinks: bool
    trash_items: int
    trash: int
    unfinished: tuple[Unfinished, ...]
    damaged: int


class _Found(NamedTuple):
    """What is in a volume's directory: its records if they can be read, how many of them are damaged, bytes used."""

    contents: records.Contents | None
    snapshots: int
    damaged: int
    used: int


def status(opened: Store) -> Status:
    """Return the store at a glance; sizes are read from the files, not from records. Warns as mounts.warn_of does."""
    mounts.warn_of(opened.root)
    found = [each for directory in store.directories(opened.root) if (each := _looked_at(directory)) is not None]
    space = os.statvfs(opened.root)
    every = [each.contents for each in found if each.contents is not None]
    discarded = [each for directory in deleted.directories(opened.root) if (each := _looked_at(directory)) is not None]
    gone = discard.items(opened)
    items = [*gone, *(item for contents in every for item in contents.trash.values())]
    depths = [record.distance for contents in every for record in contents.snapshots.values()]
    return Status(
        uuid=opened.record.uuid,
        name=opened.record.name,
        root=str(opened.root),
        free=space.f_bavail * space.f_frsize,
        used=sum(each.used for each in found) + sum(item.size for item in gone),
        volumes=len(found),
        deleted_volumes=len(discarded),
        snapshots=sum(each.snapshots for each in found),
        deepest_chain=max(depths, default=0),
        max_incremental_snapshot_num=opened.record.max_incremental_snapshot_num,
        reflinks=opened.record.reflinks,
        trash_items=len(items),
        trash=sum(item.size for item in items),
        unfinished=_unfinished(opened),
        damaged=sum(each.damaged for each in (*found, *discarded)) + _damaged_elsewhere(opened.root),
    )


def _looked_at(directory: Path) -> _Found | None:
    """Return what is in a volume's directory, None where it went; what is damaged counts, as far as its name tells."""
    contents: records.Contents | None = None
    try:
        contents, bad = records.intact(directory)
    except errors.NotFound:
        return None
    except errors.Corrupt as e:
        bad = (e,)
    if contents is not None and not bad:
        return _Found(contents, len(contents.snapshots), 0, deleted.allocated(directory))
    volume = layout.volume_of(directory)
    try:
        names, _ = records.record_names(directory)
    except errors.NotFound:
        return None
    return _Found(contents, len(set(names) - {volume}), len(bad), deleted.allocated(directory))


def _damaged_elsewhere(root: Path) -> int:
    """Return how many entries of the journal are damaged, the accounts' record with them."""
    found = 0
    with suppress(OSError):  # who may not read it is no judge
        try:
            store.read_accounts(root)
        except errors.Corrupt:
            found += 1
    for operation in journal.operations(root):
        try:
            journal.read(root, operation)
        except (errors.Corrupt, OSError):
            found += 1
    return found


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
        return _rewritten(opened, max_incremental_snapshot_num=depth)


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
        return _rewritten(opened, reflinks=found, reflinks_setting=setting)


def set_image_owner(opened: Store, owner: str, wait: float) -> PrimaryStorage:
    """
    Set who owns the images of new volumes, USER:GROUP, or default: whoever makes them.

    One durable replacement of the store's record, as for set_depth. Raises Invalid for names that this host does not
    know, Denied for an owner to whom this process may not give files.
    """
    owner = ownership.owner(owner)
    if owner != ownership.DEFAULT and os.geteuid() != 0:
        user, group = ownership.ids(owner)
        if user != os.geteuid() or group not in (os.getegid(), *os.getgroups()):
            raise errors.Denied(what=f"only root can give images to {owner}; run as root")
    with lock.exclusive(opened.root, "set the owner", wait):
        return _rewritten(opened, image_owner=owner)


def set_image_mode(opened: Store, mode: str, wait: float) -> PrimaryStorage:
    """Set the octal mode of the images of new volumes, or default: as the umask lets it be; as for set_image_owner."""
    mode = ownership.mode(mode)
    with lock.exclusive(opened.root, "set the mode", wait):
        return _rewritten(opened, image_mode=mode)


def _rewritten(opened: Store, **changes: object) -> PrimaryStorage:
    """Replace fields of the store's own record, whose lock the caller holds."""
    new = msgspec.structs.replace(store.open_store(opened.root).record, **changes)
    store.write_storage(opened.root, new)
    return new
