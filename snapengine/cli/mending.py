"""What puts a damaged primary storage right: repair and rebuild."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

import snapengine
from snapengine import errors
from snapengine.cli import options, session, settings, show, text, wire

if TYPE_CHECKING:
    from snapengine.inventory import Struct
    from snapengine.remaking import Made


@click.command(cls=settings.Verb)
@options.volumes("repair")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def repair(volumes: tuple[str, ...], dry_run: bool) -> None:
    """
    Put right what loses nothing.

    Looks as 'verify --deep' does; then records follow the images' headers, headers that name their backing file by an
    absolute path or without its format are mended in a copy, leaked clusters are given back, and what a verb that was
    cut off left half-made is removed. All else is left, with the reason.

    Exit code 0: all is well now; 6: something was left.
    """
    engine = session.engine(recover=not dry_run)
    done = engine.repair(tuple(engine.find_volume(volume) for volume in volumes), dry_run=dry_run)
    left = [f"{text.problem(each)}; it is left: {text.plain(each.why)}" for each in done.left]
    _show(done, [_made(each) for each in done.repaired], left, "no problems")


@click.command(cls=settings.Verb)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
def rebuild(dry_run: bool) -> None:
    """
    Make lost records again.

    From the images' headers, their notes, file names and directories alone; for all of the store, also where its own
    record is lost. What is sound and agrees with the headers stays as it is, images are only read. Says of each record
    where it was taken from, and what is gone for good.

    Exit code 0: all is back; 6: something could not be brought back, and is named.
    """
    said = settings.current()
    done = snapengine.Engine.rebuild(said.root, dry_run=dry_run, wait=said.wait)
    left = [text.problem(each) for each in done.left]
    _show(done, [_made(each) for each in done.rebuilt], left, "nothing to rebuild")


def _show(done: "Struct", lines: Sequence[str], left: Sequence[str], nothing: str) -> None:
    """Print what was done and what was left; exit as verify does where something was."""
    if show.in_json():
        show.raw(wire.document(done))
    else:
        told = [*lines, *(f"left: {each}" for each in left)]
        show.line("\n".join(told) or nothing)
    if left:
        raise click.exceptions.Exit(errors.Corrupt.exit_code)


def _made(each: "Made") -> str:
    return text.plain(f"{each.kind} {each.object}: {each.message}: {each.path}")
