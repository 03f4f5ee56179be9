"""A store of 10,000 snapshots as records alone, for what reads no image."""

import os
import uuid
from pathlib import Path

from snapengine import Engine, inventory, layout, units
from snapengine.inventory import SnapshotRecord, Tree, VolumeRecord
from snapengine.units import GIB, MIB

VOLUMES = 100
SNAPSHOTS = 100  # of each volume
BEGIN = 1_700_000_000  # when the first of them was made; one a minute

_BRANCH_EVERY, _BRANCH_BACK = 10, 5


def make(root: Path) -> None:
    """Make the store at root."""
    storage = Engine.init(root).storage.uuid
    for number in range(VOLUMES):
        directory = layout.volume_directory(root, "Data", layout.ADMIN, uuid.uuid4().hex) / layout.SNAPSHOTS
        directory.mkdir(parents=True)
        _fill(directory, storage, number)
    os.sync()  # what is not written yet stays in the page cache, however often that is emptied


def _fill(directory: Path, storage: str, number: int) -> None:
    """Write the records of one volume, whose snapshots are a line with a short branch now and then."""
    tree = uuid.uuid4().hex
    made: list[SnapshotRecord] = []
    for count in range(SNAPSHOTS):
        back = _BRANCH_BACK if count % _BRANCH_EVERY == 0 else 1
        made.append(_snapshot(directory, storage, tree, number * SNAPSHOTS + count, made[-back] if made else None))
        _write(directory, made[-1])
    _write(directory, _volume(directory, storage, number, made[-1]))


def _write(directory: Path, record: SnapshotRecord | VolumeRecord) -> None:
    (directory / layout.record(record.uuid)).write_bytes(inventory.encode(record))


def _snapshot(directory: Path, storage: str, tree: str, count: int, parent: SnapshotRecord | None) -> SnapshotRecord:
    new, date = uuid.uuid4().hex, units.format_date(BEGIN + 60 * count)
    return SnapshotRecord(
        uuid=new,
        name=f"snapshot-{count}",
        description="made for the bench",
        type="Hypervisor",
        volume_uuid=directory.parent.name.removeprefix("vol-"),
        tree_uuid=tree,
        parent_uuid=parent.uuid if parent else None,
        primary_storage_uuid=storage,
        primary_storage_install_path=str(directory / layout.image(new)),
        volume_type="Data",
        format="qcow2",
        latest=(count + 1) % SNAPSHOTS == 0,
        size=MIB,
        state="Enabled",
        status="Ready",
        create_date=date,
        last_op_date=date,
        backup_storage_refs=(),
        distance=parent.distance + 1 if parent else 1,
        schema_version=inventory.SCHEMA_VERSION,
        generation=count % SNAPSHOTS + 1,
    )


def _volume(directory: Path, storage: str, number: int, latest: SnapshotRecord) -> VolumeRecord:
    date = latest.create_date
    tree = Tree(uuid=latest.tree_uuid, latest=latest.uuid, current=True, create_date=date, last_op_date=date)
    return VolumeRecord(
        uuid=latest.volume_uuid,
        name=f"volume-{number}",
        primary_storage_uuid=storage,
        install_path=str(directory / layout.image(latest.volume_uuid)),
        type="Data",
        format="qcow2",
        size=GIB,
        actual_size=MIB,
        state="Enabled",
        status="Ready",
        create_date=date,
        last_op_date=date,
        is_shareable=False,
        schema_version=inventory.SCHEMA_VERSION,
        generation=SNAPSHOTS,
        account=layout.ADMIN,
        trees=(tree,),
    )
