"""What a verb will do: a draft of each, out of the records alone. Pure: every shape is a table in its tests."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from snapengine import draft, inventory, layout, tree
from snapengine.draft import Place, Plan
from snapengine.intent import Rename
from snapengine.inventory import SnapshotRecord, Struct, TrashRecord, VolumeRecord

replace = msgspec.structs.replace


class Parts(NamedTuple):
    """
    A snapshot that is about to be made: what the caller asked for and what its image says.

    allocated is what the snapshot's file takes, size what a guest sees of it, in bytes.
    """

    uuid: str
    name: str
    description: str | None
    system_tags: tuple[str, ...]
    user_tags: tuple[str, ...]
    primary_storage: str
    image: str
    allocated: int
    size: int
    group: str | None = None


def create_snapshot(
    place: Place, volume: VolumeRecord, parent: SnapshotRecord | None, limit: int, parts: Parts
) -> Plan:
    """
    Plan a snapshot of volume, whose active image stands on parent.

    Where parent's distance has reached limit, the snapshot is a full one: the origin of a new current tree, made from
    a copy of what the guest sees instead of the active image itself (is_full tells).
    """
    full = is_full(parent, limit)
    above = None if parent is None or full else parent
    linked = volume.linked and not full
    record = _snapshot(place, volume, above, above.tree_uuid if above else place.operation, linked, parts)
    trees = tree.grown(volume.trees, record.tree_uuid, record.uuid, place.now)
    changed = draft.following(place, volume, trees=trees, size=parts.size, linked=False)
    old_parent = [(layout.record(parent.uuid), replace(parent, latest=False))] if parent and not full else []
    records = [(layout.record(record.uuid), record), (layout.record(volume.uuid), changed), *old_parent]
    image = layout.image(record.uuid)
    return draft.over_active(place, volume, image, records, made=(image,), reserved=(record.uuid,))


def is_full(parent: SnapshotRecord | None, limit: int) -> bool:
    """Tell whether the next snapshot after parent must be a full one."""
    return parent is not None and parent.distance >= limit


def _snapshot(
    place: Place, volume: VolumeRecord, parent: SnapshotRecord | None, tree_of: str, linked: bool, parts: Parts
) -> SnapshotRecord:
    return SnapshotRecord(
        uuid=parts.uuid,
        name=parts.name,
        description=parts.description,
        type="Hypervisor",
        volume_uuid=volume.uuid,
        tree_uuid=tree_of,
        parent_uuid=parent.uuid if parent else None,
        primary_storage_uuid=parts.primary_storage,
        primary_storage_install_path=parts.image,
        volume_type=volume.type,
        format="qcow2",
        latest=True,
        size=parts.allocated,
        state="Enabled",
        status="Ready",
        create_date=place.now,
        last_op_date=place.now,
        backup_storage_refs=(),
        distance=parent.distance + 1 if parent else 1,
        schema_version=inventory.SCHEMA_VERSION,
        generation=volume.generation + 1,
        linked=linked,
        system_tags=parts.system_tags,
        user_tags=parts.user_tags,
        group_uuid=parts.group,
    )


def revert(
    place: Place, volume: VolumeRecord, target: SnapshotRecord, tip: SnapshotRecord | None, item: TrashRecord | None,
    size: int, bitmaps: tuple[str, ...],
) -> Plan:  # fmt: skip
    """
    Plan that volume's active image becomes an empty overlay of target, size bytes large.

    tip is the latest of target's tree until then, None when that is target itself. item is the trash item that keeps
    the active image, None where that holds nothing of its own. bitmaps are the dirty bitmaps that end with it.
    """
    trees = tree.grown(volume.trees, target.tree_uuid, target.uuid, place.now)
    changed = draft.following(
        place, volume, trees=trees, size=size, linked=False, broken_bitmaps=draft.broken(volume, bitmaps)
    )  # fmt: skip
    kept, made = draft.kept([(layout.record(volume.uuid), changed), *_moved(tip, target)], item)
    reserved = (item.uuid,) if item else ()
    return draft.over_active(place, volume, layout.image(target.uuid), kept, made, reserved)


def trash_item(place: Place, volume: VolumeRecord, item: str, size: int, moment: int) -> TrashRecord:
    """Return the record of the trash item that keeps volume's active image, size allocated bytes large, from moment."""
    return TrashRecord(
        uuid=item,
        kind="ActiveImage",
        volume_uuid=volume.uuid,
        snapshot_uuid=tree.latest(volume),
        size=size,
        create_date=place.now,
        schema_version=inventory.SCHEMA_VERSION,
        generation=volume.generation + 1,
        moment=moment,
        linked=volume.linked,
    )


def restore(
    place: Place, volume: VolumeRecord, restored: TrashRecord, base: SnapshotRecord | None, tip: SnapshotRecord | None,
    item: TrashRecord | None, size: int, bitmaps: tuple[str, ...],
) -> Plan:  # fmt: skip
    """Plan that the trash item restored, standing on base, becomes the active image; the rest is as for revert."""
    if base is None:
        trees = tree.detached(volume.trees, place.now)
    else:
        trees = tree.grown(volume.trees, base.tree_uuid, base.uuid, place.now)
    broken = draft.broken(volume, bitmaps)
    changed = draft.following(
        place, volume, trees=trees, size=size, linked=restored.linked, gone=(restored.uuid,), broken_bitmaps=broken
    )  # fmt: skip
    rename = Rename(source=layout.trash_image(restored.uuid), target=layout.active_name(volume))
    backing = tree.backing(volume, restored)
    kept, made = draft.kept([(layout.record(volume.uuid), changed), *_moved(tip, base)], item)
    drop = (layout.trash_record(restored.uuid),)
    return draft.plan(place, volume, rename, backing, kept, made, drop=drop, reserved=(item.uuid,) if item else ())


def branch(place: Place, volume: VolumeRecord, item: TrashRecord, base: SnapshotRecord | None, parts: Parts) -> Plan:
    """Plan that a trash item becomes a snapshot on base, or the origin of a tree of its own; the volume stays."""
    record = _snapshot(place, volume, base, base.tree_uuid if base else place.operation, item.linked, parts)
    if base is None:
        trees = tree.added(volume.trees, record.tree_uuid, record.uuid, place.now)
    else:
        record, trees = replace(record, latest=False), volume.trees
    records: list[tuple[str, Struct]] = [
        (layout.record(record.uuid), record),
        (layout.record(volume.uuid), draft.following(place, volume, trees=trees, gone=(item.uuid,))),
    ]
    rename = Rename(source=layout.trash_image(item.uuid), target=layout.image(record.uuid))
    backing = tree.backing(volume, item)
    drop = (layout.trash_record(item.uuid),)
    return draft.plan(place, volume, rename, backing, records, (), drop=drop, reserved=(record.uuid,))


def purge(place: Place, volume: VolumeRecord, items: Sequence[str]) -> Plan:
    """Plan that trash items go for good: writing the entry decides, from then on it only goes forward."""
    drop = tuple(name for item in items for name in (layout.trash_image(item), layout.trash_record(item)))
    return Plan(draft.entry(place, volume.uuid, drop=drop), {})


def adopted(place: Place, volume: VolumeRecord, parts: Sequence[Parts]) -> tuple[VolumeRecord, list[SnapshotRecord]]:
    """Return the records of a new volume that stands on a line of snapshots, and of these; parts: the origin first."""
    made: list[SnapshotRecord] = []
    for each in parts:
        record = _snapshot(place, volume, made[-1] if made else None, place.operation, False, each)
        made.append(replace(record, latest=each is parts[-1], generation=volume.generation))
    trees = tree.grown((), place.operation, made[-1].uuid, place.now) if made else ()
    return replace(volume, trees=trees), made


def _moved(tip: SnapshotRecord | None, target: SnapshotRecord | None) -> list[tuple[str, Struct]]:
    """Return the records of the snapshots whose copy of `latest` changes when the active image comes to target."""
    old: list[tuple[str, Struct]] = [(layout.record(tip.uuid), replace(tip, latest=False))] if tip else []
    return [*old, (layout.record(target.uuid), replace(target, latest=True))] if target else old
