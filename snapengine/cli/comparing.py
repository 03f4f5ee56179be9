"""snapengine snapshot diff and size: what the images' tables tell of snapshots."""

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from snapengine import errors
from snapengine.cli import complete, options, progress, session, settings, show, text

if TYPE_CHECKING:
    import snapengine


@click.command(cls=settings.Verb)
@options.snapshot
def size(snapshot: str) -> None:
    """
    Tell how much a snapshot takes.

    size is what a guest sees, allocated what its own file takes on the disk, chain size what that and all files under
    it take; freed if deleted is about what the disk gets back when this snapshot alone is deleted.
    """
    engine = session.engine()
    show.one(engine.snapshot_sizes(engine.find_snapshot(snapshot)))


@click.command(cls=settings.Verb)
@options.snapshot
@click.argument(
    "other", required=False, help="A later snapshot of the same volume. Default: the volume as it is now.",
    shell_complete=complete.snapshots,
)
@click.option("--exact", is_flag=True, help="Read these extents, and show only the sectors that really differ.")
def diff(snapshot: str, other: str | None, exact: bool) -> None:
    """
    Show where a later content may differ from a snapshot.

    Told from the images' tables, without reading data: no changed byte is missed, but the extents are as coarse as
    clusters. start and length are bytes; zero tells that the later content reads as zeros there.

    \b
    snapengine snapshot diff db/before-upgrade
    """
    engine = session.engine()
    first = engine.find_snapshot(snapshot)
    second = None if other is None else _later(engine, other)
    found = engine.diff_snapshots(first, second)
    if exact:
        with progress.shown("comparing", functools.partial(int, found.bytes)) as report:
            found = engine.diff_snapshots(first, second, exact=True, progress=report)
    if show.in_json():
        show.one(found)
        return
    if found.extents:
        show.many(found.extents, ("start", "length", "zero"))
    verb = "differ" if exact else "may differ"
    show.line(f"{text.value('bytes', found.bytes)} {verb}" if found.bytes else "nothing differs")


def _later(engine: "snapengine.Engine", other: str) -> str:
    try:
        return engine.find_snapshot(other)
    except errors.NotFound:
        with suppress(errors.Error):
            engine.find_volume(other)
            raise click.UsageError(f"{other!r} is a volume: leave OTHER out to compare with it as it is now") from None
        raise
