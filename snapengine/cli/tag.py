"""snapengine tag: words that volumes and snapshots carry."""

import click

from snapengine.cli import complete, session, settings, show

_COLUMNS = ("resource_uuid", "resource_type", "type", "tag")

_object = click.argument(
    "object",
    help="A volume or snapshot: uuid, the start of it, name, or VOLUME/SNAPSHOT.",
    shell_complete=complete.objects,
)


@click.group(cls=settings.Noun)
def tag() -> None:
    """
    List, add and remove tags of volumes and snapshots.

    The system tag volumeMaxIncrementalSnapshotNum::N of a volume is its own depth limit.
    """


@tag.command("list")
@click.argument(
    "object",
    required=False,
    help="The volume or snapshot whose tags to list. Default: all.",
    shell_complete=complete.objects,
)
def list_(object: str | None) -> None:
    """List the tags of a volume or snapshot, or all."""
    engine = session.engine()
    show.many(engine.list_tags(None if object is None else engine.find_object(object)), _COLUMNS)


@tag.command()
@_object
@click.argument("tag", help="The tag, 1 to 2048 characters.")
@click.option("--user", is_flag=True, help="Add a user tag. Default: a system tag.")
def add(object: str, tag: str, user: bool) -> None:
    """Add a tag; shows all that the object then has."""
    engine = session.engine()
    show.many(engine.add_tag(engine.find_object(object), tag, user=user), _COLUMNS)


@tag.command()
@_object
@click.argument("tag", help="The tag, of either kind.")
def remove(object: str, tag: str) -> None:
    """Remove a tag; shows all that the object then has."""
    engine = session.engine()
    show.many(engine.remove_tag(engine.find_object(object), tag), _COLUMNS)
