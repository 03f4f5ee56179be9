"""
The parts that plans are made of: a journal entry, and the records that an operation prepares. Pure.

All records are written whole under temporary names before the commit point, and take their names after it, the
volume's own in the order given: readers see the verb's outcome from the moment its record has its name.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from snapengine import intent, inventory, layout
from snapengine.intent import Entry, Rename
from snapengine.inventory import Struct, TrashRecord, VolumeRecord
from snapengine.roster import GroupRecord


class Place(NamedTuple):
    """
    Who works where: the operation's uuid, verb and process, its directory below the root, when it began; request names
    the call of a server that asked for it.

    A tree that the operation opens gets the operation's uuid, which nothing else has.
    """

    operation: str
    verb: str
    directory: str
    now: str
    pid: int
    request: str | None = None


class Plan(NamedTuple):
    """A journal entry and, by the temporary name of each, the records that the operation prepares."""

    entry: Entry
    records: Mapping[str, Struct]


def following(place: Place, volume: VolumeRecord, **changes: object) -> VolumeRecord:
    """Return volume's record after the operation; its generation tells readers that something changed."""
    stamp = {"gone": (), "moved": (), **changes, "generation": volume.generation + 1, "last_op_date": place.now}
    return msgspec.structs.replace(volume, **stamp)


def over_active(
    place: Place, volume: VolumeRecord, backing: str | None, records: Sequence[tuple[str, Struct]],
    made: tuple[str, ...], reserved: tuple[str, ...],
) -> Plan:  # fmt: skip
    """Return the plan whose commit is the rename of a new image on backing, or on nothing, over the active image."""
    active = layout.active_name(volume)
    rename = Rename(source=layout.new(active, place.operation), target=active)
    return plan(place, volume, rename, backing, records, made, reserved=reserved)


def plan(
    place: Place, volume: VolumeRecord, commit: Rename | None, backing: str | None,
    records: Sequence[tuple[str, Struct]], made: tuple[str, ...], **rest: object,
) -> Plan:  # fmt: skip
    """
    Return the plan of an operation that one rename commits, or what rest says instead.

    backing is what the rename's target then stands on; made are the images that are made beside its source; records
    are those to write, in the order in which they take their names. rest are other fields of the entry.
    """
    prepared = {layout.new(name, place.operation): record for name, record in records}
    publish = tuple(Rename(source=layout.new(name, place.operation), target=name) for name, _ in records)
    names = (*made, *prepared)
    return Plan(
        entry(place, volume.uuid, commit=commit, backing=backing, made=names, publish=publish, **rest), prepared
    )


def entry(place: Place, volume: str, **rest: object) -> Entry:
    """Return an entry for the journal; rest are those of its fields that the place does not tell."""
    return intent.Entry(
        uuid=place.operation,
        verb=place.verb,
        volume_uuid=volume,
        directory=place.directory,
        pid=place.pid,
        started=place.now,
        request=place.request,
        schema_version=inventory.SCHEMA_VERSION,
        **rest,  # type: ignore[arg-type]
    )


def together(place: Place, members: Sequence[Entry], record: GroupRecord | None, drop: str | None = None) -> Plan:
    """
    Plan an operation on several volumes: members are the entries of each.

    record is the group's record to write, drop the group whose record goes.
    """
    name = layout.record(record.uuid) if record else ""
    new = layout.new(name, place.operation)
    return Plan(
        entry(
            place,
            members[0].volume_uuid,
            made=(new,) if record else (),
            publish=(Rename(source=new, target=name),) if record else (),
            drop=(layout.record(drop),) if drop else (),
            reserved=(record.uuid,) if record else (),
            members=tuple(members),
        ),
        {new: record} if record else {},
    )


def broken(volume: VolumeRecord, bitmaps: tuple[str, ...]) -> tuple[str, ...]:
    """Return the broken bitmaps of volume after those called bitmaps have ended too."""
    return tuple(dict.fromkeys((*volume.broken_bitmaps, *bitmaps)))


def kept(
    records: list[tuple[str, Struct]], item: TrashRecord | None
) -> tuple[list[tuple[str, Struct]], tuple[str, ...]]:
    """Return the records with the one of the trash item first, and the names that are made for it."""
    if item is None:
        return records, ()
    return [(layout.trash_record(item.uuid), item), *records], (layout.trash_image(item.uuid),)
