"""snapengine volume clone and flatten: what copies a chain whole."""

import click

from snapengine.cli import options, progress, session, settings, show, text


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
