"""
Reckon what the records of a volume must say, from what the headers of its images say. Pure.

The headers are the home of the parents; trees, latest and distance follow from them. What no header knows is taken from
the records as they are: which tree a family of snapshots is, and what its latest was while the volume stood elsewhere.
"""

import uuid
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from snapengine import layout, tree
from snapengine.inventory import SnapshotRecord, TrashRecord, Tree, VolumeRecord
from snapengine.removal import Family

Record = TypeVar("Record", VolumeRecord, SnapshotRecord, TrashRecord)
Parents = Mapping[str, str | None]


class Image(NamedTuple):
    """What an image tells that can be read: the name that it stands on, its virtual size in bytes."""

    backing: str | None
    size: int


def right(family: Family, images: Mapping[str, Image]) -> Family:
    """
    Return the records of a volume as the headers of its images want them; what is right already is the same object.

    images are those that can be read, by the uuid of what they belong to, the active one by the volume's. What has
    none of them stays as its record says, as far as that leads to a snapshot that is there. So do generations and
    dates: whoever writes the records sees to these. An empty treeUuid is one that nobody knows.
    """
    own = family.volume
    parents = _unlooped({name: _parent(family, record, images) for name, record in family.snapshots.items()})
    trees, tree_of = _trees(family, parents, _parent(family, own, images))
    shown = images.get(own.uuid)
    size = shown.size if shown else own.size
    base, linked = _base(own, images), _is_linked(own, images)
    volume = _changed(own, trees=trees, size=size, base=base, linked=linked)
    snapshots = {
        name: _changed(record, parent_uuid=parents[name], tree_uuid=tree_of[name], linked=_is_linked(record, images))
        for name, record in family.snapshots.items()
    }
    trash = {
        name: _changed(record, snapshot_uuid=_parent(family, record, images), linked=_is_linked(record, images))
        for name, record in family.trash.items()
    }
    return Family(volume, tree.fresh(volume, snapshots), trash)


def _changed(record: Record, **changes: object) -> Record:
    if all(getattr(record, name) == value for name, value in changes.items()):
        return record
    return msgspec.structs.replace(record, **changes)


def _parent(family: Family, record: tree.Standing, images: Mapping[str, Image]) -> str | None:
    """Return the snapshot that an image stands on: by its header, or by its record where that leads nowhere known."""
    said = images.get(record.uuid)
    if said is not None and (said.backing is None or not layout.is_bare(said.backing)):
        return None
    headed = layout.uuid_of(said.backing) if said is not None and said.backing else None
    recorded = tree.backing(family.volume, record)
    known = [headed, layout.uuid_of(recorded) if recorded else None]
    return next((name for name in known if name in family.snapshots), None)


def _unlooped(parents: Parents) -> dict[str, str | None]:
    """Return parents without those that run in a circle: nothing can stand on itself."""
    whole: dict[str, bool] = {}
    for name in parents:
        path: list[str] = []
        at: str | None = name
        while at is not None and at not in whole and at not in path:
            path.append(at)
            at = parents[at]
        circle = path[path.index(at) :] if at in path else []
        whole.update({each: each not in circle for each in path})
    return {name: parent if whole[name] else None for name, parent in parents.items()}


def _is_linked(record: tree.Standing, images: Mapping[str, Image]) -> bool:
    said = images.get(record.uuid)
    if said is None:
        return record.linked
    return said.backing is not None and not layout.is_bare(said.backing)


def _base(volume: VolumeRecord, images: Mapping[str, Image]) -> str | None:
    """Return the base that the images of a volume name; where none does, or several are named, the recorded one."""
    named = Counter(i.backing for i in images.values() if i.backing is not None and not layout.is_bare(i.backing))
    if not named or volume.base in named:
        return volume.base
    return named.most_common(1)[0][0]


def _trees(family: Family, parents: Parents, live: str | None) -> tuple[tuple[Tree, ...], dict[str, str]]:
    """Return the trees of a volume, and which of them each snapshot is in; live is the active image's parent."""
    members: dict[str, list[str]] = {}
    for name in family.snapshots:
        members.setdefault(_origin(parents, name), []).append(name)
    known = {each.uuid: each for each in family.volume.trees}
    found: dict[str, Tree] = {}
    tree_of: dict[str, str] = {}
    age = {name: tree.age(record) for name, record in family.snapshots.items()}
    for origin in sorted(members, key=lambda name: (live not in members[name], age[name])):
        inside = members[origin]
        name = _tree_uuid(family, origin, inside, found)
        tree_of.update(dict.fromkeys(inside, name))
        latest = live if live in inside else _latest(family, parents, inside, known.get(name))
        found[name] = _tree(family, known.get(name), name, latest or origin, live in inside, origin)
    order = {name: place for place, name in enumerate(known)}
    old = sorted((name for name in found if name in known), key=lambda name: order[name])
    new = sorted((name for name in found if name not in known), key=lambda name: age[found[name].latest])
    return tuple(found[name] for name in [*old, *new]), tree_of


def _origin(parents: Parents, name: str) -> str:
    while (parent := parents[name]) is not None:
        name = parent
    return name


def _tree_uuid(family: Family, origin: str, inside: list[str], taken: Mapping[str, Tree]) -> str:
    """Return the uuid of the tree that these snapshots are: its origin's, that of most of them, or one of its own."""
    said = Counter(sorted(family.snapshots[name].tree_uuid for name in inside))
    wanted = [family.snapshots[origin].tree_uuid, *(name for name, _ in said.most_common())]
    own = uuid.uuid5(uuid.UUID(family.volume.uuid), origin).hex  # the same, however often this is reckoned
    return next((name for name in wanted if name and name not in taken), own)


def _latest(family: Family, parents: Parents, inside: list[str], known: Tree | None) -> str:
    """Return the latest of a tree that is not current: as recorded, or else its newest leaf."""
    if known is not None and known.latest in inside:
        return known.latest
    below = {parents[name] for name in inside}
    said = [name for name in inside if family.snapshots[name].latest]
    leaves = [name for name in inside if name not in below]
    return max(said or leaves, key=lambda name: tree.age(family.snapshots[name]))


def _tree(family: Family, known: Tree | None, name: str, latest: str, current: bool, origin: str) -> Tree:
    if known is None:
        date = family.snapshots[origin].create_date
        return Tree(uuid=name, latest=latest, current=current, create_date=date, last_op_date=date)
    return msgspec.structs.replace(known, latest=latest, current=current)
