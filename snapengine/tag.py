"""Tags of volumes and snapshots: system tags, some with a meaning, and user tags, which the engine only keeps."""

import uuid as uuids
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec

from snapengine import arguments, errors, hold, layout, notes, operation, records, store
from snapengine.inventory import SnapshotRecord, Struct, VolumeRecord
from snapengine.records import Contents
from snapengine.store import Store

TaggedRecord = VolumeRecord | SnapshotRecord
Changes = dict[str, tuple[str, ...]]


TagType = Literal["System", "User"]


class Tag(Struct, frozen=True, kw_only=True):
    """One tag of one object. Its uuid follows from the rest: the same tag, given again, has the same."""

    uuid: str
    resource_uuid: str
    resource_type: str
    tag: str
    type: TagType


def list_all(opened: Store, uuid: str | None) -> tuple[Tag, ...]:
    """Return the tags of the volume or snapshot with this uuid, or of all of them."""
    every = store.every(opened.root) if uuid is None else [records.contents(_directory(opened, uuid))]
    found: list[Tag] = []
    for contents in every:
        found += [tag for tag in of(contents) if uuid in (None, tag.resource_uuid)]
    return tuple(found)


def of(contents: Contents) -> tuple[Tag, ...]:
    """Return the tags of a volume and its snapshots."""
    tagged: list[TaggedRecord] = [contents.volume, *contents.snapshots.values()]
    return tuple(tag for record in tagged for tag in _tags(record))


def _tags(record: TaggedRecord) -> list[Tag]:
    kind = "VolumeVO" if isinstance(record, VolumeRecord) else "VolumeSnapshotVO"
    own: tuple[tuple[TagType, tuple[str, ...]], ...] = (("System", record.system_tags), ("User", record.user_tags))
    return [
        Tag(uuid=_uuid(record.uuid, of, tag), resource_uuid=record.uuid, resource_type=kind, tag=tag, type=of)
        for of, tags in own
        for tag in tags
    ]


def _uuid(resource: str, of: TagType, tag: str) -> str:
    return uuids.uuid5(uuids.UUID(resource), f"{of}:{tag}").hex


def add(opened: Store, uuid: str, tag: str, user: bool, wait: float) -> tuple[Tag, ...]:
    """
    Give an object a tag and return all its tags; that it has it already is fine.

    A depth limit takes the place of another one; of a snapshot it would mean nothing, so that is Invalid.
    """
    arguments.tags((tag,))
    is_limit = tag.startswith(arguments.DEPTH_TAG) and not user

    def change(record: TaggedRecord) -> Changes:
        if is_limit and not isinstance(record, VolumeRecord):
            raise errors.Invalid(what=f"{tag} means nothing at a snapshot; give it to the volume")
        field = "user_tags" if user else "system_tags"
        kept = _without(getattr(record, field), tag)
        if is_limit:
            kept = tuple(t for t in kept if not t.startswith(arguments.DEPTH_TAG))
        return {field: arguments.tags((*kept, tag))}

    return _change(opened, uuid, change, wait)


def remove(opened: Store, uuid: str, tag: str, type: TagType | None, wait: float) -> tuple[Tag, ...]:
    """
    Take a tag, of this type or of either, from an object and return those that are left.

    Raises NotFound when it has no such tag.
    """
    fields = {"System": ("system_tags",), "User": ("user_tags",), None: ("system_tags", "user_tags")}[type]

    def change(record: TaggedRecord) -> Changes:
        had = {field: getattr(record, field) for field in fields}
        if not any(tag in tags for tags in had.values()):
            raise errors.NotFound(kind="tag", name=tag, hint=f"'snapengine tag list {uuid}' shows those that are")
        return {field: _without(tags, tag) for field, tags in had.items()}

    return _change(opened, uuid, change, wait)


def _without(tags: tuple[str, ...], tag: str) -> tuple[str, ...]:
    return tuple(t for t in tags if t != tag)


def _change(opened: Store, uuid: str, change: Callable[[TaggedRecord], Changes], wait: float) -> tuple[Tag, ...]:
    """Replace fields of an object's record under its volume's lock, by one durable replacement of the record."""
    with hold.volume(opened, _directory(opened, uuid), "change tags", wait) as work:
        record = work.volume if uuid == work.volume.uuid else records.read_snapshot(work.directory, uuid)
        new = msgspec.structs.replace(record, **change(record))
        if isinstance(new, VolumeRecord) and new != record:
            operation.rewrite(work, new)
        elif new != record:
            dated = msgspec.structs.replace(new, last_op_date=work.place.now)
            notes.write(work.directory / layout.record(uuid), dated)
        return tuple(_tags(new))


def _directory(opened: Store, uuid: str) -> Path:
    if store.has_volume(opened.root, uuid):
        return store.find_volume(opened.root, uuid)
    return store.find_snapshot(opened.root, uuid)
