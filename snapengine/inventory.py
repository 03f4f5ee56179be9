"""
The records, as typed structs, and their JSON: the contract's keys, camelCase, sorted, nulls left out.

A struct without "Record" in its name is what the contract shows (section 1 and 3); its record is the same with what
the file beside the image keeps in addition.
"""

import functools
from typing import Annotated, Literal, TypeVar

import msgspec

from snapengine import errors

SCHEMA_VERSION = 1
MAX_RECORD = 4 * 2**20  # no record is larger; bounds what a damaged or hostile file can make us read

_MONTH_AND_DAY = r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) ([1-9]|[12]\d|3[01])"
_DATE = rf"^{_MONTH_AND_DAY}, [1-9]\d{{3}} ([1-9]|1[0-2]):[0-5]\d:[0-5]\d [AP]M\Z"

Date = Annotated[str, msgspec.Meta(pattern=_DATE)]  # the contract's form; see units
VolumeType = Literal["Root", "Data"]
State = Literal["Enabled", "Disabled"]
Setting = Literal["on", "off", "auto"]
Status = Literal["Creating", "Ready", "Deleting", "Deleted"]


class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What all records have in common: immutable, camelCase in JSON, None left out."""


class BackupStorageRef(Struct, frozen=True, kw_only=True):
    """Where a copy of a snapshot lies outside the primary storage (contract, section 1)."""

    volume_snapshot_uuid: str
    backup_storage_uuid: str
    install_path: str


class Snapshot(Struct, frozen=True, kw_only=True):
    """A snapshot's inventory, in the order of contract, section 1; size is the frozen file's allocated bytes."""

    uuid: str
    name: str
    description: str | None = None
    type: str
    volume_uuid: str
    tree_uuid: str
    parent_uuid: str | None = None
    primary_storage_uuid: str
    primary_storage_install_path: str
    volume_type: VolumeType
    format: str
    latest: bool
    size: int
    state: State
    status: Status
    create_date: Date
    last_op_date: Date
    backup_storage_refs: tuple[BackupStorageRef, ...]
    distance: int
    group_uuid: str | None = None


class SnapshotRecord(Snapshot, frozen=True, kw_only=True):
    """
    The file beside a frozen image.

    generation is the volume's from which on the snapshot exists: a reader leaves out what is ahead of the volume's
    record, since its verb has not ended. linked tells that it stands on its volume's base. checksum is that of the
    image, None before one was asked for, or since a verb has rewritten the image.
    """

    schema_version: int
    generation: int
    linked: bool = False
    checksum: str | None = None
    system_tags: tuple[str, ...] = ()
    user_tags: tuple[str, ...] = ()


class Tree(Struct, frozen=True, kw_only=True):
    """A snapshot tree as its volume's record keeps it; latest is the parent of the next snapshot in this tree."""

    uuid: str
    latest: str
    current: bool
    create_date: Date
    last_op_date: Date


class Volume(Struct, frozen=True, kw_only=True):
    """A volume's inventory, in the order of contract, section 3; size is virtual, actual_size allocated bytes."""

    uuid: str
    name: str
    description: str | None = None
    primary_storage_uuid: str
    vm_instance_uuid: str | None = None
    install_path: str
    type: VolumeType
    format: str
    size: int
    actual_size: int
    device_id: int | None = None
    state: State
    status: Status
    create_date: Date
    last_op_date: Date
    is_shareable: bool


class Moved(Struct, frozen=True, kw_only=True):
    """A snapshot or trash item that stands on parent_uuid now; tree_uuid is the tree that a snapshot is in."""

    uuid: str
    parent_uuid: str | None = None
    tree_uuid: str | None = None


class VolumeRecord(Volume, frozen=True, kw_only=True):
    """
    The file beside the active image: the one home of the volume's trees.

    generation grows with every change, so that a reader who takes no lock can tell that it must read again.
    base is the image outside the volume's directory that the linked ones among its images stand on, named relative to
    that directory: up to the root and down again. linked tells whether the active image is one.
    broken_bitmaps names the dirty bitmaps that a revert cut off: the next incremental backup must be a full one.
    gone are the snapshots and trash items that the last operation removed or made something else of, moved those that
    it let stand on another image: their own records follow a moment after this one came, and readers go by this one.
    """

    schema_version: int
    generation: int
    account: str
    trees: tuple[Tree, ...] = ()
    system_tags: tuple[str, ...] = ()
    user_tags: tuple[str, ...] = ()
    broken_bitmaps: tuple[str, ...] = ()
    vm_name: str | None = None
    channel: str | None = None
    gone: tuple[str, ...] = ()
    moved: tuple[Moved, ...] = ()
    base: str | None = None
    linked: bool = False


class TrashItem(Struct, frozen=True, kw_only=True):
    """
    A former active image that was replaced, or a deleted volume.

    snapshot_uuid is what an image stands on, size the allocated bytes: of a volume those of all its files.
    """

    uuid: str
    kind: Literal["ActiveImage", "Volume"]
    volume_uuid: str
    size: int
    create_date: Date
    snapshot_uuid: str | None = None


class TrashRecord(TrashItem, frozen=True, kw_only=True):
    """
    The file beside a trash item's image; generation and linked as for a snapshot.

    moment is when it was made, in nanoseconds: reverts may follow each other within the second that createDate tells.
    """

    schema_version: int
    generation: int
    moment: int = 0
    linked: bool = False


class PrimaryStorage(Struct, frozen=True, kw_only=True, omit_defaults=False):
    """
    The store's own record; root is where it was last used (DESIGN, section 2: a moved store).

    reflinks tells whether files may share extents here, as found when the store was made or moved, unless
    reflinks_setting forbids it. image_owner (USER:GROUP) and image_mode (octal) are those of the images of new volumes,
    where they do not say default.
    """

    uuid: str
    name: str
    root: str
    schema_version: int
    create_date: Date
    max_incremental_snapshot_num: int = 64
    reflinks: bool = False
    reflinks_setting: Setting = "auto"
    image_owner: str = "default"
    image_mode: str = "default"


Record = TypeVar("Record", bound=Struct)


def encode(record: Struct) -> bytes:
    """Return record as JSON, keys sorted, for a file; Invalid for what would be too large to be read again."""
    data = msgspec.json.encode(record, order="sorted")
    if len(data) > MAX_RECORD:
        raise errors.Invalid(what=f"a record has at most {MAX_RECORD} bytes, this one would have {len(data)}; say less")
    return data


def decode(data: bytes, kind: type[Record], path: object) -> Record:
    """
    Return the record of kind that data holds.

    Raises Corrupt, naming path, when data is no such record: cut off, of another kind, a wrong type, a newer schema.
    """
    try:
        record: Record = _decoder(kind).decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise errors.Corrupt(what=f"record {path} is damaged: {e}") from e
    if getattr(record, "schema_version", SCHEMA_VERSION) > SCHEMA_VERSION:
        raise errors.Corrupt(what=f"record {path} was written by a newer snapengine; upgrade to read it")
    return record


def shown(record: Struct, kind: type[Record]) -> Record:
    """Return record without what only its file keeps: kind is the struct that the contract shows of it."""
    return msgspec.convert(record, kind, from_attributes=True)


@functools.cache
def _decoder(kind: type[Record]) -> msgspec.json.Decoder[Record]:
    """Return the decoder of kind: making one costs more than using it."""
    return msgspec.json.Decoder(kind)
