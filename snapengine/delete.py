"""
Delete snapshots: what stands on them takes in what it would miss, then they go.

Each step is an operation of its own and leaves a whole store: all that stays reads the same. Where several images
stand on a snapshot, each moves by its own step, and a failure leaves those that have moved where they are.
"""

from collections.abc import Iterator
from pathlib import Path

from snapengine import called, clones, errors, hold, layout, records, removal, standing, steps, store, tree
from snapengine.cost import Direction
from snapengine.hold import Held
from snapengine.inventory import Struct, VolumeRecord
from snapengine.printed import Progress
from snapengine.records import Contents
from snapengine.store import Store


class Fault(Struct, frozen=True, kw_only=True):
    """Why one snapshot of several was not deleted, as the contract tells errors."""

    code: str
    description: str
    details: str


class Deleted(Struct, frozen=True, kw_only=True):
    """What became of one snapshot (contract, section 3, batch delete)."""

    snapshot_uuid: str
    success: bool
    error: Fault | None = None


def delete(
    opened: Store, snapshots: tuple[str, ...], descendants: bool, direction: Direction, wait: float,
    progress: Progress | None = None,
) -> tuple[Deleted, ...]:  # fmt: skip
    """
    Delete snapshots, with descendants also all that were made after them; what the volumes hold now stays.

        a step by             its commit point                 a crash before it      after it
        clone                 THE RENAME over the child        removes the new image  finishes
        pull, rebase          THE HEADER of the child          gives back leaks       proves it, then finishes
        commit, nothing moves THE RENAME of V's record         all as it was          finishes: commits again

    In each of them the records are prepared before it and take their names after it; what goes is removed last.
    direction says how images are joined; auto takes the cheapest way, and one that can be stopped where it can. Those
    of one volume are one plan. One that linked clones stand on, or that an error stops, fails in its result; those of
    other volumes count all the same, and so does what was done before a lack of room: all else that is in the way of a
    step is found before the first one. One that is gone meanwhile is no error. With descendants, trash items that stand
    on them go too.

    Raises NotFound for an unknown one before anything is done. Raises the first error where nothing could be deleted:
    Conflict for a protected one or a direction that can't be, InUse while a VM has a volume or a linked clone of it,
    Locked, Corrupt, NoSpace.
    """
    found: dict[str, Deleted] = {}
    failed: list[errors.Error] = []
    for directory, own in by_volume(opened, snapshots).items():
        try:
            with hold.volume(opened, directory, "delete snapshots", wait) as work:
                done, protected = _delete(work, own, descendants, direction, progress)
                found |= done
                failed += protected
        except errors.Error as e:
            failed.append(e)
            found |= {uuid: failure(uuid, e) for uuid in own}
    if failed and not any(result.success for result in found.values()):
        raise failed[0]
    return tuple(found[uuid] for uuid in dict.fromkeys(snapshots))


def by_volume(opened: Store, snapshots: tuple[str, ...]) -> dict[Path, list[str]]:
    """Return snapshots, each once, by the directories of their volumes; NotFound for an unknown one."""
    found: dict[Path, list[str]] = {}
    for uuid in dict.fromkeys(snapshots):
        found.setdefault(store.find_snapshot(opened.root, uuid), []).append(uuid)
    return found


def _delete(
    work: Held, wanted: list[str], descendants: bool, direction: Direction, progress: Progress | None
) -> tuple[dict[str, Deleted], list[errors.Error]]:
    """Delete those of wanted that may go; returns the results, and the errors of those that may not."""
    contents = records.contents(work.directory)
    doomed, failed = selected(work.store, contents, wanted, descendants)
    purged = purged_with(contents, doomed) if descendants else set()
    result = {uuid: Deleted(snapshot_uuid=uuid, success=True) for uuid in wanted}
    result |= {uuid: failure(uuid, e) for uuid, e in failed.items()}
    try:
        todo = removal.steps(steps.family(contents), doomed, purged)
        steps.take_all(work, todo, direction, progress)
    except errors.Error as e:
        there = records.contents(work.directory).snapshots
        left = [uuid for uuid in wanted if uuid in there and uuid in doomed]
        if not left or len(left) == len(wanted):
            raise
        result |= {uuid: failure(uuid, e) for uuid in left}
    return result, [*failed.values()]


def selected(
    opened: Store, contents: Contents, wanted: list[str], descendants: bool
) -> tuple[set[str], dict[str, errors.Error]]:
    """
    Return the snapshots that will go, and why those of wanted stay that may not.

    Linked clones stand on these, or images of which no record says so: they would lose what lies under them.
    """
    protected: dict[str, list[VolumeRecord]] = {}
    for clone in clones.of(opened.root, contents.volume.uuid):
        _, base = layout.base_of(clone.base or "") or ("", "")
        protected.setdefault(base, []).append(clone)
    found: set[str] = set()
    failed: dict[str, errors.Error] = {}
    strange = standing.strangers(opened.root, contents)
    for uuid in wanted:
        own = {uuid, *(_above(contents, uuid) if descendants else ())} & set(contents.snapshots)
        if bases := sorted(own & set(protected)):
            failed[uuid] = _protected(contents, uuid, bases[0], protected[bases[0]])
        elif under := sorted(own & set(strange)):
            failed[uuid] = standing.unknown(contents, under[0], strange[under[0]])
        else:
            found |= own
    return found, failed


def _protected(contents: Contents, uuid: str, base: str, on: list[VolumeRecord]) -> errors.Protected:
    """Return why a snapshot stays: linked clones stand on base, which is itself or would go with it."""
    here, under = (called.snapshot(contents.volume, contents.snapshots[each]) for each in (uuid, base))
    where = "it" if base == uuid else f"snapshot {under}, which stands on it,"
    return clones.protected(f"snapshot {here}", on, where)


def _above(contents: Contents, uuid: str) -> Iterator[str]:
    """Give all snapshots that stand on one, directly or not."""
    below = tree.children(contents.snapshots.values())
    todo = [*below.get(uuid, ())]
    while todo:
        at = todo.pop()
        yield at
        todo += below.get(at, ())


def purged_with(contents: Contents, doomed: set[str]) -> set[str]:
    """Return the trash items that stand on the snapshots doomed."""
    return {uuid for uuid, item in contents.trash.items() if item.snapshot_uuid in doomed}


def failure(uuid: str, e: errors.Error) -> Deleted:
    """Return the result of a snapshot that an error keeps from being deleted; its details leave the snapshot out."""
    details = e.why if isinstance(e, errors.Protected) else str(e)
    fault = Fault(code=e.code, description=e.description, details=details)
    return Deleted(snapshot_uuid=uuid, success=False, error=fault)
