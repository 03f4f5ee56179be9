"""Families of records in one line of text each, for the pure tests of removals."""

import msgspec

from snapengine import tree
from snapengine.inventory import SnapshotRecord, TrashRecord, Tree, VolumeRecord
from snapengine.removal import Family

EARLIER = "Jan 1, 2017 12:00:00 AM"
VOLUME = "v"
BASE = "../../../../the base"


def family(text: str, linked: str = "") -> Family:
    """
    Return the family that text tells, oldest first: "a b:a c:b i:b v:c" are snapshots a, b on a, c on b, an item on b.

    v is the volume, i to k are trash items, all others snapshots; what has no colon stands on nothing. Each origin x
    has the tree Tx, whose latest is what the volume stands on, else its newest leaf, else what `x*` marks. linked are
    those that stand on the volume's base.
    """
    words = [word.partition(":") for word in text.replace("*", "").split()]
    parents = {uuid: parent or None for uuid, _, parent in words}
    snapshots = [uuid for uuid in parents if uuid not in "vijk"]
    trees: dict[str, str] = {}
    for uuid in snapshots:
        trees[uuid] = f"T{uuid}" if parents[uuid] is None else trees[str(parents[uuid])]
    below = {parents[uuid] for uuid in snapshots}
    tips = {trees[uuid]: uuid for uuid in snapshots if uuid not in below}
    tips |= {trees[uuid]: uuid for uuid in snapshots if f"{uuid}*" in text}
    stands = parents[VOLUME]
    if stands is not None:
        tips[trees[stands]] = stands
    listed = tuple(
        Tree(uuid=t, latest=tip, current=tip == stands, create_date=EARLIER, last_op_date=EARLIER)
        for t, tip in sorted(tips.items())
    )
    records = {
        uuid: _snapshot(uuid, parents[uuid], trees[uuid], age, uuid in linked) for age, uuid in enumerate(snapshots)
    }
    items = {uuid: _item(uuid, parents[uuid], uuid in linked) for uuid in parents if uuid in "ijk"}
    volume = _volume(listed, BASE if linked else None, VOLUME in linked)
    return Family(volume, tree.fresh(volume, records), items)


def _volume(trees: tuple[Tree, ...], base: str | None, linked: bool) -> VolumeRecord:
    return VolumeRecord(
        uuid=VOLUME, name="db", primary_storage_uuid="s", install_path="/r/v.qcow2", type="Data", format="qcow2",
        size=512, actual_size=0, state="Enabled", status="Ready", create_date=EARLIER, last_op_date=EARLIER,
        is_shareable=False, schema_version=1, generation=70, account="c", trees=trees, base=base, linked=linked,
    )  # fmt: skip


def _snapshot(uuid: str, parent: str | None, of: str, age: int, linked: bool) -> SnapshotRecord:
    return SnapshotRecord(
        uuid=uuid, name=uuid, type="Hypervisor", volume_uuid=VOLUME, tree_uuid=of, primary_storage_uuid="s",
        primary_storage_install_path=f"/r/{uuid}.qcow2", volume_type="Data", format="qcow2", latest=False, size=1,
        state="Enabled", status="Ready", create_date=EARLIER, last_op_date=EARLIER, backup_storage_refs=(),
        distance=1, parent_uuid=parent, schema_version=1, generation=age, linked=linked,
    )  # fmt: skip


def _item(uuid: str, on: str | None, linked: bool) -> TrashRecord:
    return TrashRecord(
        uuid=uuid, kind="ActiveImage", volume_uuid=VOLUME, size=1, create_date=EARLIER, snapshot_uuid=on,
        schema_version=1, generation=60, linked=linked,
    )  # fmt: skip


def told(found: Family) -> str:
    """Return the text that tells a family, in the order of the names."""
    return " ".join(f"{uuid}:{parent}" if parent else uuid for uuid, parent in sorted(found.parents.items()))


def trees(found: Family) -> dict[str, tuple[str, str]]:
    """Return of each tree its snapshots, and its latest, with a star where it is current."""
    placed = sorted((uuid, record.tree_uuid) for uuid, record in found.snapshots.items())
    members = {t.uuid: "".join(uuid for uuid, of in placed if of == t.uuid) for t in found.volume.trees}
    return {t.uuid: (members[t.uuid], t.latest + "*" * t.current) for t in found.volume.trees}


def renamed(found: Family, path: str) -> Family:
    """Return a family whose active image has a live name."""
    return found._replace(volume=msgspec.structs.replace(found.volume, install_path=path))
