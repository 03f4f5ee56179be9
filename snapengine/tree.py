"""
Snapshot trees: what follows from the records alone (contract, section 4). Pure.

A volume's record keeps its trees with the latest of each; a snapshot's parent says where in its tree it hangs.
"""

from collections.abc import Iterable, Mapping

import msgspec

from snapengine import arguments, errors, inventory, layout, units
from snapengine.inventory import Snapshot, SnapshotRecord, TrashRecord, Tree, VolumeRecord

Standing = VolumeRecord | SnapshotRecord | TrashRecord


class Node(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A snapshot in its tree with what stands on it (contract, section 3, trees)."""

    inventory: Snapshot
    children: tuple["Node", ...]
    parent_uuid: str | None = None


class DrawnTree(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A whole tree as the contract shows it."""

    uuid: str
    volume_uuid: str
    current: bool
    status: str
    tree: Node
    create_date: str
    last_op_date: str


def current(volume: VolumeRecord) -> Tree | None:
    """Return the tree that the volume's active image stands on; None when it stands on no snapshot."""
    return next((tree for tree in volume.trees if tree.current), None)


def latest(volume: VolumeRecord) -> str | None:
    """Return the snapshot that the active image stands on: the next one's parent."""
    tree = current(volume)
    return tree.latest if tree else None


def backing(volume: VolumeRecord, record: Standing) -> str | None:
    """
    Return the name of what an image of volume must stand on: a snapshot beside it, the volume's base, or nothing.

    record is the image's: volume itself for the active one.
    """
    if isinstance(record, VolumeRecord):
        parent = latest(record)
    elif isinstance(record, SnapshotRecord):
        parent = record.parent_uuid
    else:
        parent = record.snapshot_uuid
    if parent is not None:
        return layout.image(parent)
    return volume.base if record.linked else None


def depth_limit(volume: VolumeRecord, default: int) -> int:
    """Return the limit in force for volume: its last depth tag, else default."""
    return depth_limit_by(volume.system_tags, default)


def depth_limit_by(tags: tuple[str, ...], default: int) -> int:
    """Return the limit in force for a volume with these system tags."""
    for tag in reversed(tags):
        if tag.startswith(arguments.DEPTH_TAG):
            return arguments.depth(tag.removeprefix(arguments.DEPTH_TAG))
    return default


def grown(trees: tuple[Tree, ...], tree: str, snapshot: str, now: str) -> tuple[Tree, ...]:
    """Return trees after snapshot became the latest of tree, which is current from then on and may be new."""
    new = Tree(uuid=tree, latest=snapshot, current=True, create_date=now, last_op_date=now)
    kept = tuple(_idle(t, now) for t in trees if t.uuid != tree)
    old = next((t for t in trees if t.uuid == tree), None)
    if old is None:
        return kept + (new,)
    moved = msgspec.structs.replace(new, create_date=old.create_date)
    return tuple(moved if t.uuid == tree else _idle(t, now) for t in trees)


def detached(trees: tuple[Tree, ...], now: str) -> tuple[Tree, ...]:
    """Return trees after the active image came to stand on none of them."""
    return tuple(_idle(t, now) for t in trees)


def added(trees: tuple[Tree, ...], tree: str, snapshot: str, now: str) -> tuple[Tree, ...]:
    """Return trees with one more that is not current and whose latest is snapshot."""
    return trees + (Tree(uuid=tree, latest=snapshot, current=False, create_date=now, last_op_date=now),)


def _idle(tree: Tree, now: str) -> Tree:
    return msgspec.structs.replace(tree, current=False, last_op_date=now) if tree.current else tree


def age(snapshot: SnapshotRecord) -> tuple[int, int, int, str]:
    """
    Return what snapshots are sorted by: oldest first.

    Of those that one volume got within one second the generation tells, and of those that came at once the distance.
    """
    return units.parse_date(snapshot.create_date), snapshot.generation, snapshot.distance, snapshot.name


def children(snapshots: Iterable[SnapshotRecord]) -> dict[str | None, list[str]]:
    """Return the children of each snapshot, and of None the origins, oldest first."""
    found: dict[str | None, list[str]] = {}
    for snapshot in sorted(snapshots, key=age):
        found.setdefault(snapshot.parent_uuid, []).append(snapshot.uuid)
    return found


def distances(snapshots: Mapping[str, Snapshot]) -> dict[str, int]:
    """
    Return each snapshot's distance: the layers from it down to its tree's origin, which counts 1.

    Raises Corrupt when a parent is missing or the parents run in a circle.
    """
    known: dict[str, int] = {}
    for uuid in snapshots:
        path: list[str] = []
        at: str | None = uuid
        while at is not None and at not in known:
            path.append(at)
            at = _parent(snapshots, at, len(path))
        below = known[at] if at is not None else 0
        for count, name in enumerate(reversed(path), below + 1):
            known[name] = count
    return known


def _parent(snapshots: Mapping[str, Snapshot], uuid: str, walked: int) -> str | None:
    parent = snapshots[uuid].parent_uuid
    if parent is not None and parent not in snapshots:
        raise errors.Corrupt(what=f"snapshot {uuid} has the parent {parent}, which has no record")
    if walked > len(snapshots):
        raise errors.Corrupt(what=f"the parents of snapshot {uuid} run in a circle")
    return parent


def fresh(volume: VolumeRecord, snapshots: Mapping[str, SnapshotRecord]) -> dict[str, SnapshotRecord]:
    """
    Return snapshots with `latest` and `distance` as the volume's record and the parents say.

    Both are only copies in a snapshot's own record, and a reader may meet them a moment before a writer renews them.
    """
    tips = {tree.latest for tree in volume.trees}
    depth = distances(snapshots)
    return {uuid: _renewed(record, uuid in tips, depth[uuid]) for uuid, record in snapshots.items()}


def _renewed(record: SnapshotRecord, latest: bool, distance: int) -> SnapshotRecord:
    if record.latest == latest and record.distance == distance:
        return record
    return msgspec.structs.replace(record, latest=latest, distance=distance)


def draw(volume: VolumeRecord, snapshots: Mapping[str, SnapshotRecord]) -> tuple[DrawnTree, ...]:
    """
    Return the volume's trees as the contract shows them, oldest first.

    What stands on a snapshot that is not among snapshots, since its record is damaged, is a tree more with that uuid.
    """
    nodes: dict[str, Node] = {}
    below = children(snapshots.values())
    origins = sorted((record for record in snapshots.values() if record.parent_uuid not in snapshots), key=age)
    order = [record.uuid for record in origins]
    for uuid in order:  # it grows meanwhile
        order += below.get(uuid, ())
    for uuid in reversed(order):
        record = snapshots[uuid]
        nodes[uuid] = Node(view(record), tuple(nodes[child] for child in below.get(uuid, ())), record.parent_uuid)
    of_tree: dict[str, list[Node]] = {}
    for origin in origins:
        of_tree.setdefault(origin.tree_uuid, []).append(nodes[origin.uuid])
    return tuple(_drawn(volume, tree, node) for tree in volume.trees for node in of_tree.get(tree.uuid, ()))


def _drawn(volume: VolumeRecord, tree: Tree, origin: Node) -> DrawnTree:
    return DrawnTree(
        uuid=tree.uuid,
        volume_uuid=volume.uuid,
        current=tree.current,
        status="Completed",
        tree=origin,
        create_date=tree.create_date,
        last_op_date=tree.last_op_date,
    )


def view(record: SnapshotRecord) -> Snapshot:
    """Return what the contract shows of a snapshot's record."""
    return inventory.shown(record, Snapshot)
