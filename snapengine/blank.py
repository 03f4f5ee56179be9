"""Records for what has lost its own and left no note of it: all that the files tell, and a name that says so. Pure."""

from typing import NamedTuple

from snapengine import inventory, layout, units
from snapengine.inventory import SnapshotRecord, TrashRecord, VolumeRecord, VolumeType
from snapengine.owners import AccountRecord


class Place(NamedTuple):
    """Where an image lies: the store's uuid, the volume's directory and uuid, its account's uuid and its type."""

    storage: str
    directory: str
    volume: str
    account: str
    kind: VolumeType


class File(NamedTuple):
    """What the file system says of an image: bytes that it takes, nanoseconds since 1970 at which it was written to."""

    allocated: int
    modified: int

    @property
    def date(self) -> str:
        """Return when it was written to last, as records say it."""
        return units.format_date(min(max(self.modified // 10**9, 0), units.END - 1))


def name(uuid: str) -> str:
    """Return what is called that way for want of its name."""
    return f"rebuilt-{uuid[:8]}"


def volume(place: Place, size: int, file: File) -> VolumeRecord:
    """Return the record of a volume with an active image of size bytes."""
    return VolumeRecord(
        uuid=place.volume,
        name=name(place.volume),
        primary_storage_uuid=place.storage,
        install_path=f"{place.directory}/{layout.image(place.volume)}",
        type=place.kind,
        format="qcow2",
        size=size,
        actual_size=0,
        state="Enabled",
        status="Ready",
        create_date=file.date,
        last_op_date=file.date,
        is_shareable=False,
        schema_version=inventory.SCHEMA_VERSION,
        generation=1,
        account=place.account,
    )


def snapshot(place: Place, uuid: str, file: File) -> SnapshotRecord:
    """Return the record of a snapshot; which tree it is in, and where, is still to be reckoned."""
    return SnapshotRecord(
        uuid=uuid,
        name=name(uuid),
        type="Hypervisor",
        volume_uuid=place.volume,
        tree_uuid="",
        primary_storage_uuid=place.storage,
        primary_storage_install_path=f"{place.directory}/{layout.image(uuid)}",
        volume_type=place.kind,
        format="qcow2",
        latest=False,
        size=file.allocated,
        state="Enabled",
        status="Ready",
        create_date=file.date,
        last_op_date=file.date,
        backup_storage_refs=(),
        distance=1,
        schema_version=inventory.SCHEMA_VERSION,
        generation=1,
    )


def trash(place: Place, uuid: str, file: File) -> TrashRecord:
    """Return the record of a trash item; what it stands on is still to be reckoned."""
    return TrashRecord(
        uuid=uuid,
        kind="ActiveImage",
        volume_uuid=place.volume,
        size=file.allocated,
        create_date=file.date,
        schema_version=inventory.SCHEMA_VERSION,
        generation=1,
        moment=file.modified,
    )


def account(uuid: str, now: str) -> AccountRecord:
    """Return the account with this uuid."""
    return AccountRecord(uuid=uuid, name="admin" if uuid == layout.ADMIN else name(uuid), create_date=now)
