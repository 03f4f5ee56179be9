"""snapengine snapshot delete and undo: what takes snapshots away and leaves all else as it is."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import click

from snapengine import errors
from snapengine.cli import complete, options, progress, session, settings, show, text, wire

if TYPE_CHECKING:
    import snapengine
    from snapengine.cost import Direction
    from snapengine.delete import Deleted
    from snapengine.preview import Preview

_UNDO = "undo snapshot"  # as the journal says it
_FINAL = "; a commit is among the ways, which can't be stopped once it has begun"


@click.command(cls=settings.Verb)
@click.argument(
    "snapshots",
    nargs=-1,
    required=True,
    metavar="SNAPSHOT...",
    help="The snapshots: uuids, starts of them, names, or VOLUME/SNAPSHOT.",
    shell_complete=complete.snapshots,
)
@click.option(
    "--with-descendants",
    is_flag=True,
    help="Delete all that was made after them too, also in the trash; the volume stays.",
)
@options.direction
@options.confirmed
def delete(snapshots: tuple[str, ...], with_descendants: bool, direction: str, yes: bool, dry_run: bool) -> None:
    """
    Delete snapshots.

    What the volume and every other snapshot hold stays as it is: an image that stands on a deleted snapshot takes in
    what it needs of it. Several snapshots of one volume are one plan. One that linked clones stand on stays; the others
    go, and the exit code is 4.

    \b
    snapengine snapshot delete db/monday db/tuesday --dry-run
    """
    engine = session.engine(recover=False)
    found, ended = _found(engine, snapshots, recover=not dry_run)
    way = cast("Direction", direction)
    preview = engine.preview_delete(found, descendants=with_descendants, direction=way)
    tell_what_stays(engine, preview)
    if dry_run:
        show.plan(engine, preview)
        return
    if preview.plan:
        session.confirm(question(engine, preview), yes)
    with progress.shown("merging", lambda: preview.bytes) as report:
        done = engine.delete_snapshots(found, descendants=with_descendants, direction=way, progress=report)
    results(engine, done, preview, ended)


def _found(
    engine: "snapengine.Engine", snapshots: tuple[str, ...], recover: bool
) -> "tuple[tuple[str, ...], list[str]]":
    """
    Return the uuids of the snapshots to delete, and of those whose deletion a recovery has just finished.

    Who repeats a delete that was cut off may name what it was about: that goes on, whatever is left to do.
    """
    going = {text: engine.find_going(text) for text in snapshots}
    if recover:
        session.recover(engine)
    found: list[str] = []
    ended: list[str] = []
    for named in snapshots:
        try:
            found.append(engine.find_snapshot(named))
        except errors.NotFound:
            if (uuid := going[named]) is None:
                raise
            (found if _is_there(engine, uuid) else ended).append(uuid)
    return tuple(found), ended


def _is_there(engine: "snapengine.Engine", uuid: str) -> bool:
    """Tell whether a snapshot still has a record: a delete that could not be finished leaves it."""
    with suppress(errors.NotFound):
        return engine.find_snapshot(uuid) == uuid
    return False


def tell_what_stays(engine: "snapengine.Engine", preview: "Preview") -> None:
    """Tell people, on stderr and before anything is asked, which snapshots will stay, and why."""
    if not show.in_json():
        _tell(engine, preview.stays, "warning")


def results(
    engine: "snapengine.Engine", found: "Sequence[Deleted]", preview: "Preview", ended: Sequence[str] = ()
) -> None:
    """
    Print what became of each snapshot, in text only what went wrong, on stderr; exits where one failed.

    What the preview said before is not said again. ended are snapshots that a recovery has just deleted.
    """
    if show.in_json():
        gone = [{"snapshotUuid": uuid, "success": True} for uuid in ended]
        show.raw(wire.document({"results": [*gone, *found]}))
    else:
        told = {result.snapshot_uuid for result in preview.stays}
        _tell(engine, [result for result in found if result.snapshot_uuid not in told], "error")
    if any(result.error is not None for result in found):
        raise click.exceptions.Exit(errors.Conflict.exit_code)


def _tell(engine: "snapengine.Engine", found: "Sequence[Deleted]", what: str) -> None:
    for result in found:
        if result.error is not None:
            line = f"{what}: snapshot {_called(engine, result.snapshot_uuid)} stays: {result.error.details}"
            click.echo(text.plain(line), err=True)


def _called(engine: "snapengine.Engine", uuid: str) -> str:
    """Return a snapshot as VOLUME/SNAPSHOT; its uuid where that can't be read."""
    with suppress(errors.Error):
        snapshot = engine.get_snapshot(uuid)
        return f"'{engine.get_volume(snapshot.volume_uuid).name}/{snapshot.name}'"
    return uuid


def question(engine: "snapengine.Engine", preview: "Preview") -> str:
    """Return what will go and move, as a question says it, the first snapshots by their names."""
    gone = sum(step.verb == "delete" for step in preview.plan)
    purged = sum(step.verb == "purge" for step in preview.plan)
    what = text.counted(gone, "snapshot") + (f" and {text.counted(purged, 'trash item')}" if purged else "")
    moved, freed = text.value("bytes", preview.bytes), text.value("frees", preview.frees)
    final = _FINAL if any(step.verb == "commit" for step in preview.plan) else ""
    return f"{what} will be gone for good, {moved} move, up to {freed} are freed{final}: {_names(engine, preview)}"


def _names(engine: "snapengine.Engine", preview: "Preview") -> str:
    """Return the snapshots that a delete would remove, as VOLUME/SNAPSHOT; only the first of many."""
    gone = _gone(preview)
    return text.first([_called(engine, uuid) for uuid in gone[:text.NAMED]], len(gone))


def _gone(preview: "Preview") -> list[str]:
    """Return the uuids of the snapshots that a delete would remove."""
    return [step.image.rpartition("/")[2].removesuffix(".qcow2") for step in preview.plan if step.verb == "delete"]


@click.command(cls=settings.Verb)
@options.volume
@options.confirmed
def undo(volume: str, yes: bool, dry_run: bool) -> None:
    """
    Take back a volume's latest snapshot as if it had never been made.

    What the volume holds stays. Nothing else may stand on that snapshot. After a crash the same command finishes the
    undo that was cut off, and takes back nothing more.

    \b
    snapengine snapshot undo db
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_volume(volume)
    if any(r.verb == _UNDO and r.volume_uuid == found and r.is_finished for r in engine.recovered):
        show.volume(engine, engine.get_volume(found))
        return
    preview = engine.preview_undo(found)
    if dry_run:
        show.plan(engine, preview)
        return
    session.confirm(question(engine, preview), yes)
    with progress.shown("merging", lambda: preview.bytes) as report:
        engine.undo_snapshot(found, expected=_gone(preview)[0], progress=report)
    show.volume(engine, engine.get_volume(found))
