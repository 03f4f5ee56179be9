"""Groups: list, show, update, ungroup, and whether the volumes can be taken back to one."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from snapengine import (
    arguments,
    beginning,
    draft,
    durable,
    errors,
    hold,
    journal,
    layout,
    lock,
    notes,
    operation,
    presence,
    records,
    roster,
    settle,
    store,
    units,
)
from snapengine.draft import Plan
from snapengine.hold import Held
from snapengine.intent import Rename
from snapengine.inventory import SnapshotRecord, Struct
from snapengine.roster import Group, GroupRecord, Member, Ref
from snapengine.store import Store


class Availability(Struct, frozen=True, kw_only=True):
    """Whether the volumes can be taken back to a group; reason is empty when they can."""

    uuid: str
    available: bool
    reason: str


class Present(NamedTuple):
    """A member whose snapshot is there; directory is where."""

    directory: Path
    snapshot: SnapshotRecord


def list_all(opened: Store) -> tuple[Group, ...]:
    """Return the inventories of all groups, oldest first."""
    found = [view(opened, record) for record in roster.every(opened.root)]
    return tuple(sorted(found, key=age))


def age(group: Group) -> tuple[int, str, str]:
    """Return what groups are sorted by: oldest first."""
    return units.parse_date(group.create_date), group.name, group.uuid


def show(opened: Store, group: str) -> Group:
    """Return the inventory of one group."""
    return view(opened, roster.read(opened.root, group))


def view(opened: Store, record: GroupRecord) -> Group:
    """Return what the contract shows of a group: its members as they are now."""
    refs = tuple(_ref(record, member, present(opened, member)) for member in record.members)
    return Group(
        uuid=record.uuid,
        name=record.name,
        description=record.description,
        vm_instance_uuid=record.vm_instance_uuid,
        create_date=record.create_date,
        last_op_date=record.last_op_date,
        snapshot_count=len(refs),
        volume_snapshot_refs=refs,
    )


def _ref(record: GroupRecord, member: Member, there: Present | None) -> Ref:
    known = msgspec.structs.asdict(member)
    if there is not None:
        known["volume_snapshot_name"] = there.snapshot.name
        known["volume_snapshot_install_path"] = there.snapshot.primary_storage_install_path
    return Ref(volume_snapshot_group_uuid=record.uuid, snapshot_deleted=there is None, **known)


def present(opened: Store, member: Member) -> Present | None:
    """Return where a member's snapshot is; None when that, or its volume, is gone."""
    try:
        directory = store.find_volume(opened.root, member.volume_uuid)
        return Present(directory, records.read_snapshot(directory, member.volume_snapshot_uuid))
    except errors.NotFound:
        return None


def left(opened: Store, record: GroupRecord) -> tuple[str, ...]:
    """Return the snapshots of a group that are there."""
    return tuple(m.volume_snapshot_uuid for m in record.members if present(opened, m) is not None)


def availability(opened: Store, groups: Iterable[str]) -> tuple[Availability, ...]:
    """Return for each group whether the volumes can be taken back to it, and why not."""
    found = [(group, "; ".join(_reasons(opened, roster.read(opened.root, group)))) for group in groups]
    return tuple(Availability(uuid=group, available=not reason, reason=reason) for group, reason in found)


def require_available(opened: Store, record: GroupRecord) -> None:
    """Raise Conflict, with all reasons, where the volumes can't be taken back to a group."""
    if reasons := "; ".join(_reasons(opened, record)):
        what = f"group {record.uuid} ({record.name}) can't be reverted to: {reasons}"
        raise errors.Conflict(what=f"{what}; each snapshot that is left can still be reverted to by itself")


def _reasons(opened: Store, record: GroupRecord) -> Iterator[str]:
    """Give what keeps the volumes from being taken back: of a group without a VM, only what is gone."""
    volumes = {volume.uuid: volume for _, volume in store.volumes(opened.root)}
    for member in record.members:
        volume = volumes.get(member.volume_uuid)
        if volume is None and not store.has_volume(opened.root, member.volume_uuid):
            yield f"volume {member.volume_uuid} ({member.volume_name}) was deleted"
        elif (what := _missing(present(opened, member))) is not None:
            gone = f"snapshot {member.volume_snapshot_uuid} ({member.volume_snapshot_name})"
            yield f"{gone} of volume {member.volume_uuid} ({member.volume_name}) {what}"
        elif record.vm_instance_uuid and volume and volume.vm_instance_uuid != record.vm_instance_uuid:
            yield f"volume {volume.uuid} ({volume.name}) was detached from the VM"
    known = {member.volume_uuid for member in record.members}
    for volume in volumes.values():
        if record.vm_instance_uuid and volume.vm_instance_uuid == record.vm_instance_uuid and volume.uuid not in known:
            yield f"volume {volume.uuid} ({volume.name}) was attached to the VM since"


def _missing(there: Present | None) -> str | None:
    """Return what is wrong with a member's snapshot, None if it is there with its image."""
    if there is None:
        return "was deleted"
    image = there.directory / layout.image(there.snapshot.uuid)
    return None if presence.is_there(image) else "has no image; run 'snapengine verify'"


def directories(opened: Store, record: GroupRecord) -> list[Path]:
    """Return the directories of those volumes of a group that are there."""
    there = [member.volume_uuid for member in record.members if store.has_volume(opened.root, member.volume_uuid)]
    return [store.find_volume(opened.root, volume) for volume in there]


def update(opened: Store, group: str, name: str | None, description: str | None, wait: float) -> Group:
    """
    Change a group's name or description; None leaves it as it is. Names of snapshots stay.

    One durable replacement of its record, with the locks of all its volumes held: a crash leaves the old one or the
    new one.
    """
    changes = arguments.changes(name, description)
    with hold.volumes(opened, directories(opened, roster.read(opened.root, group)), "update group", wait):
        old = roster.read(opened.root, group)
        new = msgspec.structs.replace(old, **changes)
        if new != old:
            new = msgspec.structs.replace(new, last_op_date=store.now())
            with lock.exclusive(opened.root, "update group", wait):  # recovery clears away what is cut off here
                notes.write(roster.path(opened.root, group), new)
        return view(opened, new)


def ungroup(opened: Store, group: str, wait: float) -> None:
    """
    Forget a group; its snapshots stay, each by itself.

        step                                                   a crash after it leaves      recovery
        entry; each snapshot's record prepared without it      files nobody knows           removes them
        THE RENAME of the entry in the journal                 nothing else yet             finishes
        records to their names, volume by volume; the group's  some are the old ones        finishes
        own is removed

    Raises NotFound, Locked, Conflict where a volume of the group lies in the trash; then nothing changed.
    """
    with hold.volumes(opened, directories(opened, roster.read(opened.root, group)), "ungroup", wait) as held:
        record = roster.read(opened.root, group)
        require_not_in_trash(opened, record)
        snapshots = {member.volume_uuid: present(opened, member) for member in record.members}
        made = [(w, _alone(w, there.snapshot)) for w in held if (there := snapshots[w.volume.uuid]) is not None]
        if made:
            _carry_out(opened, record, made)
        else:
            _remove(opened, group)


def _alone(work: Held, snapshot: SnapshotRecord) -> Plan:
    """Plan that a snapshot's record no longer names a group."""
    record = msgspec.structs.replace(snapshot, group_uuid=None, last_op_date=work.place.now)
    name = layout.record(snapshot.uuid)
    new = layout.new(name, work.place.operation)
    renames = (Rename(source=new, target=name),)
    return Plan(draft.entry(work.place, work.volume.uuid, made=(new,), publish=renames), {new: record})


def _carry_out(opened: Store, record: GroupRecord, made: list[tuple[Held, Plan]]) -> None:
    place = hold.place(opened, opened.root / layout.GROUPS, "ungroup")
    entry = draft.together(place, [own.entry for _, own in made], None, record.uuid).entry
    with beginning.begun(opened.root, entry):
        for work, own in made:
            operation.prepare(work.directory, own)
            durable.sync_directory(work.directory)
        journal.decide(opened.root, entry.uuid)
        settle.finish(opened.root, entry, entry.members)


def forget(opened: Store, group: str, wait: float) -> None:
    """Remove the record of a group whose snapshots all are gone; of one that is gone itself, or has some, nothing."""
    try:
        record = roster.read(opened.root, group)
    except errors.NotFound:
        return
    with hold.volumes(opened, directories(opened, record), "delete group", wait):
        if not left(opened, record):
            _remove(opened, group)


def require_not_in_trash(opened: Store, record: GroupRecord) -> None:
    """Raise Conflict where a volume of a group lies in the trash: its snapshots would come back without the group."""
    for member in record.members:
        if any((opened.root / layout.TRASH).glob(f"acct-*/vol-{member.volume_uuid}")):
            what = f"volume {member.volume_uuid} ({member.volume_name}) of group {record.uuid} lies in the trash"
            raise errors.Conflict(what=f"{what}; recover or expunge it first")


def _remove(opened: Store, group: str) -> None:
    durable.unlink(roster.path(opened.root, group))
    durable.sync_directory(opened.root / layout.GROUPS)
