"""
Notes: a second copy of each record, kept with its image as an extended attribute, for when the records are lost.

It is the record as it was written last, and costs microseconds: no content of an image is touched for it, frozen ones
keep theirs bit for bit, and nothing waits for it to be durable. `cp -a`, `rsync -X` and `tar --xattrs` take it along.
Nothing but `rebuild` ever reads it.
"""

from contextlib import suppress
from pathlib import Path

import msgspec

from snapengine import durable, errors, inventory, layout, records
from snapengine.inventory import Record, SnapshotRecord, Struct, TrashRecord, VolumeRecord

_KIND = "record"
_ROOM = 3_900  # bytes; ext4 keeps all extended attributes of a file in one block
_USUAL = 300  # bytes, more than fit beside a file's other facts
_LONG = ("description", "systemTags", "userTags", "trees")  # what a note does without, in this order, where it must


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
    if _is_record(path):
        image = path.with_name(layout.image_beside(path.name))
        durable.note(image, _KIND, data if len(data) <= _ROOM else _short(data))


def _is_record(path: Path) -> bool:
    return path.name.endswith(".json")


def _short(data: bytes) -> bytes:
    """Return a record without what may be long, as little of it as possible."""
    fields = msgspec.json.decode(data, type=dict[str, object])
    for name in _LONG:
        fields.pop(name, None)
        if len(data := msgspec.json.encode(fields, order="sorted")) <= _ROOM:
            break
    return data


def reserve(image: Path) -> None:
    """Let an image that is being made take the room of a note at once, so that what it takes is known from then on."""
    durable.note(image, _KIND, b" " * _USUAL)


def volume(image: Path, uuid: str) -> VolumeRecord | None:
    """Return the record of the volume uuid that was noted at its image, None where there is none."""
    return _read(image, uuid, VolumeRecord)


def snapshot(image: Path, uuid: str) -> SnapshotRecord | None:
    """Return the record of the snapshot uuid that was noted at its image, None where there is none."""
    return _read(image, uuid, SnapshotRecord)


def trash(image: Path, uuid: str) -> TrashRecord | None:
    """Return the record of the trash item uuid that was noted at its image, None where there is none."""
    return _read(image, uuid, TrashRecord)


def _read(image: Path, uuid: str, kind: type[Record]) -> Record | None:
    """Return a noted record; one of another object stems from when the image was that object's."""
    data = durable.noted(image, _KIND)
    if data is None:
        return None
    try:
        found = inventory.decode(data, kind, image)
    except errors.Corrupt:
        return None
    return found if getattr(found, "uuid", None) == uuid else None
