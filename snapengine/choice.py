"""By which way a step of a removal joins its images: asked of the images themselves, by the rules of cost.py."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from snapengine import called, cost, durable, errors, layout, limits, maps, merge, step_plan, units
from snapengine.cost import Cost, Direction, Way
from snapengine.merge import Join
from snapengine.removal import Family, Step
from snapengine.store import Store

SLACK = units.MIB  # bytes beside what the images take: records
_LOST = (
    "restore it from a backup; if it is lost, take the volume back to a snapshot that does not stand on it with "
    "'snapengine snapshot revert', then delete it with all that does, '--with-descendants'"
)
_ENDLESS = (
    "{path} is smaller than what stands under it, and so large, {size}, that a pull would not come to its end; "
    "purge it if it is in the trash, or delete it too, '--with-descendants'"
)


class Choice(NamedTuple):
    """A step, what it joins (None: nothing moves), and by which way; copied are the bytes that a clone copies."""

    step: Step
    join: Join | None
    cost: Cost | None
    copied: int = 0


def chosen(opened: Store, directory: Path, family: Family, step: Step, direction: Direction) -> Choice:
    """Return by which way a step joins its images; Conflict where direction can't be."""
    if step.child is None:
        return Choice(step, None, None)
    join = _joined(directory, step_plan.image_of(family, step.child), layout.image(step.run[-1]))
    maps.require_whole(join.filling)
    copied = 0 if opened.record.reflinks else join.run[-1].allocated
    size = join.child.header.size
    found = cost.costs(maps.of(join.child), merge.held(join), size, copied, alone=not join.below)
    parents = family.parents
    going = (*step.run, *step.drop)
    others = [u for u, parent in parents.items() if parent in step.run and u not in (step.child, *going)]
    larger = [below for above, below in zip(join.layers, join.run) if below.header.size > above.header.size]
    if direction == "commit":
        _require_committable(family, [parents[u] or "" for u in others], [below.uuid or "" for below in larger])
    endless = _endless(join, found["pull"])
    scarce = [*_scarce(directory, join, found, copied), *endless]
    reflinks, sole, fitting = opened.record.reflinks, not others, not larger
    way = cost.choose(found, direction, scarce, reflinks=reflinks, sole=sole, fitting=fitting)
    if way.way in endless:
        raise errors.Conflict(what=_ENDLESS.format(path=join.child.path, size=units.format_size(size)))
    return Choice(step, join, way, copied)


def room(join: Join, way: Way, copied: int) -> int:
    """Return the bytes that joining takes at most while it lasts, by this way; see cost.room."""
    clusters = [layer.header.cluster_size for layer in join.layers]
    return cost.room(way, maps.of(join.child), merge.held(join), clusters, copied)


def _endless(join: Join, pull: Cost) -> list[Way]:
    """Return pull where it takes longer to look at what no layer holds than the tool is given."""
    if pull.idle <= limits.DATA_SECONDS:  # which it has at least: no file needs to be looked at
        return []
    return ["pull"] if pull.idle > limits.moving(limits.beside(join.child.path)).seconds else []


def _scarce(directory: Path, join: Join, ways: Iterable[Way], copied: int) -> list[Way]:
    """Return those of ways for which there is no room."""
    free = durable.room(directory) - SLACK
    largest = max(layer.header.cluster_size for layer in join.layers)
    if cost.most_room([maps.of(join.child), *merge.held(join)], largest, copied) <= free:
        return []
    return [way for way in ways if room(join, way, copied) > free]


def _require_committable(family: Family, shared: Sequence[str], larger: Sequence[str]) -> None:
    """Raise Conflict where one of the snapshots that go has others on it too, or is larger than what stands on it."""
    for uuid, what in [*((uuid, "several images stand on {}") for uuid in shared),
                       *((uuid, "what stands on {} is smaller") for uuid in larger)]:  # fmt: skip
        why = what.format(f"snapshot {called.snapshot(family.volume, family.snapshots[uuid])}")
        raise errors.Conflict(what=f"{why}, so it can't be committed; use '--direction pull'")


def _joined(directory: Path, child: str, lowest: str) -> Join:
    """Return the layers to join; Corrupt, with what to do, where one of them or what they stand on is missing."""
    try:
        return merge.read(directory, child, lowest)
    except errors.Refused:
        raise
    except errors.Corrupt as e:
        raise errors.Corrupt(what=e.what, hint=_LOST) from e
