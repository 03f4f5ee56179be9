"""What a delete or an undo would do, step by step, how much it moves and what it frees. Changes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from snapengine import (
    chain,
    choice,
    delete,
    errors,
    group,
    hold,
    lock,
    records,
    removal,
    roster,
    sizes,
    step_plan,
    steps,
    store,
    undo,
    units,
)
from snapengine.choice import Choice
from snapengine.cost import Direction
from snapengine.hold import Held
from snapengine.preview import Preview, Step
from snapengine.records import Contents
from snapengine.removal import Family
from snapengine.spans import Spans
from snapengine.store import Store


class _Removal(NamedTuple):
    """The steps of a removal in one volume, and what it frees, which is below zero where it only costs."""

    steps: list[Step]
    freed: int


def deletion(
    opened: Store, snapshots: tuple[str, ...], descendants: bool, direction: Direction, wait: float
) -> Preview:
    """
    Return what a delete of these snapshots would do; raises what that would raise before it does anything.

    bytes are the guest's data that move; the rest is as for revert.
    """
    found: list[_Removal] = []
    failed: dict[str, errors.Error] = {}
    for directory, own in delete.by_volume(opened, snapshots).items():
        with lock.shared(directory.parent, "preview a delete", wait):
            contents = records.contents(directory)
            doomed, protected = delete.selected(opened, contents, own, descendants)
            failed |= protected
            purged = delete.purged_with(contents, doomed) if descendants else set()
            if doomed:  # else they are gone already, and an unfinished delete may be in the way of a look at the images
                found.append(_removed(opened, contents, doomed, purged, direction))
    if failed and not any(each.steps for each in found):
        raise next(iter(failed.values()))
    stays = tuple(delete.failure(uuid, e) for uuid, e in failed.items())
    return msgspec.structs.replace(_whole(found), stays=stays)


def group_deletion(opened: Store, uuid: str, direction: Direction, wait: float) -> Preview:
    """Return what a delete of a group's snapshots would do; the rest is as for deletion."""
    record = roster.read(opened.root, uuid)
    group.require_not_in_trash(opened, record)
    return deletion(opened, group.left(opened, record), False, direction, wait)


def undoing(opened: Store, volume: str, wait: float) -> Preview:
    """Return what an undo on the volume would do; the rest is as for deletion."""
    directory = store.find_volume(opened.root, volume)
    with lock.shared(directory.parent, "preview an undo", wait):
        contents = records.contents(directory)
        return _whole([_removed(opened, contents, {undo.undoable(opened, contents)}, set(), "auto")])


def _whole(removals: list[_Removal]) -> Preview:
    """Return the preview of the removals in several volumes."""
    listed = tuple(step for found in removals for step in found.steps)
    freed = sum(found.freed for found in removals)
    return Preview(plan=listed, bytes=sum(step.bytes for step in listed), frees=max(freed, 0))


def _removed(
    opened: Store, contents: Contents, doomed: set[str], purged: set[str], direction: Direction
) -> _Removal:
    """Return the steps of a removal and what it frees; raises InUse for a VM in whose way it would be."""
    found: list[Step] = []
    taken: dict[chain.Layer, list[Spans]] = {}
    work = Held(opened, contents.directory, contents.volume, hold.place(opened, contents.directory, "preview"))
    with hold.seen(work):
        family = steps.family(contents)
        for step in removal.steps(family, doomed, purged):
            chosen = choice.chosen(opened, contents.directory, family, step, direction)
            found += _steps(family, chosen, contents)
            for layer, spans in _taken(chosen):
                taken.setdefault(layer, []).append(spans)
            family = removal.applied(family, step, work.place.operation, work.place.now)
    kept = sum(sizes.kept(layer, each, shared=opened.record.reflinks) for layer, each in taken.items())
    gone = (Path(step.image) for step in found if step.verb in ("delete", "purge"))
    return _Removal(found, sum(map(_allocated, gone)) - kept)


def _steps(family: Family, chosen: Choice, contents: Contents) -> Iterator[Step]:
    if chosen.join is not None and chosen.cost is not None:
        onto = str(chosen.join.below[0].path) if chosen.join.below else None
        yield Step(verb=chosen.cost.way, image=str(chosen.join.child.path), onto=onto, bytes=chosen.cost.bytes)
    for uuid in chosen.step.drop:
        path = contents.directory / step_plan.image_of(family, uuid)
        yield Step(verb="purge" if uuid in family.trash else "delete", image=str(path), bytes=0)


def _taken(chosen: Choice) -> Iterator[tuple[chain.Layer, Spans]]:
    """Give what the image that moves takes in of each layer that it stands on no longer."""
    if chosen.join is not None:
        yield from zip(chosen.join.run, sizes.taken_in(chosen.join.child, chosen.join.run), strict=True)


def _allocated(path: Path) -> int:
    try:
        return units.allocated(path.lstat())
    except FileNotFoundError:
        return 0
