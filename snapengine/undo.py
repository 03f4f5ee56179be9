"""Undo: take back the latest snapshot of a volume as if it had never been made."""

from snapengine import clones, errors, hold, records, removal, standing, steps, store, tree
from snapengine.printed import Progress
from snapengine.records import Contents
from snapengine.store import Store


def undo(opened: Store, volume: str, expected: str | None, wait: float, progress: Progress | None = None) -> None:
    """
    Take back the latest snapshot of a volume as if it had never been made; what the volume holds stays.

    Crash table as for delete. Raises Conflict where there is none, or another one than expected, if that is given, or
    something else stands on it, a linked clone too; InUse, NotFound, Locked, Corrupt; then nothing changed.
    """
    directory = store.find_volume(opened.root, volume)
    with hold.volume(opened, directory, "undo snapshot", wait) as work:
        contents = records.contents(directory)
        latest = undoable(opened, contents)
        if expected not in (None, latest):
            told = f"{latest} ({contents.snapshots[latest].name})"
            raise errors.Conflict(what=f"snapshot {expected} can't be undone: the volume's latest is {told}")
        steps.take_all(work, removal.steps(steps.family(contents), {latest}), "auto", progress)


def undoable(opened: Store, contents: Contents) -> str:
    """Return the snapshot that an undo would take back; Conflict where it can't be."""
    latest = tree.latest(contents.volume)
    if latest is None:
        which = f"volume {contents.volume.uuid} ({contents.volume.name})"
        raise errors.Conflict(what=f"{which} stands on no snapshot of its own; there is nothing to undo")
    told = f"snapshot {latest} ({contents.snapshots[latest].name})"
    on_it = [f"{s.name} ({s.uuid})" for s in contents.snapshots.values() if s.parent_uuid == latest]
    kept = [item.uuid for item in contents.trash.values() if item.snapshot_uuid == latest]
    if on_it or kept:
        others = ", ".join((*on_it, *(f"trash item {uuid}" for uuid in kept)))
        what = f"{told} can't be undone: {others} {'stands' if len(on_it + kept) == 1 else 'stand'} on it"
        way = f"'snapengine snapshot delete {latest}' removes it and keeps what they hold"
        raise errors.Conflict(what=f"{what}; {way}")
    if bases := clones.of(opened.root, contents.volume.uuid, latest):
        raise clones.protected(told, bases)
    if strange := standing.strangers(opened.root, contents).get(latest):
        raise standing.unknown(contents, latest, strange)
    return latest
