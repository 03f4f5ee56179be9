"""
Groups: which snapshots of several volumes were made in one moment. `groups/<group>.json` is the one home of that.

The groupUuid in a member snapshot's own record is a copy for readers. A group's record takes its name after those of
all its members, so whoever sees a group sees them too.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from snapengine import errors, layout, records
from snapengine.inventory import Date, SnapshotRecord, Struct, VolumeType
from snapengine.records import Contents

log = logging.getLogger(__name__)


class Member(Struct, frozen=True, kw_only=True):
    """A member of a group as it was made; device_id is the volume's number at its VM."""

    volume_snapshot_uuid: str
    volume_snapshot_name: str
    volume_uuid: str
    volume_name: str
    volume_type: VolumeType
    create_date: Date
    last_op_date: Date
    device_id: int | None = None


class Ref(Member, frozen=True, kw_only=True):
    """A member as the contract shows it: its snapshot's name and path as they are now, no path once that is gone."""

    volume_snapshot_group_uuid: str
    snapshot_deleted: bool
    volume_snapshot_install_path: str | None = None


class Described(Struct, frozen=True, kw_only=True):
    """What a group's record and its inventory have in common; without a VM it was made of volumes that were named."""

    uuid: str
    name: str
    create_date: Date
    last_op_date: Date
    description: str | None = None
    vm_instance_uuid: str | None = None


class Group(Described, frozen=True, kw_only=True):
    """A group's inventory (contract, section 3); snapshot_count is how many members it was made with."""

    snapshot_count: int
    volume_snapshot_refs: tuple[Ref, ...]


class GroupRecord(Described, frozen=True, kw_only=True):
    """The file of a group; account is whose it is, also once some of the volumes are gone for good."""

    schema_version: int
    members: tuple[Member, ...]
    account: str | None = None


def owner(accounts: Iterable[str]) -> str:
    """Return the account whose a group is, by the accounts of its volumes: theirs where it is one, else admin."""
    owners = set(accounts)
    return owners.pop() if len(owners) == 1 else layout.ADMIN


def path(root: Path, group: str) -> Path:
    """Return the path of a group's record."""
    return root / layout.GROUPS / layout.record(group)


def read(root: Path, group: str) -> GroupRecord:
    """Return a group's record; NotFound without one, Corrupt for a damaged one."""
    found = None
    if layout.is_uuid(group):
        try:
            found = records.read(path(root, group), GroupRecord)
        except FileNotFoundError:
            pass
    if found is None:
        raise errors.unknown("group", group)
    if found.uuid != group or not all(map(_is_sound, found.members)):
        raise errors.Corrupt(what=f"record {path(root, group)} is of another group, or names what is no uuid")
    if not 0 < len(found.members) == len({member.volume_uuid for member in found.members}):
        raise errors.Corrupt(what=f"record {path(root, group)} has no member, or a volume twice")
    return found


def _is_sound(member: Member) -> bool:
    return layout.is_uuid(member.volume_uuid) and layout.is_uuid(member.volume_snapshot_uuid)


def uuids(root: Path) -> list[str]:
    """Return the uuids of all groups."""
    try:
        names = os.listdir(root / layout.GROUPS)
    except FileNotFoundError:  # none was made yet
        return []
    return sorted(name.removesuffix(".json") for name in names if layout.is_group(name))


def every(root: Path) -> Iterator[GroupRecord]:
    """Give the record of every group; one that is damaged is left out with a warning."""
    for group in uuids(root):
        try:
            yield read(root, group)
        except errors.NotFound:
            continue  # it went a moment ago
        except errors.Corrupt as e:
            log.warning("left out: %s", e)


def regrouped(root: Path, snapshots: Mapping[str, SnapshotRecord]) -> dict[str, SnapshotRecord]:
    """Return snapshots with the groupUuid that the groups' records tell; where its group has none, with its own."""
    known = []
    for group in uuids(root):
        with suppress(errors.NotFound, errors.Corrupt):
            known.append(read(root, group))
    told = {member.volume_snapshot_uuid: group.uuid for group in known for member in group.members}
    sound = {group.uuid for group in known}
    right = {u: told.get(u, None if r.group_uuid in sound else r.group_uuid) for u, r in snapshots.items()}
    return {
        uuid: record if record.group_uuid == right[uuid] else msgspec.structs.replace(record, group_uuid=right[uuid])
        for uuid, record in snapshots.items()
    }


def strangers(root: Path, contents: Contents) -> Iterator[tuple[str, Path, str]]:
    """Give the snapshots of a volume under its lock that name a group which does not list them: uuid, record, how."""
    for record in contents.snapshots.values():
        if record.group_uuid is not None and not _lists(root, record.group_uuid, record.uuid):
            where = contents.directory / layout.record(record.uuid)
            yield record.uuid, where, f"the record says group {record.group_uuid}, which does not list the snapshot"


def _lists(root: Path, group: str, snapshot: str) -> bool:
    """Tell whether a group lists a snapshot, or can't be read; that is a problem of its own."""
    try:
        return any(member.volume_snapshot_uuid == snapshot for member in read(root, group).members)
    except errors.NotFound:
        return False
    except errors.Corrupt:
        return True
