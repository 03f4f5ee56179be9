"""Snapshots: create, list, show, tree, update, revert."""

import functools
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from snapengine import (
    arguments,
    attributes,
    chain,
    depth,
    driver,
    duplicate,
    durable,
    errors,
    hold,
    layout,
    lock,
    maps,
    notes,
    operation,
    plan,
    records,
    rescue,
    standing,
    store,
    tables,
    tree,
)
from snapengine.draft import Plan
from snapengine.hold import Held, Image
from snapengine.inventory import Snapshot, SnapshotRecord
from snapengine.move import Move
from snapengine.printed import Progress
from snapengine.store import Store


class Request(NamedTuple):
    """What a caller may say of a new snapshot."""

    name: str
    description: str | None = None
    uuid: str | None = None
    system_tags: tuple[str, ...] = ()
    user_tags: tuple[str, ...] = ()


def checked(request: Request) -> Request:
    """Return request with its arguments checked; Invalid for the first bad one."""
    return Request(
        arguments.name(request.name),
        arguments.description(request.description),
        layout.check_given_uuid(request.uuid) if request.uuid is not None else None,
        arguments.tags(request.system_tags),
        arguments.tags(request.user_tags),
    )


def create(opened: Store, volume: str, request: Request, wait: float, progress: Progress | None = None) -> Snapshot:
    """
    Freeze the volume's present content as a snapshot and return it.

        step                                              a crash after it leaves          recovery
        entry; overlay `.V.<op>.new` on S, empty bitmaps  an unused overlay                removes it
        meanwhile records S, V, parent prepared           files nobody knows               removes them
        link V.qcow2 to S.qcow2; synced                   two names of one inode           removes S.qcow2
        lease; THE RENAME of the overlay to V.qcow2       V on S, all data there           finishes
        records to their names: S, V, parent              S not yet shown, then all of it  finishes

    At the depth limit S is a copy of what the guest sees, converted before the overlay instead of linked, and opens a
    new tree; progress is told the fraction done of that copy. Raises InUse while a VM has the volume, Invalid,
    NotFound, Locked, Corrupt, NoSpace; then nothing changed.
    """
    request = checked(request)
    directory = store.find_volume(opened.root, volume)
    with hold.volume(opened, directory, "create snapshot", wait, below=depth.reads_base(opened, directory)) as work:
        with hold.image(work) as old:
            move = freezing(work, old, request._replace(uuid=request.uuid or opened.fresh), progress=progress)
            operation.over_active(work, move.entry, old, move.making, request.uuid)
            return tree.view(records.read_snapshot(work.directory, move.entry.reserved[0]))


def freezing(
    work: Held, old: Image, request: Request, group: str | None = None, progress: Progress | None = None
) -> Move:
    """Return what makes the active image old a snapshot, whose uuid the entry reserves; request is checked already."""
    operation.require_room(work.directory, old.layer.header.size)
    latest = tree.latest(work.volume)
    parent = records.named_snapshot(work.directory, latest) if latest else None
    limit = depth.limit(work.store, work.volume)
    new = request.uuid or uuid.uuid4().hex
    planned = functools.partial(_planned, work, request, new, group, parent, limit, old)
    full = plan.is_full(parent, limit)
    making = functools.partial(_copied if full else _linked, work, old, work.image(new), planned, progress)
    return Move(work, old, planned(0).entry, making, None if full else layout.image(new))


def _planned(
    work: Held, request: Request, new: str, group: str | None, parent: SnapshotRecord | None, limit: int, old: Image,
    allocated: int,
) -> Plan:  # fmt: skip
    """Return the plan for the snapshot new, whose file takes allocated bytes."""
    parts = plan.Parts(
        uuid=new,
        name=request.name,
        description=request.description,
        system_tags=request.system_tags,
        user_tags=request.user_tags,
        primary_storage=work.store.record.uuid,
        image=str(work.image(new)),
        allocated=allocated,
        size=old.layer.header.size,
        group=group,
    )
    return plan.create_snapshot(work.place, work.volume, parent, limit, parts)


@contextmanager
def _linked(
    work: Held, old: Image, target: Path, planned: Callable[[int], Plan], progress: Progress | None, overlay: Path
) -> Iterator[Plan]:
    """Freeze the active image itself: target becomes its second name."""
    with driver.creating_overlay(overlay, target.name, old.layer.header.size):
        yield planned(old.layer.allocated)
    _renew_bitmaps(overlay, old)
    durable.link(work.active, target)


@contextmanager
def _copied(
    work: Held, old: Image, target: Path, planned: Callable[[int], Plan], progress: Progress | None, overlay: Path
) -> Iterator[Plan]:
    """Make target a standalone copy of what the guest sees of the active image."""
    found = standing.recorded(work.store.root, chain.read(work.directory, work.active.name))
    maps.require_whole(found)
    layers = [layer.path for layer in found]
    duplicate.require_room(work.store, layers)
    lock.note(work.directory.parent, lock.COPYING)
    durable.reserve(target)
    notes.reserve(target)
    made = duplicate.make(work.store, layers, target, progress=progress)
    attributes.copy(old.fd, target)
    with driver.creating_overlay(overlay, target.name, old.layer.header.size):
        yield planned(made.allocated)
    _renew_bitmaps(overlay, old)


def _renew_bitmaps(overlay: Path, old: Image) -> None:
    """Give the overlay that takes over from old an empty successor of each active dirty bitmap."""
    for bitmap in tables.active_bitmaps(old.fd, old.layer.header, path=old.layer.path):
        driver.add_bitmap(overlay, bitmap.name, 2**bitmap.granularity_bits)


def revert(opened: Store, snapshot: str, wait: float) -> None:
    """
    Take the volume back to the content that snapshot S froze; later snapshots stay as a branch.

        step                                              a crash after it leaves         recovery
        entry; overlay `.V.<op>.new` on S, S's size       an unused overlay               removes it
        meanwhile records item, V, old tip, S prepared    files nobody knows              removes them
        V.qcow2 linked to <item>.trash.qcow2, if it       two names of one inode          removes the second
        holds a cluster of its own; synced
        lease; THE RENAME of the overlay to V.qcow2       V on S, its former image kept   finishes
        records to their names                                                            finishes

    May be done again and again, also where the active image is missing or damaged: see rescue. Raises InUse while a VM
    has the volume, NotFound, Locked, Corrupt; then nothing changed.
    """
    with hold.volume(opened, store.find_snapshot(opened.root, snapshot), "revert", wait) as work:
        target = records.read_snapshot(work.directory, snapshot)
        records.require_ready(target, "reverted to")
        if rescue.fault(work) is not None:
            return rescue.revert(work, target)
        with hold.image(work) as old:
            move = reverting(work, old, target)
            operation.over_active(work, move.entry, old, move.making)


def reverting(work: Held, old: Image, target: SnapshotRecord) -> Move:
    """Return what takes the volume, whose active image is old, back to target."""
    size = rescue.frozen(work, target)
    operation.require_room(work.directory, size)
    item = operation.former(work, old)
    tip = operation.tip(work, target)
    made = plan.revert(work.place, work.volume, target, tip, item, size, operation.bitmaps(old))

    @contextmanager
    def making(overlay: Path) -> Iterator[Plan]:
        with driver.creating_overlay(overlay, layout.image(target.uuid), size):
            yield made
        operation.keep_former(work, item)

    return Move(work, old, made.entry, making, layout.trash_image(item.uuid) if item else None)


def list_all(opened: Store, volume: str | None) -> tuple[Snapshot, ...]:
    """Return the inventories of a volume's snapshots, or of all, oldest first, parents before children."""
    if volume is not None:
        found = [store.intact(store.find_volume(opened.root, volume))]
    else:
        found = list(store.every(opened.root))
    every = [record for contents in found for record in contents.snapshots.values()]
    return tuple(tree.view(record) for record in sorted(every, key=tree.age))


def show(opened: Store, snapshot: str) -> Snapshot:
    """Return the inventory of one snapshot; others whose records are damaged are left out, with a warning."""
    return tree.view(_contents_with(opened, snapshot).snapshots[snapshot])


def path(opened: Store, snapshot: str) -> Path:
    """Return the path of a snapshot's image."""
    return Path(_contents_with(opened, snapshot).snapshots[snapshot].primary_storage_install_path)


def _contents_with(opened: Store, snapshot: str) -> records.Contents:
    directory = store.find_snapshot(opened.root, snapshot)
    found = store.intact(directory)
    if snapshot not in found.snapshots:
        records.read_snapshot(directory, snapshot)  # where its own record is the damaged one
        raise errors.unknown("snapshot", snapshot)
    return found


def trees(opened: Store, volume: str) -> tuple[tree.DrawnTree, ...]:
    """Return the volume's snapshot trees as the contract shows them, oldest first; what is left out as for show."""
    found = store.intact(store.find_volume(opened.root, volume))
    return tree.draw(found.volume, found.snapshots)


def update(opened: Store, snapshot: str, name: str | None, description: str | None, wait: float) -> Snapshot:
    """
    Change a snapshot's name or description; None leaves it as it is.

    One durable replacement of its record: a crash leaves the old one or the new one.
    """
    changes = arguments.changes(name, description)
    with hold.volume(opened, store.find_snapshot(opened.root, snapshot), "update snapshot", wait) as work:
        old = records.read_snapshot(work.directory, snapshot)
        new = msgspec.structs.replace(old, **changes)
        if new != old:
            new = msgspec.structs.replace(new, last_op_date=work.place.now)
            notes.write(work.directory / layout.record(snapshot), new)
        return tree.view(new)
