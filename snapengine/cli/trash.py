"""snapengine trash: former active images and deleted volumes, kept until they are purged."""

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from snapengine.cli import complete, options, session, settings, show, text

if TYPE_CHECKING:
    from snapengine.inventory import TrashItem

_COLUMNS = ("uuid", "kind", "volume_uuid", "snapshot_uuid", "size", "create_date")


@click.group(cls=settings.Noun)
def trash() -> None:
    """List what was replaced or deleted, restore it, or purge it."""


@trash.command("list")
def list_() -> None:
    """
    List the trash, oldest first.

    Former active images, and deleted volumes as a whole; what such a volume had in the trash goes where it goes.
    """
    engine = session.engine()
    show.many(engine.list_trash(), _COLUMNS, functools.partial(session.volume_names, engine))


@trash.command()
@click.argument(
    "item",
    help="The trash item: its uuid or the start of it; a deleted volume's name too.",
    shell_complete=complete.trash_items,
)
@click.option(
    "--as-snapshot", is_flag=True, help="Make it a snapshot on the one it stands on; the volume stays as it is."
)
@click.option(
    "--name", metavar="NAME", help="What to call that snapshot. Default: restored- and the item's first characters."
)
def restore(item: str, as_snapshot: bool, name: str | None) -> None:
    """
    Make a trash item the active image again, or recover a deleted volume.

    The present active image goes to the trash.
    """
    if name is not None and not as_snapshot:
        raise click.UsageError("--name is for --as-snapshot: a volume keeps its name")
    engine = session.engine()
    found = engine.find_trash_item(item)
    if as_snapshot:
        show.one(engine.restore_trash_as_snapshot(found, f"restored-{found[:8]}" if name is None else name))
    else:
        engine.restore_trash(found)
        show.nothing()


@trash.command()
@click.argument(
    "items",
    nargs=-1,
    metavar="[ITEM]...",
    help="Trash items: uuids or the start of them. Default: all.",
    shell_complete=complete.trash_items,
)
@click.option(
    "--older-than",
    type=settings.AGE,
    metavar="TIME",
    help="Only what is older than 90s, 15m, 12h, 7d, 2w; a unit is needed.",
)
@click.option(
    "--down-to",
    type=settings.SIZE,
    metavar="SIZE",
    help="Only the oldest, until the trash takes SIZE or less: bytes, or 512M, 10G.",
)
@options.confirmed
def purge(items: tuple[str, ...], older_than: int | None, down_to: int | None, yes: bool, dry_run: bool) -> None:
    """
    Remove trash items for good, deleted volumes among them; shows what went.

    \b
    snapengine trash purge --older-than 7d --yes
    """
    engine = session.engine(recover=not dry_run)
    found = tuple(engine.find_trash_item(item) for item in items)
    chosen = engine.select_trash(found, older_than=older_than, down_to=down_to)
    if found and len(chosen) < len(set(found)):
        kept = ", ".join(sorted({*found} - {item.uuid for item in chosen}))
        click.echo(f"kept, since --older-than or --down-to leaves them out: {kept}", err=True)
    preview = engine.preview_purge(chosen)
    if dry_run:
        show.plan(engine, preview)
        return
    if not chosen and not show.in_json():
        show.line("nothing to purge")
        return
    names = session.volume_names(engine)  # asked before, as a volume that is purged has none afterwards
    if chosen:
        session.confirm(_question(chosen, names), yes)
    show.many(engine.purge_trash(chosen), _COLUMNS, lambda: names)


def _question(chosen: Sequence["TrashItem"], names: Mapping[str, str]) -> str:
    """Return what will go, as a question says it, the oldest items by the names of their volumes."""
    told = [_told(item, names.get(item.volume_uuid, item.volume_uuid)) for item in chosen[: text.NAMED]]
    size = text.value("size", sum(item.size for item in chosen))
    count = text.counted(len(chosen), "trash item")
    return f"{count}, {size}, will be gone for good: {text.first(told, len(chosen))}"


def _told(item: "TrashItem", volume: str) -> str:
    if item.kind == "Volume":
        return f"deleted volume '{volume}' with all its snapshots"
    return f"an image that volume '{volume}' had until {text.value('create_date', item.create_date)}"
