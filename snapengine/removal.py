"""
What must happen so that snapshots can go: who moves onto what, in which order, and the records after each step. Pure.

An image is named by its uuid here, the active image by its volume's. The active image and trash items count as
children of the snapshots that they stand on, as snapshots do.
"""

from collections.abc import Mapping, Set
from typing import NamedTuple, TypeVar

import msgspec

from snapengine import tree
from snapengine.inventory import Moved, SnapshotRecord, TrashRecord, Tree, VolumeRecord

Parents = Mapping[str, str | None]
Record = TypeVar("Record", VolumeRecord, SnapshotRecord, TrashRecord)


class Family(NamedTuple):
    """The records of one volume, as they are before a step."""

    volume: VolumeRecord
    snapshots: Mapping[str, SnapshotRecord]
    trash: Mapping[str, TrashRecord]

    @property
    def parents(self) -> dict[str, str | None]:
        """What each image stands on."""
        frozen = {uuid: record.parent_uuid for uuid, record in self.snapshots.items()}
        kept = {uuid: record.snapshot_uuid for uuid, record in self.trash.items()}
        return {self.volume.uuid: tree.latest(self.volume), **frozen, **kept}


class Step(NamedTuple):
    """
    One step: the image child, None if nothing moves, takes in the snapshots of run, top first, and stands on onto.

    drop are the snapshots and trash items that then go, since nothing stands on them any more.
    """

    child: str | None
    run: tuple[str, ...]
    onto: str | None
    drop: tuple[str, ...]


def steps(family: Family, doomed: Set[str], purged: Set[str] = frozenset()) -> tuple[Step, ...]:
    """
    Return the steps after which the snapshots doomed and the trash items purged are gone, and all others read the same.

    Each step leaves a whole store. Who keeps the tree's uuid, the snapshot on the live chain or else the oldest, moves
    last (contract, section 4).
    """
    parents = family.parents
    live = set(_line(parents, family.volume.uuid))
    movers = [uuid for uuid in parents if uuid not in doomed | purged and parents[uuid] in doomed]
    left = {*doomed, *purged}
    found = []
    for child in sorted(movers, key=lambda uuid: _rank(family, live, uuid)):
        run = _run(parents, child, doomed)
        onto = parents[run[-1]]
        parents[child] = onto
        drop = _free(parents, left, run)
        left -= set(drop)
        for uuid in drop:
            del parents[uuid]
        found.append(Step(child, run, onto, drop))
    rest = tuple(sorted(left, key=lambda uuid: -len(_line(parents, uuid))))
    if rest and found:
        found[-1] = found[-1]._replace(drop=(*found[-1].drop, *rest))
    elif rest:
        found.append(Step(None, (), None, rest))
    return tuple(found)


def _rank(family: Family, live: Set[str], uuid: str) -> tuple[int, tuple[int, int, int, str]]:
    """Return what movers are sorted by: who keeps the tree's uuid comes last."""
    if uuid not in family.snapshots:
        return 0, (0, 0, 0, uuid)
    seconds, generation, distance, name = tree.age(family.snapshots[uuid])
    return (2 if uuid in live else 1), (-seconds, -generation, -distance, name)


def _run(parents: Parents, child: str, doomed: Set[str]) -> tuple[str, ...]:
    run = []
    at = parents[child]
    while at is not None and at in doomed:
        run.append(at)
        at = parents[at]
    return tuple(run)


def _free(parents: Parents, left: set[str], run: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of run, from the top, on which none stands any more that stays; before each, what stands on it."""
    found: list[str] = []
    for uuid in run:
        above = [each for each in parents if each not in found and uuid in _line(parents, each)]
        if not left.issuperset(above):
            break
        found += sorted(above, key=lambda each: -len(_line(parents, each)))
    return tuple(found)


def _line(parents: Parents, uuid: str) -> list[str]:
    """Return uuid and all that it stands on, itself first."""
    line = [uuid]
    while (below := parents.get(line[-1])) is not None:
        line.append(below)
    return line


def applied(family: Family, step: Step, new_tree: str, now: str) -> Family:
    """
    Return the records after a step; new_tree is the uuid of the tree that it opens, if any.

    The volume's record tells its readers of the others (gone, moved). Records that did not change are the same objects.
    """
    parents = {**family.parents, **({step.child: step.onto} if step.child else {})}
    there = {uuid: record for uuid, record in family.snapshots.items() if uuid not in step.drop}
    kept = {uuid: record for uuid, record in family.trash.items() if uuid not in step.drop}
    trees = _trees(family, there, parents, new_tree, now)
    snapshots = _placed(there, parents, trees)
    if step.child in snapshots:
        snapshots[step.child] = _changed(snapshots[step.child], checksum=None)  # its image is written to
    trash = {uuid: _changed(record, snapshot_uuid=parents[uuid]) for uuid, record in kept.items()}
    volume = _changed(family.volume, trees=tuple(trees), gone=step.drop, moved=_moved(family, snapshots, trash))
    return _linked(Family(volume, snapshots, trash), family, step)


def _trees(
    family: Family, there: Mapping[str, SnapshotRecord], parents: Parents, new_tree: str, now: str
) -> dict[Tree, set[str]]:
    """Return the trees, each with its snapshots: what hangs together, by the origins."""
    groups: dict[str, set[str]] = {}
    for uuid in there:
        groups.setdefault(_line(parents, uuid)[-1], set()).add(uuid)
    live = _line(parents, family.volume.uuid)
    found: dict[Tree, set[str]] = {}
    for old in family.volume.trees:
        origins = [uuid for uuid in groups if there[uuid].tree_uuid == old.uuid]
        origins.sort(key=lambda uuid: (uuid not in live, tree.age(there[uuid])))
        for count, origin in enumerate(origins):
            uuid = old.uuid if count == 0 else new_tree
            found[_tree(family, there, parents, groups[origin], old, uuid, now)] = groups[origin]
    return found


def _tree(
    family: Family, there: Mapping[str, SnapshotRecord], parents: Parents, group: Set[str], old: Tree, uuid: str,
    now: str,
) -> Tree:  # fmt: skip
    """Return the tree called uuid of the snapshots in group, which were in the tree old."""
    stands = parents[family.volume.uuid]
    before = _line(family.parents, old.latest)
    kept = [each for each in before if each in group] if old.latest not in there or old.latest in group else []
    newest = max(group, key=lambda each: (each not in parents.values(), tree.age(there[each])))
    latest = stands if stands in group else kept[0] if kept else newest
    same = msgspec.structs.replace(old, uuid=uuid, latest=latest or newest, current=stands in group)
    if same == old:
        return old
    return msgspec.structs.replace(same, last_op_date=now, create_date=old.create_date if uuid == old.uuid else now)


def _placed(
    there: Mapping[str, SnapshotRecord], parents: Parents, trees: Mapping[Tree, Set[str]]
) -> dict[str, SnapshotRecord]:
    """Return the snapshots, in their order, with parent, tree, latest and distance as parents and trees say."""
    found = {**there}
    for known, group in trees.items():
        for uuid in group:
            place = {"parent_uuid": parents[uuid], "tree_uuid": known.uuid}
            copies = {"latest": known.latest == uuid, "distance": len(_line(parents, uuid))}
            found[uuid] = _changed(there[uuid], **place, **copies)
    return found


def _moved(
    family: Family, snapshots: Mapping[str, SnapshotRecord], trash: Mapping[str, TrashRecord]
) -> tuple[Moved, ...]:
    """Return what a reader of the volume's record must know of the others until their own records follow."""
    frozen = [Moved(uuid=u, parent_uuid=r.parent_uuid, tree_uuid=r.tree_uuid) for u, r in snapshots.items()]
    were = {u: (r.parent_uuid, r.tree_uuid) for u, r in family.snapshots.items()}
    kept = [Moved(uuid=u, parent_uuid=r.snapshot_uuid) for u, r in trash.items() if r is not family.trash[u]]
    return (*(m for m in frozen if (m.parent_uuid, m.tree_uuid) != were[m.uuid]), *kept)


def _linked(new: Family, old: Family, step: Step) -> Family:
    """Return the records with the image that moved linked to its volume's base where the one that it took in was."""
    if step.child is None or step.onto is not None or not old.snapshots[step.run[-1]].linked:
        return new
    snapshots = {u: _changed(r, linked=r.linked or u == step.child) for u, r in new.snapshots.items()}
    trash = {u: _changed(r, linked=r.linked or u == step.child) for u, r in new.trash.items()}
    volume = _changed(new.volume, linked=new.volume.linked or step.child == new.volume.uuid)
    return Family(volume, snapshots, trash)


def _changed(record: Record, **changes: object) -> Record:
    """Return record with changes; itself where these are none."""
    new = msgspec.structs.replace(record, **changes)
    return record if new == record else new
