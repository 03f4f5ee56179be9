"""What concerns the primary storage as a whole: init, status, verify, config."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import click

import snapengine
from snapengine import errors
from snapengine.cli import options, progress, session, settings, show, text, wire

if TYPE_CHECKING:
    from snapengine.inventory import Setting

_UNFINISHED = ("operation", "verb", "volume_uuid", "started", "pid", "running")


@click.command(cls=settings.Verb)
@click.option(
    "--name", default="primary", show_default=True, metavar="NAME", help="What to call it, 1 to 255 characters."
)
@click.option(
    "--depth-limit",
    type=int,
    default=64,
    show_default=True,
    metavar="N",
    help="How many layers a chain may have before the next snapshot is a full one, 2 to 119.",
)
def init(name: str, depth_limit: int) -> None:
    """
    Make a primary storage in an empty or new directory.

    \b
    snapengine --root /srv/volumes init
    """
    show.one(snapengine.Engine.init(settings.current().root, name=name, depth_limit=depth_limit).storage)


@click.command(cls=settings.Verb)
def status() -> None:
    """
    Show the primary storage at a glance.

    Free and used room, volumes, snapshots, the deepest chain, the trash, and operations under way or cut off.
    """
    found = session.engine().status()
    show.one(found)
    if found.damaged and not show.in_json():
        click.echo("warning: there are damaged records; run 'snapengine verify' to see which", err=True)
    if found.unfinished and not show.in_json():
        show.line("")
        show.table([text.label(name) for name in _UNFINISHED], text.rows(found.unfinished, _UNFINISHED, {}))


@click.command(cls=settings.Verb)
@options.volumes("look at")
@click.option("--deep", is_flag=True, help="Run 'qemu-img check' on each image too, and compare checksums.")
@click.option("--rate", type=settings.SIZE, metavar="BYTES", help="Read at most so much a second, as 50M.")
def verify(volumes: tuple[str, ...], deep: bool, rate: int | None) -> None:
    """
    Compare the records with the images.

    Nothing is changed. For checksums ('snapshot checksum' makes them) images are read without a lock, so other work
    goes on.

    Exit code 0: all is well; 6: there are problems, each with what to do.
    """
    engine = session.engine(recover=False)
    found = tuple(engine.find_volume(volume) for volume in volumes)
    with progress.shown("checking", lambda: _taken(engine, found)) as report:
        problems = engine.verify(found, deep=deep, progress=report if deep else None, rate=rate)
    if show.in_json():
        show.raw(wire.document({"problems": problems}))
    else:
        show.line("\n".join(text.problem(problem) for problem in problems) or "no problems")
    if problems:
        raise click.exceptions.Exit(errors.Corrupt.exit_code)


def _taken(engine: "snapengine.Engine", volumes: Sequence[str]) -> int:
    """Return what the images take that are looked at, by the records that can be read."""
    if not volumes:
        return engine.status().used
    with suppress(errors.Error):
        sizes = [engine.get_volume(volume).actual_size for volume in volumes]
        return sum(sizes) + sum(snapshot.size for volume in volumes for snapshot in engine.list_snapshots(volume))
    return 0


@click.group(cls=settings.Noun)
def config() -> None:
    """Read and change what holds for the whole primary storage."""


@config.command("depth-limit")
@click.argument("number", type=int, required=False, metavar="[N]", help="The new limit, 2 to 119.")
def depth_limit(number: int | None) -> None:
    """
    Print or set the depth limit.

    It says how many layers a chain may have before the next snapshot is a full one. It holds at once, for all volumes
    without a limit of their own; see 'snapengine tag --help' for that.
    """
    engine = session.engine()
    storage = engine.storage if number is None else engine.set_depth_limit(number)
    show.number("maxIncrementalSnapshotNum", storage.max_incremental_snapshot_num)


@config.command()
@click.argument("setting", type=click.Choice(["on", "off", "auto"]), required=False, help="The new setting.")
def reflinks(setting: "Setting | None") -> None:
    """
    Print or set whether copies share extents.

    Where the file system can do that, on XFS and btrfs, a copy of an image takes neither time nor room. 'auto', which a
    store begins with, tests the file system; so does 'on', which fails where that can't be done.
    """
    engine = session.engine()
    storage = engine.storage if setting is None else engine.set_reflinks(setting)
    show.setting("reflinks", storage.reflinks, storage.reflinks_setting)


@config.command()
@click.argument("setting", required=False, metavar="[USER:GROUP]", help="The new owner, or 'default'.")
def owner(setting: str | None) -> None:
    """
    Print or set who owns the images of new volumes.

    'default' is whoever makes them. The group may read the records of those volumes too. An image that replaces
    another one, say after a snapshot or a revert, always has the owner, mode, ACL and label of that.

    \b
    snapengine config owner libvirt-qemu:kvm
    """
    engine = session.engine()
    show.word("imageOwner", (engine.storage if setting is None else engine.set_image_owner(setting)).image_owner)


@config.command()
@click.argument("setting", required=False, metavar="[MODE]", help="The new mode, octal, or 'default'.")
def mode(setting: str | None) -> None:
    """
    Print or set the mode of the images of new volumes.

    'default' is what the umask makes of 0644. See 'snapengine config owner --help' for images that replace others.

    \b
    snapengine config mode 0640
    """
    engine = session.engine()
    show.word("imageMode", (engine.storage if setting is None else engine.set_image_mode(setting)).image_mode)
