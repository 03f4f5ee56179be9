"""
Notes: a second copy of each record, kept with its image as an extended attribute, for when the records are lost.

It is the record as it was written last, and costs microseconds: no content of an image is touched for it, frozen ones
keep theirs bit for bit, and nothing waits for it to be durable. `cp -a`, `rsync -X` and `tar --xattrs` take it along.
Nothing but `rebuild` ever reads it. A group has no image: its record, but for its members, is noted at each of theirs.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from snapengine import attributes, durable, errors, inventory, layout, records, roster, store
from snapengine.inventory import Record, SnapshotRecord, Struct, TrashRecord, VolumeRecord
from snapengine.roster import GroupRecord

_KIND, _GROUP = "record", "group"
_ROOM, _GROUPS_ROOM = 2_900, 950  # bytes; ext4 keeps all extended attributes of a file in one block
_USUAL = 300  # bytes, more than fit beside a file's other facts
_LONG = ("description", "systemTags", "userTags", "trees")  # what a note does without, in this order, where it must
_DEPTH = 4  # of a record below the root


class _Grouped(Struct, frozen=True):
    """What of any record tells its group."""

    group_uuid: str | None = None


def write(path: Path, record: Struct) -> None:
    """Write the record of an image at path, whole and durably, and note it at the image."""
    data = inventory.encode(record)
    durable.write(path, data)
    _keep(path, data)


def prepare(path: Path, record: Struct) -> None:
    """Do as write() does for a new file, whose name is durable after the next sync_directory."""
    data = inventory.encode(record)
    durable.prepare(path, data)
    _keep(path, data)


def keep(path: Path) -> None:
    """Note the record at path at the image beside it, as far as that can be done."""
    with suppress(OSError, errors.Corrupt, msgspec.DecodeError):  # whoever needs the record itself says so
        if _is_record(path):
            _keep(path, records.read_bytes(path))


def _keep(path: Path, data: bytes) -> None:
    if not _is_record(path):
        return
    if path.parent.name == layout.GROUPS:
        _keep_group(path.parents[1], inventory.decode(data, GroupRecord, path))
        return
    image = path.with_name(layout.image_beside(path.name))
    attributes.note(image, _KIND, _short(data, _ROOM))
    if (group := msgspec.json.decode(data, type=_Grouped).group_uuid) is not None:
        with suppress(errors.NotFound, errors.Corrupt):  # it is just being made, or a problem of its own
            attributes.note(image, _GROUP, _of_group(roster.read(path.parents[_DEPTH], group)))


def _is_record(path: Path) -> bool:
    return path.name.endswith(".json")


def _keep_group(root: Path, record: GroupRecord) -> None:
    """Note a group's record at the images of its members, as far as their volumes are not deleted."""
    data = _of_group(record)
    for member in record.members:
        with suppress(errors.NotFound):
            directory = store.find_volume(root, member.volume_uuid)
            attributes.note(directory / layout.image(member.volume_snapshot_uuid), _GROUP, data)


def _of_group(record: GroupRecord) -> bytes:
    return _short(inventory.encode(msgspec.structs.replace(record, members=())), _GROUPS_ROOM)


def _short(data: bytes, room: int) -> bytes:
    """Return a record, where it takes more room without what may be long, as little of it as possible."""
    if len(data) <= room:
        return data
    fields = msgspec.json.decode(data, type=dict[str, object])
    for name in _LONG:
        fields.pop(name, None)
        if len(data := msgspec.json.encode(fields, order="sorted")) <= room:
            break
    return data


def reserve(image: Path) -> None:
    """Let an image that is being made take the room of a note at once, so that what it takes is known from then on."""
    attributes.note(image, _KIND, b" " * _USUAL)


def volume(image: Path, uuid: str) -> VolumeRecord | None:
    """Return the record of the volume uuid that was noted at its image, None where there is none."""
    return _read(image, uuid, VolumeRecord)


def snapshot(image: Path, uuid: str) -> SnapshotRecord | None:
    """Return the record of the snapshot uuid that was noted at its image, None where there is none."""
    return _read(image, uuid, SnapshotRecord)


def trash(image: Path, uuid: str) -> TrashRecord | None:
    """Return the record of the trash item uuid that was noted at its image, None where there is none."""
    return _read(image, uuid, TrashRecord)


def group(image: Path, uuid: str) -> GroupRecord | None:
    """Return the record of the group uuid, without members, that was noted at a member's image, None without one."""
    return _read(image, uuid, GroupRecord, _GROUP)


def _read(image: Path, uuid: str, kind: type[Record], note: str = _KIND) -> Record | None:
    """Return a noted record; one of another object stems from when the image was that object's."""
    data = attributes.noted(image, note)
    if data is None:
        return None
    try:
        found = inventory.decode(data, kind, image)
    except errors.Corrupt:
        return None
    return found if getattr(found, "uuid", None) == uuid else None
