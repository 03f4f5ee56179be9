"""snapengine volume resize, delete, recover, expunge: what becomes of a whole volume."""

from typing import TYPE_CHECKING

import click

from snapengine.cli import complete, options, session, settings, show, text

if TYPE_CHECKING:
    import snapengine

_deleted = click.argument(
    "volume",
    help="The deleted volume: its uuid, the start of it, or its name.",
    shell_complete=complete.deleted_volumes,
)


@click.command(cls=settings.Verb)
@options.volume
@click.argument("size", type=settings.SIZE, help="Its new size: bytes, or 512M, 10G, 1T. Rounded up to 512.")
def resize(volume: str, size: int) -> None:
    """
    Let a volume grow.

    What is new reads zero. Snapshots keep the size that they froze; a revert to one takes the volume back to that too.

    \b
    snapengine volume resize db 40G
    """
    engine = session.engine()
    show.volume(engine, engine.resize_volume(engine.find_volume(volume), size))


@click.command(cls=settings.Verb)
@click.argument(
    "volumes",
    nargs=-1,
    required=True,
    metavar="VOLUME...",
    help="The volumes: uuids, starts of them, or names.",
    shell_complete=complete.volumes,
)
@options.confirmed
def delete(volumes: tuple[str, ...], yes: bool, dry_run: bool) -> None:
    """
    Delete volumes: all of them or none.

    A deleted volume keeps its files, its snapshots too, until it is expunged; `volume recover` brings it back. One that
    is attached to a VM, or whose snapshots have linked clones, is refused.
    """
    engine = session.engine(recover=not dry_run)
    found = tuple(engine.find_volume(volume) for volume in volumes)
    preview = engine.preview_delete_volumes(found)
    if dry_run:
        show.plan(engine, preview)
        return
    told = ", ".join(_told(engine, uuid) for uuid in dict.fromkeys(found))
    session.confirm(f"to be deleted: {told}; 'snapengine volume recover' brings a deleted volume back", yes)
    engine.delete_volumes(found)
    show.nothing()


def _told(engine: "snapengine.Engine", uuid: str) -> str:
    """Return a volume with what is at stake: its snapshots, and what its images take."""
    volume, snapshots = engine.get_volume(uuid), engine.list_snapshots(uuid)
    size = text.value("size", volume.actual_size + sum(snapshot.size for snapshot in snapshots))
    return f"volume '{volume.name}' with {text.counted(len(snapshots), 'snapshot')}, {size}"


@click.command(cls=settings.Verb)
@_deleted
def recover(volume: str) -> None:
    """Bring a deleted volume back, with all its snapshots."""
    engine = session.engine()
    show.one(engine.recover_volume(engine.find_deleted_volume(volume)))


@click.command(cls=settings.Verb)
@_deleted
@options.confirmed
def expunge(volume: str, yes: bool, dry_run: bool) -> None:
    """
    Remove a deleted volume for good, with all its snapshots.

    `trash purge` does so with several, by age or size.
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_deleted_volume(volume)
    preview = engine.preview_expunge(found)
    if dry_run:
        show.plan(engine, preview)
        return
    called = next((each.name for each in engine.list_volumes(deleted=True) if each.uuid == found), found)
    size = text.value("frees", preview.frees)
    session.confirm(f"deleted volume '{called}', {size}, will be gone for good", yes)
    engine.expunge_volume(found)
    show.nothing()
