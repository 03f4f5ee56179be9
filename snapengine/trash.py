"""
The trash: former active images that were replaced, and deleted volumes. List, restore, purge.

While a volume is deleted its own trash items are not listed: they go where it goes.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snapengine import (
    arguments,
    chain,
    deleted,
    discard,
    errors,
    hold,
    imagelock,
    inventory,
    layout,
    maps,
    operation,
    plan,
    presence,
    records,
    rescue,
    resume,
    standing,
    store,
    tree,
    units,
)
from snapengine.draft import Plan
from snapengine.hold import Held
from snapengine.inventory import Snapshot, SnapshotRecord, TrashItem, TrashRecord
from snapengine.store import Store


def list_all(opened: Store) -> tuple[TrashItem, ...]:
    """Return all trash items, oldest first; sizes are allocated bytes."""
    items = [item for contents in store.every(opened.root) for item in contents.trash.values()]
    shown = [*(view(item) for item in sorted(items, key=_age)), *discard.items(opened)]
    return tuple(sorted(shown, key=lambda item: units.parse_date(item.create_date)))


def _age(record: TrashRecord) -> tuple[int, int, str]:
    """Return what trash items of one second are sorted by: oldest first."""
    return record.moment, record.generation, record.uuid


def view(record: TrashRecord) -> TrashItem:
    """Return what is shown of a trash item's record."""
    return inventory.shown(record, TrashItem)


def select(opened: Store, items: tuple[str, ...], older_than: int | None, down_to: int | None) -> tuple[TrashItem, ...]:
    """
    Return what a purge would remove: the items named, else all; of those only what is older than older_than seconds,
    and, with down_to, only the oldest, until what the whole trash then takes is down_to bytes or less.

    Raises NotFound for an unknown item.
    """
    known = list_all(opened)
    for item in set(items) - {item.uuid for item in known}:
        if item not in records.contents(store.find_trash(opened.root, item)).trash:
            raise errors.unknown("trash item", item)
    chosen = [item for item in known if not items or item.uuid in items]
    if older_than is not None:
        before = time.time() - older_than
        chosen = [item for item in chosen if units.parse_date(item.create_date) <= before]
    return tuple(chosen if down_to is None else _oldest(chosen, sum(i.size for i in known), down_to))


def _oldest(chosen: list[TrashItem], total: int, down_to: int) -> list[TrashItem]:
    kept = []
    for item in chosen:
        if total <= down_to:
            break
        kept.append(item)
        total -= item.size
    return kept


def purge(opened: Store, items: tuple[TrashItem, ...], wait: float) -> tuple[TrashItem, ...]:
    """
    Remove trash items for good and return those that went.

        step                                  a crash after it leaves       recovery
        entry: THE COMMIT POINT               everything                    finishes
        each image, then its record, removed  some of the items             finishes

    On a full disk, where no entry can be written, the items are removed all the same; a crash then may leave a record
    without an image, which the next purge removes. One that is gone already is left out. A deleted volume is expunged.
    """
    gone = [item for item in items if item.kind == "Volume" and _expunge(opened, item.uuid, wait)]
    for volume in dict.fromkeys(item.volume_uuid for item in items if item.kind == "ActiveImage"):
        own = [item for item in items if item.volume_uuid == volume]
        with hold.volume(opened, store.find_volume(opened.root, volume), "purge trash", wait) as work:
            there = [each for each in own if presence.is_there(work.directory / layout.trash_record(each.uuid))]
            for item in there:
                _check_unused(work, item.uuid)
            if there:
                _purge(work, plan.purge(work.place, work.volume, [item.uuid for item in there]))
            gone += there
    return tuple(gone)


def _expunge(opened: Store, volume: str, wait: float) -> bool:
    """Expunge a deleted volume; tell whether it was there."""
    try:
        discard.expunge(opened, volume, wait)
    except errors.NotFound:
        return False
    return True


def _check_unused(work: Held, item: str) -> None:
    """Raise InUse when some QEMU has a trash item's image open."""
    with suppress(FileNotFoundError, errors.Refused), imagelock.held(_image(work, item), work.volume.uuid):
        pass


def _purge(work: Held, made: Plan) -> None:
    try:
        operation.forward(work, made)
    except errors.NoSpace:
        resume.finish(work.store.root, made.entry)


def restore(opened: Store, item: str, wait: float) -> None:
    """
    Make a trash item the active image again; what the present one holds of its own goes to the trash. A deleted volume
    is recovered.

        step                                              a crash after it leaves         recovery
        entry; V.qcow2 linked to <new item>.trash.qcow2,  two names of one inode          removes the second
        if it holds a cluster of its own
        records prepared; synced                          files nobody knows              removes them
        lease; THE RENAME of <item>.trash.qcow2 to V      V as it was when it was kept    finishes
        records to their names, the item's removed                                        finishes

    A missing or damaged active image is replaced as well: see rescue. Raises InUse while a VM has the volume, NotFound,
    Locked, Corrupt; then nothing changed.
    """
    if deleted.has(opened.root, item):
        discard.recover(opened, item, wait)
        return
    with hold.volume(opened, store.find_trash(opened.root, item), "restore trash", wait) as work:
        record, base = _item(work, item)
        expected = chain.expected(tree.backing(work.volume, record))
        size = chain.layer(_image(work, item), expected).header.size
        below = chain.read(work.directory, layout.trash_image(item), across=False)
        maps.require_ends(standing.recorded(opened.root, below))
        if rescue.fault(work) is not None:
            rescue.restore(work, record, base, size)
            return
        with hold.image(work) as old:
            new, tip = operation.former(work, old), operation.tip(work, base)
            made = plan.restore(work.place, work.volume, record, base, tip, new, size, operation.bitmaps(old))

            @contextmanager
            def making(_: Path) -> Iterator[Plan]:
                yield made
                operation.keep_former(work, new)

            operation.over_active(work, made.entry, old, making)


def restore_as_snapshot(opened: Store, item: str, name: str, wait: float) -> Snapshot:
    """
    Make a trash item a snapshot on the one that it stands on, and return it; the volume's content stays.

        step                                              a crash after it leaves         recovery
        entry; records prepared; synced                   files nobody knows              removes them
        THE RENAME of <item>.trash.qcow2 to S.qcow2       the item's image as S.qcow2     finishes
        records to their names, the item's removed                                        finishes

    Raises Conflict at the depth limit, InUse while something has the item's image open, NotFound, Locked, Corrupt; then
    nothing changed.
    """
    name = arguments.name(name)
    if deleted.has(opened.root, item):
        raise errors.Conflict(what=f"trash item {item} is a deleted volume; restore it without --as-snapshot")
    with hold.volume(opened, store.find_trash(opened.root, item), "restore trash as a snapshot", wait) as work:
        record, base = _item(work, item)
        if plan.is_full(base, tree.depth_limit(work.volume, opened.record.max_incremental_snapshot_num)):
            what = f"trash item {item} stands on a snapshot at the depth limit; restore it without --as-snapshot"
            raise errors.Conflict(what=what)
        with hold.kept(work, _image(work, item), record) as kept:
            new = uuid.uuid4().hex
            path, layer = str(work.image(new)), kept.layer
            parts = plan.Parts(new, name, None, (), (), opened.record.uuid, path, layer.allocated, layer.header.size)
            operation.freeze(work, plan.branch(work.place, work.volume, record, base, parts), kept)
        return tree.view(records.read_snapshot(work.directory, new))


def _item(work: Held, item: str) -> tuple[TrashRecord, SnapshotRecord | None]:
    """Return the record of a trash item that will be in use again, and the snapshot that it stands on."""
    with suppress(FileNotFoundError):  # told where it is opened
        hold.require_single(_image(work, item), _image(work, item))
    record = records.read_trash(work.directory, item)
    base = records.named_snapshot(work.directory, record.snapshot_uuid) if record.snapshot_uuid else None
    return record, base


def _image(work: Held, item: str) -> Path:
    return work.directory / layout.trash_image(item)
