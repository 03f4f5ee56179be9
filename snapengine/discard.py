"""
Discard volumes: delete, recover, expunge. Where a volume lies says whether it is deleted, and nothing else does.

A deleted volume keeps all it has, its snapshots and trash items too, and its uuids stay reserved.
"""

import os
from contextlib import ExitStack, suppress
from pathlib import Path

from snapengine import (
    beginning,
    clones,
    deleted,
    durable,
    errors,
    fate,
    hold,
    imagelock,
    layout,
    lock,
    operation,
    presence,
    records,
    resume,
    settle,
    store,
    strays,
)
from snapengine.hold import Held
from snapengine.inventory import TrashItem, VolumeRecord
from snapengine.store import Store


def delete(opened: Store, volumes: tuple[str, ...], wait: float) -> None:
    """
    Put volumes away whole, until they are recovered or expunged; all are looked at before anything is done.

        step, for each volume                           a crash after it leaves             recovery
        `trash/acct-<account>`                          an empty directory                  leaves it
        the record as it will be there, durable         readers, who go by the place, see   none: the next verb on it
                                                        the volume as it was                writes it anew
        THE RENAME of its directory; both directories   the deleted volume                  nothing is left to do
        synced

    Raises Conflict for one that is attached to a VM, or whose snapshots have linked clones; InUse where a VM has one
    of its images open; NotFound, Locked, Corrupt; then nothing changed. An error of the system later on leaves each
    volume either where it was or deleted.
    """
    directories = [store.find_volume(opened.root, volume) for volume in dict.fromkeys(volumes)]
    with hold.volumes(opened, directories, "delete volume", wait) as held, ExitStack() as stack:
        for work in held:
            require_deletable(opened, work.volume)
            _keep_out(stack, work.directory, work.volume.uuid)
        for work in held:
            account = layout.account_of(work.directory)
            _move(work, layout.deleted_directory(opened.root, account, work.volume.uuid))


def require_deletable(opened: Store, volume: VolumeRecord) -> None:
    """Raise Conflict where a volume may not be deleted."""
    if volume.vm_instance_uuid is not None:
        vm = volume.vm_name or volume.vm_instance_uuid
        what = f"volume {volume.uuid} ({volume.name}) is attached to {vm}"
        raise errors.Conflict(what=f"{what}; detach it first with 'snapengine volume detach'")
    clones.require_none(opened.root, volume.uuid, f"volume {volume.uuid} ({volume.name})")


def recover(opened: Store, volume: str, wait: float) -> None:
    """
    Bring a deleted volume back to where it was; crash table as for delete.

    Raises Conflict where its place is taken, InUse, NotFound, Locked, Corrupt; then nothing changed.
    """
    directory = deleted.find(opened.root, volume)
    with hold.volume(opened, directory, "recover volume", wait) as work, ExitStack() as stack:
        _keep_out(stack, work.directory, volume)
        account = layout.account_of(directory)
        _move(work, layout.volume_directory(opened.root, work.volume.type, account, volume))


def _move(work: Held, target: Path) -> None:
    """Let the volume's directory become target; its record already says what it will be there."""
    directory = work.directory.parent
    durable.make_directory(target.parent)
    if target.parent.is_symlink() or target.parent.parent.is_symlink():
        raise errors.Denied(what=f"{target.parent} is a symbolic link; a store's directories must be real ones")
    with lock.exclusive(work.store.root, work.place.verb):  # who looks for a uuid there must find it once
        if presence.is_there(target):
            raise errors.Conflict(what=f"{target} is there already; move one of them out of the store")
        operation.rewrite(work, records.placed(work.volume, target / layout.SNAPSHOTS))
        durable.rename(directory, target)
        durable.sync_directory(target.parent)
        durable.sync_directory(directory.parent)


def expunge(opened: Store, volume: str, wait: float) -> None:
    """
    Remove a deleted volume for good, whatever state it is in.

        step                                                  a crash after it leaves        recovery
        entry                                                 the deleted volume             drops the entry
        THE RENAME of its directory to a temporary name       a directory nobody knows       removes it
        all in it removed, then the entry                                                    removes the rest

    On a full disk, where no entry can be written, it is removed all the same; what a crash then leaves, the next
    expunge removes. Raises Protected where linked clones stand on it, InUse, NotFound, Locked.
    """
    directory = deleted.find(opened.root, volume)
    with hold.present(directory), lock.exclusive(directory.parent, "expunge volume", wait), ExitStack() as stack:
        require_expungeable(opened, directory, volume)
        _keep_out(stack, directory, volume)
        _vanish(opened, directory, volume)
    for path in strays.of_store(opened.root):
        if path.parent.parent == opened.root / layout.TRASH and layout.is_new(path.name):
            durable.remove_tree(path)


def require_expungeable(opened: Store, directory: Path, volume: str) -> None:
    """Raise Protected where linked clones stand on the deleted volume in directory, InUse where a VM has it open."""
    clones.require_none(opened.root, volume, f"deleted volume {volume}")
    require_unused(directory, volume)


def _vanish(opened: Store, directory: Path, volume: str) -> None:
    entry = fate.vanish(hold.place(opened, directory.parent.parent, "expunge volume"), volume).entry
    try:
        with beginning.begun(opened.root, entry):
            settle.commit(opened.root, entry)
            resume.finish(opened.root, entry)
    except errors.NoSpace:
        settle.commit(opened.root, entry)
        resume.finish(opened.root, entry)


def _keep_out(stack: ExitStack, directory: Path, volume: str) -> None:
    """Keep every VM out of all images of a volume until the stack ends; InUse where one has some open."""
    for path in _images(directory):
        with suppress(FileNotFoundError, errors.Refused):
            stack.enter_context(imagelock.held(path, volume))


def require_unused(directory: Path, volume: str) -> None:
    """Raise InUse where a VM has any image of the volume in directory open now."""
    for path in _images(directory):
        with suppress(FileNotFoundError, errors.Refused):
            imagelock.require_unused(path, volume)


def _images(directory: Path) -> list[Path]:
    return [directory / name for name in sorted(os.listdir(directory)) if name.endswith(".qcow2")]


def items(opened: Store) -> tuple[TrashItem, ...]:
    """Return the deleted volumes as items of the trash: their size is what all their files take."""
    return tuple(_item(directory, record) for directory, record in deleted.volumes(opened.root))


def _item(directory: Path, record: VolumeRecord) -> TrashItem:
    return TrashItem(
        uuid=record.uuid,
        kind="Volume",
        volume_uuid=record.uuid,
        size=deleted.allocated(directory),
        create_date=record.last_op_date,
    )
