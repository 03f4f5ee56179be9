"""Make the records of groups again, from what is noted at their members' images, or else what those records say."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from snapengine import blank, durable, health, inventory, layout, lock, notes, remains, roster, units
from snapengine.health import Problem
from snapengine.inventory import SnapshotRecord, VolumeRecord
from snapengine.remaking import Made
from snapengine.removal import Family
from snapengine.roster import GroupRecord, Member
from snapengine.store import Store

_MOVE = "restore it from a backup, or move it out of the store"
_HOW = "made again from its members; its description and deleted members are gone, its name is theirs as far as it fits"
_NOTED = "made again as it was noted at its members' images; deleted members and a long description are gone"


def rebuild(
    opened: Store, families: Sequence[Family], wait: float, dry_run: bool, *, is_all: bool
) -> tuple[list[Made], list[Problem]]:  # fmt: skip
    """
    Make the records again, unless dry_run, of the groups that snapshots of these volumes name and that have none.

    Returns what was made, and the damaged ones that no snapshot names. Unless these volumes are all that there are,
    none is made, and all are returned as damaged: a member that is not known yet would never be one again.

    Raises Locked when somebody has the store's own lock for longer than wait seconds, Corrupt where a group's record
    was written by a newer snapengine.
    """
    found = {group.uuid: (group, how) for group, how in _groups(families) if not _is_sound(opened.root, group.uuid)}
    damaged = [uuid for uuid in roster.uuids(opened.root) if uuid not in found and not _is_sound(opened.root, uuid)]
    forgotten = [_forgotten(roster.path(opened.root, uuid), uuid) for uuid in damaged]
    if not is_all:
        return [], [*(_later(roster.path(opened.root, uuid), uuid) for uuid in found), *forgotten]
    missing = [group for group, _ in found.values()]
    with ExitStack() as stack:
        if missing and not dry_run:
            stack.enter_context(lock.exclusive(opened.root, "rebuild", wait))
            durable.make_directory(opened.root / layout.GROUPS)
            for group in missing:
                notes.write(roster.path(opened.root, group.uuid), group)
    made = [_made(roster.path(opened.root, uuid), uuid, how) for uuid, (_, how) in found.items()]
    return made, forgotten


def _made(path: Path, uuid: str, how: str) -> Made:
    return Made(kind="group", object=uuid, path=str(path), message=how)


def _forgotten(path: Path, uuid: str) -> Problem:
    message = f"record {path} is damaged, and no snapshot tells that it was in that group"
    return health.problem("record-damaged", uuid, path, message, _MOVE)


def _later(path: Path, uuid: str) -> Problem:
    message = f"record {path} is missing or damaged, and is not made before all volumes' records are"
    return health.problem("record-damaged", uuid, path, message, health.AGAIN)


def _is_sound(root: Path, group: str) -> bool:
    return remains.sound(roster.path(root, group), lambda: roster.read(root, group)) is not None


def _groups(families: Sequence[Family]) -> Iterator[tuple[GroupRecord, str]]:
    """Give the records of all groups that snapshots name, and how they were made."""
    found: dict[str, list[tuple[VolumeRecord, SnapshotRecord]]] = {}
    for family in families:
        for record in family.snapshots.values():
            if record.group_uuid is not None and layout.is_uuid(record.group_uuid):
                found.setdefault(record.group_uuid, []).append((family.volume, record))
    for uuid, members in sorted(found.items()):
        noted = _noted(uuid, members)
        made = _group(uuid, members)
        yield (made, _HOW) if noted is None else (msgspec.structs.replace(noted, members=made.members), _NOTED)


def _noted(uuid: str, members: list[tuple[VolumeRecord, SnapshotRecord]]) -> GroupRecord | None:
    """Return what was noted last at a member: of a volume that was deleted meanwhile the note is an older one."""
    images = [Path(volume.install_path).with_name(layout.image(record.uuid)) for volume, record in members]
    found = [noted for image in images if (noted := notes.group(image, uuid)) is not None]
    return max(found, key=lambda noted: units.parse_date(noted.last_op_date), default=None)


def _group(uuid: str, members: list[tuple[VolumeRecord, SnapshotRecord]]) -> GroupRecord:
    date = members[0][1].create_date
    machines = {volume.vm_instance_uuid for volume, _ in members}
    return GroupRecord(
        uuid=uuid,
        name=_name(uuid, members),
        create_date=date,
        last_op_date=date,
        vm_instance_uuid=machines.pop() if len(machines) == 1 else None,
        schema_version=inventory.SCHEMA_VERSION,
        members=tuple(_member(volume, record) for volume, record in members),
        account=roster.owner(layout.account_of(Path(volume.install_path).parent) for volume, _ in members),
    )


def _name(uuid: str, members: list[tuple[VolumeRecord, SnapshotRecord]]) -> str:
    """Return what the group was called if its members still tell: each is named <group>-<volume> (contract)."""
    ends = ((record.name, f"-{volume.name}") for volume, record in members)
    said = Counter(name.removesuffix(end) for name, end in ends if name.endswith(end) and name != end)
    return said.most_common(1)[0][0] if said else blank.name(uuid)


def _member(volume: VolumeRecord, record: SnapshotRecord) -> Member:
    return Member(
        volume_snapshot_uuid=record.uuid,
        volume_snapshot_name=record.name,
        volume_uuid=volume.uuid,
        volume_name=volume.name,
        volume_type=volume.type,
        create_date=record.create_date,
        last_op_date=record.last_op_date,
        device_id=volume.device_id,
    )
