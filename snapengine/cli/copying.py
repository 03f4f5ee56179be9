"""snapengine volume clone, volume flatten and snapshot export: what copies a chain whole."""

import functools
import os
import stat
import sys
from typing import TYPE_CHECKING, cast

import click

from snapengine import units
from snapengine.cli import options, progress, session, settings, show, text

if TYPE_CHECKING:
    import snapengine
    from snapengine.conversion import Format


@click.command(cls=settings.Verb)
@options.snapshot
@click.argument("name", help="What to call the new volume, 1 to 255 characters.")
@click.option("--linked", is_flag=True, help="Stand on the snapshot's own file instead of copying it.")
@options.kind
def clone(snapshot: str, name: str, linked: bool, kind: str) -> None:
    """
    Make a new volume of what a snapshot froze.

    It belongs to the account of the snapshot's volume. A linked clone is there at once and takes no room; as long as
    it stands on the snapshot, that and its volume can't be deleted. `volume flatten` takes it off.

    \b
    snapengine volume clone db/before-upgrade db-test
    """
    engine = session.engine()
    found = engine.find_snapshot(snapshot)
    with progress.shown("copying", lambda: engine.snapshot_sizes(found).chain_size) as report:
        made = engine.clone_volume(found, name, options.type_of(kind), linked=linked, progress=report)
    show.one(made)


@click.command(cls=settings.Verb)
@options.volume
@options.confirmed
def flatten(volume: str, yes: bool, dry_run: bool) -> None:
    """
    Make a volume stand on nothing.

    All that its VM sees is copied into one image. The snapshots stay, but the volume stands on none of them any more;
    its present image goes to the trash unless it holds nothing of its own.

    \b
    snapengine volume flatten db-test
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_volume(volume)
    preview = engine.preview_flatten(found)
    if dry_run:
        show.plan(engine, preview)
        return
    name, moved = engine.get_volume(found).name, text.value("bytes", preview.bytes)
    if preview.plan:
        session.confirm(f"volume '{name}' will stand on none of its snapshots any more; up to {moved} are written", yes)
    with progress.shown("copying", lambda: preview.bytes) as report:
        flat = engine.flatten_volume(found, progress=report)
    show.volume(engine, flat)


@click.command(cls=settings.Verb)
@options.snapshot
@click.argument("file", type=click.Path(), help="A file, a block device, or - for raw on the standard output.")
@click.option(
    "--format",
    "fmt",
    type=click.Choice(["qcow2", "raw"]),
    help="The image's format. Default: qcow2 for a file, raw for a block device.",
)
@click.option("--compress", is_flag=True, help="Compress the data of a qcow2 image.")
@click.option("--force", is_flag=True, help="Replace FILE, or what a block device holds.")
@click.option("--no-checksum", is_flag=True, help="Do not read FILE once more for its sha256, as is done below 1 TiB.")
def export(snapshot: str, file: str, fmt: str | None, compress: bool, force: bool, no_checksum: bool) -> None:
    """
    Write what a snapshot froze to an image that stands on nothing.

    FILE appears when it is whole. A block device is written in place; what lies behind the snapshot's size stays. With
    - the data is the only answer: a regular file gets holes where the snapshot holds nothing, a pipe gets zeros.

    \b
    snapengine snapshot export db/before-upgrade /backup/db.qcow2 --compress
    snapengine snapshot export db/before-upgrade - | zstd > db.raw.zst
    """
    engine = session.engine()
    found = engine.find_snapshot(snapshot)
    with progress.shown("exporting", functools.partial(_moved, engine, found, file)) as report:
        if file == "-":
            _require_stream(fmt, compress)
            _warn_of_zeros(engine, found)
            engine.stream_snapshot(found, sys.stdout.buffer, progress=report)
            return
        made = engine.export_snapshot(
            found, file, cast("Format | None", fmt), compress=compress, force=force,
            checksum=not no_checksum, progress=report
        )  # fmt: skip
    if made.size >= units.HUGE and not no_checksum and os.path.isfile(file):
        click.echo(f"no checksum: to read all {text.value('bytes', made.size)} takes long; see sha256sum", err=True)
    show.one(made)


def _moved(engine: "snapengine.Engine", snapshot: str, file: str) -> int:
    """Return the bytes that an export moves: a stream has all of the disk, a file what the chain holds."""
    found = engine.snapshot_sizes(snapshot)
    return found.size if file == "-" else found.chain_size


def _require_stream(fmt: str | None, compress: bool) -> None:
    if fmt == "qcow2" or compress:
        raise click.UsageError("the standard output takes raw only, uncompressed: pipe it through a compressor")
    if sys.stdout is None or sys.stdout.isatty():
        raise click.UsageError("an image is nothing for a terminal: redirect the standard output, or give a file")


def _warn_of_zeros(engine: "snapengine.Engine", snapshot: str) -> None:
    """Say that a pipe gets a huge disk whole, where that may never end."""
    sizes = engine.snapshot_sizes(snapshot)
    if sizes.size >= units.HUGE and not stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode):
        size, held = text.value("bytes", sizes.size), text.value("bytes", sizes.chain_size)
        told = f"all {size} of the disk are written, zeros too; its images take {held}, and a file would get holes"
        click.echo(told, err=True)
