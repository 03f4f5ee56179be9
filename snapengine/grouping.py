"""Snapshot several volumes in one moment, and take them back together, all or none; delete such snapshots."""

import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from snapengine import (
    arguments,
    beginning,
    called,
    delete,
    draft,
    durable,
    errors,
    group,
    hold,
    inventory,
    journal,
    layout,
    operation,
    printed,
    records,
    roster,
    settle,
    snapshot,
    store,
    volume,
)
from snapengine.cost import Direction
from snapengine.delete import Deleted
from snapengine.draft import Plan
from snapengine.hold import Held
from snapengine.inventory import Volume
from snapengine.move import Move
from snapengine.printed import Progress
from snapengine.roster import Group, GroupRecord, Member
from snapengine.store import Store


class Request(NamedTuple):
    """
    What a caller may say of a new group: either volumes, by uuid, or the VM that they are attached to.

    only is the account that all of them must belong to.
    """

    name: str
    volumes: tuple[str, ...] = ()
    vm: str | None = None
    description: str | None = None
    uuid: str | None = None
    only: str | None = None


def create(opened: Store, request: Request, wait: float, progress: Progress | None = None) -> Group:
    """
    Freeze the present content of several volumes in one moment, and return the group of the snapshots.

        step                                                  a crash after it leaves          recovery
        entry with a member for each volume                   the entry                        drops it
        of each: overlay, link (or copy), records prepared,   what nobody knows                takes all back
        as for one snapshot; the group's record prepared
        leases on all active images; THE RENAME of the entry  all volumes as they were         does what follows
        in the journal
        of each: rename of the overlay over the active image  some volumes on their snapshots  does the others
        of each: records to their names                       some snapshots not yet shown     finishes
        the group's record to its name                        the group, whole                 drops the entry

    A volume that a VM has used after the crash, before its own rename: see settle. Each snapshot is called
    `<group>-<volume>`. Raises InUse while a VM has one of the volumes, Invalid, NotFound, Locked, Conflict, Corrupt,
    NoSpace; then nothing changed.
    """
    name, description = arguments.name(request.name), arguments.description(request.description)
    new = layout.check_given_uuid(request.uuid or opened.fresh or uuid.uuid4().hex)
    vm = None if request.vm is None else volume.vm_uuid(opened, arguments.name(request.vm))
    chosen = _chosen(opened, request, vm)
    with hold.volumes(opened, chosen, "create group", wait) as held, ExitStack() as images:
        if vm is not None and set(_attached(opened, vm)) != set(chosen):
            raise errors.Busy(what=f"the volumes of VM '{request.vm}' were just attached or detached; try again")
        place = hold.place(opened, opened.root / layout.GROUPS, "create group")
        moves = []
        for number, work in enumerate(held):
            moves.append(_freezing(work, name, new, images, printed.part(progress, number, len(held))))
        record = GroupRecord(
            uuid=new,
            name=name,
            description=description,
            vm_instance_uuid=vm,
            create_date=place.now,
            last_op_date=place.now,
            schema_version=inventory.SCHEMA_VERSION,
            members=tuple(_member(move, name) for move in moves),
            account=roster.owner(map(layout.account_of, chosen)),
        )
        durable.make_directory(opened.root / layout.GROUPS)
        _together(opened, draft.together(place, [move.member for move in moves], record), moves, images, request.uuid)
        return group.view(opened, record)


def _chosen(opened: Store, request: Request, vm: str | None) -> list[Path]:
    """Return the directories of the volumes to snapshot."""
    if (vm is None) == (not request.volumes):
        raise errors.Invalid(what="a group is made of volumes or of a VM's volumes: give either of both")
    twice = [uuid for uuid, count in Counter(request.volumes).items() if count > 1]
    if twice:
        named = called.volume(store.find_volume(opened.root, twice[0]))
        raise errors.Invalid(what=f"volume {named} was given more than once; give each volume once")
    found = [store.find_volume(opened.root, v) for v in request.volumes] if vm is None else _attached(opened, vm)
    if not found:
        hint = "no volume is attached to it; 'snapengine volume attach' notes which are"
        raise errors.NotFound(kind="VM", name=request.vm, hint=hint)
    if request.only is not None and any(layout.account_of(directory) != request.only for directory in found):
        where = f"at VM {request.vm}" if request.vm else "among these"
        raise errors.Conflict(what=f"permission denied: there is a volume of another account {where}")
    return found


def volumes_of(opened: Store, vm: str) -> tuple[Volume, ...]:
    """Return the inventories of a VM's volumes, in the order of their numbers."""
    found = _attached(opened, volume.vm_uuid(opened, arguments.name(vm)))
    return tuple(volume.view(directory, records.read_volume(directory)) for directory in found)


def _attached(opened: Store, vm: str) -> list[Path]:
    """Return the directories of a VM's volumes, in the order of their numbers."""
    found = [(v.device_id or 0, path) for path, v in store.volumes(opened.root) if v.vm_instance_uuid == vm]
    return [path for _, path in sorted(found)]


def _freezing(work: Held, name: str, new: str, images: ExitStack, progress: Progress | None) -> Move:
    own = f"{name}-{work.volume.name}"
    if len(own) > arguments.MAX_NAME:
        which = f"the snapshot of volume {work.volume.uuid} ({work.volume.name})"
        what = f"{which} would be called {own!r}, with {len(own)} characters"
        raise errors.Invalid(what=f"{what} where {arguments.MAX_NAME} are allowed; give the group a shorter name")
    old = images.enter_context(hold.image(work))
    return snapshot.freezing(work, old, snapshot.Request(own), new, progress)


def _member(move: Move, name: str) -> Member:
    own = move.work.volume
    return Member(
        volume_snapshot_uuid=move.entry.reserved[0],
        volume_snapshot_name=f"{name}-{own.name}",
        volume_uuid=own.uuid,
        volume_name=own.name,
        volume_type=own.type,
        device_id=own.device_id,
        create_date=move.work.place.now,
        last_op_date=move.work.place.now,
    )


def revert(opened: Store, uuid: str, wait: float) -> None:
    """
    Take all volumes of a group back to what it froze, or none; later snapshots stay as branches.

    The crash table is that of create, with the second name of a former active image in the trash for the link. May be
    done again and again. Raises Conflict with the reasons where the group is not available, InUse while a VM has one
    of the volumes, NotFound, Locked, Corrupt; then nothing changed.
    """
    present = group.directories(opened, roster.read(opened.root, uuid))
    with hold.volumes(opened, present, "revert group", wait) as held, ExitStack() as images:
        record = roster.read(opened.root, uuid)
        group.require_available(opened, record)
        targets = {member.volume_uuid: member.volume_snapshot_uuid for member in record.members}
        moves = [_reverting(work, targets[work.volume.uuid], images) for work in held]
        place = hold.place(opened, opened.root / layout.GROUPS, "revert group")
        _together(opened, draft.together(place, [move.member for move in moves], None), moves, images)


def _reverting(work: Held, target: str, images: ExitStack) -> Move:
    record = records.read_snapshot(work.directory, target)
    records.require_ready(record, "reverted to")
    return snapshot.reverting(work, images.enter_context(hold.image(work)), record)


def delete_all(
    opened: Store, uuid: str, direction: Direction, wait: float, progress: Progress | None = None
) -> tuple[Deleted, ...]:
    """
    Delete the snapshots of a group, each by itself as delete.delete does, and the group once all are gone.

    What fails is told in the result of that snapshot, and the others go on; a second call goes on with what is left.
    Where all fail the first error is raised, and nothing changed. Raises NotFound, and Conflict where a volume of the
    group lies in the trash. A crash leaves the group with those of its snapshots that are left.
    """
    record = roster.read(opened.root, uuid)
    group.require_not_in_trash(opened, record)
    there = group.left(opened, record)
    every = [member.volume_snapshot_uuid for member in record.members]
    found = {own: Deleted(snapshot_uuid=own, success=True) for own in every}
    raised: list[errors.Error] = []
    for done, own in enumerate(there):
        try:
            part = printed.part(progress, done, len(there))
            (found[own],) = delete.delete(opened, (own,), False, direction, wait, part)
        except errors.NotFound:
            continue  # somebody else has just deleted it
        except errors.Error as e:
            raised.append(e)
            found[own] = delete.failure(own, e)
    if raised and len(raised) == len(there):
        raise raised[0]
    if all(result.success for result in found.values()):
        group.forget(opened, uuid, wait)
    return tuple(found.values())


def _together(opened: Store, made: Plan, moves: Sequence[Move], images: ExitStack, given: str | None = None) -> None:
    """
    Run a plan that has a member for each move.

    given is the uuid that the caller wants the group to have: Invalid where it is in use. images keeps the VMs out of
    the active images; it is closed before a failure is settled, which keeps them out itself. When this raises, the
    volumes are as they were, or, after the decision, recovery finishes.
    """
    root = opened.root
    with beginning.begun(root, made.entry, given), images, ExitStack() as stack:
        for move in moves:
            stack.enter_context(operation.ready(move.work, move.entry, move.old, move.making))
        if made.records:
            operation.prepare(root / made.entry.directory, made)
            durable.sync_directory(root / made.entry.directory)
        for move in moves:
            stack.enter_context(operation.alone(move.work, move.old))
        journal.decide(root, made.entry.uuid)
        for move in moves:
            settle.commit(root, move.entry)
        settle.finish(root, made.entry, made.entry.members)
