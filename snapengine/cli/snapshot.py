"""snapengine snapshot: what volumes held at a moment."""

import functools
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from snapengine import errors
from snapengine.cli import (
    comparing,
    complete,
    copying,
    forest,
    options,
    progress,
    removing,
    session,
    settings,
    show,
    text,
)

if TYPE_CHECKING:
    import snapengine

_COLUMNS = ("name", "uuid", "volume_uuid", "size", "latest", "create_date")


@click.group(cls=settings.Noun)
def snapshot() -> None:
    """Create snapshots of volumes, list them, go back to one, and delete them."""


@snapshot.command()
@options.volume
@click.argument("name", help="What to call it, 1 to 255 characters.")
@options.description
@options.uuid
@options.tags
@click.option("--user-tag", "user_tags", metavar="TAG", multiple=True, help="A user tag; may be given again.")
def create(
    volume: str, name: str, description: str | None, uuid: str | None, tags: tuple[str, ...], user_tags: tuple[str, ...]
) -> None:
    """
    Freeze a volume's present content as a snapshot.

    \b
    snapengine snapshot create db before-upgrade
    """
    engine = session.engine()
    found = engine.find_volume(volume)
    with progress.shown("copying", lambda: engine.get_volume(found).size) as report:
        made = engine.create_snapshot(
            found, name, description=description, uuid=uuid, system_tags=tags, user_tags=user_tags, progress=report
        )  # fmt: skip
    show.one(made)


@snapshot.command("list")
@click.argument(
    "volume", required=False, help="The volume whose snapshots to list. Default: all.", shell_complete=complete.volumes
)
def list_(volume: str | None) -> None:
    """List the snapshots of a volume, or all, oldest first."""
    engine = session.engine()
    found = engine.list_snapshots(None if volume is None else engine.find_volume(volume))
    grouped = ("group_uuid",) if any(snapshot.group_uuid for snapshot in found) else ()
    show.many(found, _COLUMNS + grouped, functools.partial(session.names, engine))


@snapshot.command("show")
@options.snapshot
def show_(snapshot: str) -> None:
    """Show all that is known of a snapshot."""
    engine = session.engine()
    found = engine.get_snapshot(engine.find_snapshot(snapshot))
    if show.in_json():
        show.one(found)
    else:
        show.line(text.fields(found, **_sizes(engine, found.uuid)))


def _sizes(engine: "snapengine.Engine", uuid: str) -> dict[str, int]:
    """Return more sizes of a snapshot; none where a bad image, or an operation at work, keeps them from being told."""
    with suppress(errors.Corrupt, errors.Busy):
        found = engine.snapshot_sizes(uuid, wait=0)
        more = {"virtual_size": found.size, "chain_size": found.chain_size}
        return {**more, "freed_if_deleted": found.freed_if_deleted}
    return {}


@snapshot.command()
@options.snapshot
def path(snapshot: str) -> None:
    """
    Print the path of a snapshot's image.

    Nobody may write to it.
    """
    engine = session.engine()
    show.path("primaryStorageInstallPath", engine.snapshot_path(engine.find_snapshot(snapshot)))


@snapshot.command()
@options.snapshot
@options.new_name
@options.description
def update(snapshot: str, name: str | None, description: str | None) -> None:
    """Change a snapshot's name or description."""
    options.require(name, description)
    engine = session.engine()
    show.one(engine.update_snapshot(engine.find_snapshot(snapshot), name=name, description=description))


@snapshot.command()
@options.volume
def tree(volume: str) -> None:
    """
    Draw a volume's snapshot trees.

    What was made one after the other goes straight down; where several stand on one snapshot they are indented below
    it. A tree's latest snapshot and the place where the volume stands are marked; a size is what that image alone
    takes on the disk, and the linked clones that stand on a snapshot are named after it.
    """
    engine = session.engine()
    found = engine.find_volume(volume)
    if show.in_json():
        show.raw(forest.document(engine.snapshot_trees(found)))
    else:
        _draw(engine, found)
    show.left_out()


def _draw(engine: "snapengine.Engine", volume: str) -> None:
    name, trees = engine.get_volume(volume).name, engine.snapshot_trees(volume)
    clones = session.clone_names(engine, volume)
    for found in trees:
        show.tree(forest.headline(found), forest.rows(found, name, clones))
    if not any(found.current for found in trees):
        show.line(f"* volume {text.plain(name)} stands on no snapshot")


@snapshot.command()
@options.snapshot
@options.confirmed
def revert(snapshot: str, yes: bool, dry_run: bool) -> None:
    """
    Take a volume back to what a snapshot froze.

    The volume's present image goes to the trash, from where `trash restore` brings it back, unless nothing was written
    to it. Later snapshots stay.

    \b
    snapengine snapshot revert db/before-upgrade
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_snapshot(snapshot)
    preview = engine.preview_revert(found)
    if dry_run:
        show.plan(engine, preview)
        return
    session.confirm(_question(engine, found, {step.verb for step in preview.plan}), yes)
    engine.revert(found)
    show.nothing()


def _question(engine: "snapengine.Engine", snapshot: str, verbs: set[str]) -> str:
    target = engine.get_snapshot(snapshot)
    volume = engine.get_volume(target.volume_uuid)
    size = text.value("size", volume.actual_size)
    goes = "its present image holds nothing of its own"
    if "trash" in verbs:
        goes = f"its present image, {size}, goes to the trash"
    elif "keep" in verbs:
        goes = f"its present image is damaged and is kept beside it, {size}"
    elif not os.path.lexists(volume.install_path):
        goes = "its present image is missing"
    return f"volume '{volume.name}' goes back to snapshot '{target.name}'; {goes}"


@snapshot.command()
@options.snapshot
def shrink(snapshot: str) -> None:
    """
    Give the file system back what a snapshot's image takes for zeros.

    Its content stays, and that of all that stands on it. A copy without the zeros takes the image's place, so there
    must be room for it; where nothing is gained, the image stays.

    \b
    snapengine snapshot shrink db/before-upgrade
    """
    engine = session.engine()
    found = engine.find_snapshot(snapshot)
    with progress.shown("shrinking", lambda: engine.get_snapshot(found).size) as report:
        done = engine.shrink_snapshot(found, progress=report)
    show.one(done)


snapshot.add_command(removing.delete)
snapshot.add_command(removing.undo)
snapshot.add_command(copying.export)
snapshot.add_command(comparing.diff)
snapshot.add_command(comparing.size)
snapshot.add_command(comparing.checksum)
