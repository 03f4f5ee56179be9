"""snapengine snapshot diff and size: what the images' tables tell of snapshots."""

import functools
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from snapengine import errors
from snapengine.cli import complete, options, progress, session, settings, show, text

if TYPE_CHECKING:
    import snapengine
    from snapengine.checksums import Checksum


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
    with progress.shown("comparing", lambda: engine.diff_snapshots(first, second).bytes) as report:
        found = engine.diff_snapshots(first, second, exact=exact, progress=report)
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


@click.command(cls=settings.Verb)
@click.argument(
    "snapshots", nargs=-1, metavar="[SNAPSHOT]...", help="Default: all snapshots.", shell_complete=complete.snapshots
)
@click.option("--rate", type=settings.SIZE, metavar="BYTES", help="Read at most so much a second, as 50M.")
def checksum(snapshots: tuple[str, ...], rate: int | None) -> None:
    """
    Give frozen images a checksum.

    It is the sha256 of the image's file, kept in its record; one that has it already is only told. 'verify --deep'
    finds what changes since. The image is read without a lock, so other work goes on. A verb that rewrites the image
    (a delete that joins layers, shrink, repair) drops its checksum. What can't be read is told, and the others get
    theirs all the same.
    """
    engine = session.engine()
    found = [engine.find_snapshot(each) for each in snapshots] or [s.uuid for s in engine.list_snapshots()]
    made: list[Checksum] = []
    failed: list[errors.Error] = []
    for each in found:
        try:
            with progress.shown("reading", functools.partial(_size, engine, each)) as report:
                made.append(engine.checksum_snapshot(each, rate=rate, progress=report))
        except errors.Error as e:
            if snapshots or not isinstance(e, errors.NotFound):  # else it was deleted since all were listed
                failed.append(e)
    show.many(made, ("uuid", "checksum", "path"))
    for fault in failed[:-1] if not show.in_json() else ():
        click.echo(text.plain(f"error: {fault}"), err=True)
    if failed:
        raise failed[-1]


def _size(engine: "snapengine.Engine", snapshot: str) -> int:
    return engine.get_snapshot(snapshot).size
