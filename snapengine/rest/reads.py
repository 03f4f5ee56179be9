"""The calls that only look, answered from the index by the server itself: they wait for no writer."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from snapengine import errors, group, layout, roster, tag, tree, volume
from snapengine.engine import Engine
from snapengine.group import Availability
from snapengine.inventory import Snapshot, Volume
from snapengine.rest import faults, page, rows
from snapengine.rest.answers import Reply
from snapengine.rest.index import Index, Known
from snapengine.rest.pace import Pace
from snapengine.rest.page import Query
from snapengine.rest.rows import Row
from snapengine.roster import Group
from snapengine.tag import Tag
from snapengine.tree import DrawnTree


class Reader(NamedTuple):
    """By what a read is answered: who asks (None sees everything), of what, where to look, and at which pace."""

    engine: Engine
    known: Index
    account: str | None
    pace: Pace

    def volumes(self) -> Iterator[Known]:
        """Give the volumes that the reader may see."""
        return (known for known in self.known.volumes() if self.sees(known.account))

    def sees(self, account: str) -> bool:
        """Tell whether the reader may see what belongs to an account."""
        return self.account in (None, account)


def narrowed(query: Query, uuid: str | None) -> Query:
    """Return a query for the one object that the path names, or the query as it is."""
    return query if uuid is None else query._replace(conditions=(page.one(uuid), *query.conditions))


async def snapshots(reader: Reader, query: Query) -> Reply:
    """Answer a query for snapshots."""
    page.require(query, Snapshot)
    every = reader.pace.through(roster.every(reader.engine.root) if query.asks("group") else ())
    groups = {each.uuid: each async for each in every}
    found = (row for known in _candidates(reader, query) for row in _snapshots(known, query, groups))
    return await page.answer(query, found, reader.pace)


def _candidates(reader: Reader, query: Query) -> Iterable[Known]:
    """Give the volumes whose snapshots a query may be for: of a single snapshot or volume, that one."""
    volume, snapshot = query.equal_to("volumeUuid"), query.equal_to("uuid")
    if volume is None and snapshot is None:
        return reader.volumes()
    if volume is not None:
        return _one(reader, volume)
    known = reader.known.holding(snapshot or "")
    return [known] if known is not None and reader.sees(known.account) else []


def _one(reader: Reader, volume: str) -> list[Known]:
    """Return the volume with this uuid, if it is there for the reader."""
    known = reader.known.volume_of(volume)
    return [known] if known is not None and reader.sees(known.account) else []


def _snapshots(known: Known, query: Query, groups: dict[str, roster.GroupRecord]) -> Iterator[Row]:
    uuid = query.equal_to("uuid")
    owner = known.contents.volume
    if query.asks("volume"):
        owner = msgspec.structs.replace(owner, actual_size=volume.view(known.contents.directory, owner).actual_size)
    trees = {each.uuid: each for each in known.contents.volume.trees}
    for shown in known.snapshots:
        if uuid in (None, shown.uuid):
            nested = {
                "volume": owner,
                "tree": trees.get(shown.tree_uuid),
                "group": groups.get(shown.group_uuid or ""),
            }
            yield Row(shown, known.contents.snapshots[shown.uuid], nested)


async def trees(reader: Reader, query: Query) -> Reply:
    """Answer a query for snapshot trees."""
    page.require(query, DrawnTree)
    uuid = query.equal_to("volumeUuid")
    found = reader.volumes() if uuid is None else _one(reader, uuid)
    return await page.answer(query, (row for known in found for row in _trees(known)), reader.pace)


def _trees(known: Known) -> Iterator[Row]:
    for drawn in tree.draw(known.contents.volume, known.contents.snapshots):
        inside = tuple(shown for shown in known.snapshots if shown.tree_uuid == drawn.uuid)
        yield Row(drawn, None, {"volume": known.contents.volume, "snapshot": inside})


async def groups(reader: Reader, query: Query) -> Reply:
    """Answer a query for groups."""
    page.require(query, Group)
    every = reader.pace.through(roster.uuids(reader.engine.root))
    there = [found async for uuid in every for found in _group(reader, uuid)]
    found = sorted(there, key=group.age)
    shown = (Row(each, None, {"volumeSnapshotRefs": each.volume_snapshot_refs}) for each in found)
    return await page.answer(query, shown, reader.pace)


def _group(reader: Reader, uuid: str) -> Iterator[Group]:
    """Give the group with this uuid, if it is there for the reader and not damaged."""
    if reader.account in (None, reader.known.owner_of_group(uuid)):
        with suppress(errors.NotFound, errors.Corrupt):
            yield reader.engine.get_group(uuid)


async def availability(reader: Reader, uuids: tuple[str, ...]) -> Reply:
    """Tell of each group whether the volumes can be taken back to it."""
    results = [_available(reader, uuid) async for uuid in reader.pace.through(dict.fromkeys(uuids))]
    return {"results": tuple(results)}


def _available(reader: Reader, uuid: str) -> Availability:
    missing = faults.Missing(field="uuids", uuid=uuid[:64], type="VolumeSnapshotGroupVO")
    if not layout.is_uuid(uuid) or (reader.account and reader.known.owner_of_group(uuid) != reader.account):
        raise missing
    try:
        return reader.engine.groups_available((uuid,))[0]
    except errors.NotFound as e:
        raise missing from e


async def volumes(reader: Reader, query: Query) -> Reply:
    """Answer a query for volumes, deleted ones too."""
    page.require(query, Volume)
    uuid = query.equal_to("uuid")
    candidates = reader.volumes() if uuid is None else _one(reader, uuid)
    there = [_volume(known) async for known in reader.pace.through(candidates)]
    if uuid is None or not there:
        gone = reader.pace.through(_deleted(reader))
        there += [row async for row in gone if uuid is None or rows.values(row, "uuid") == (uuid,)]
    ordered = sorted(there, key=lambda row: (rows.values(row, "name"), rows.values(row, "uuid")))
    return await page.answer(query, ordered, reader.pace)


def _deleted(reader: Reader) -> Iterator[Row]:
    """Give the deleted volumes that the reader may see."""
    for directory, record in reader.known.deleted():
        if reader.sees(layout.account_of(directory)):
            yield Row(volume.view(directory, record), record)


def _volume(known: Known) -> Row:
    contents = known.contents
    nested = {"snapshot": known.snapshots, "tree": contents.volume.trees}
    return Row(volume.view(contents.directory, contents.volume), contents.volume, nested)


async def system_tags(reader: Reader, query: Query) -> Reply:
    """Answer a query for system tags."""
    return await _tags(reader, query, "System")


async def user_tags(reader: Reader, query: Query) -> Reply:
    """Answer a query for user tags."""
    return await _tags(reader, query, "User")


async def _tags(reader: Reader, query: Query, kind: str) -> Reply:
    page.require(query, Tag)
    found = (each for known in reader.volumes() for each in tag.of(known.contents))
    return await page.answer(query, (Row(each) for each in found if each.type == kind), reader.pace)


async def zones(reader: Reader, query: Query) -> Reply:
    """Answer that there are no zones: one client asks before each of its commands."""
    return {"total": 0} if query.only_count else {"inventories": (), "total": 0}
