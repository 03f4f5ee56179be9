"""Arguments and options that several commands take."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from snapengine.cli import complete

if TYPE_CHECKING:
    from snapengine.inventory import VolumeType

Function = TypeVar("Function", bound=Callable[..., object])

volume = click.argument(
    "volume",
    help="The volume: its uuid, 4 or more characters that no other uuid begins with, or its name.",
    shell_complete=complete.volumes,
)

snapshot = click.argument(
    "snapshot",
    help="The snapshot: its uuid, the start of it, its name, or VOLUME/SNAPSHOT where several have that name.",
    shell_complete=complete.snapshots,
)

description = click.option("--description", metavar="TEXT", help="A description, up to 2048 characters.")

new_name = click.option("--name", metavar="NAME", help="The new name, 1 to 255 characters.")

uuid = click.option(
    "--uuid",
    metavar="UUID",
    help="The uuid to give it: 32 lower-case hex characters of a version 1 to 5 uuid. Default: a new one.",
)

kind = click.option(
    "--type",
    "kind",
    type=click.Choice(["root", "data"]),
    default="data",
    show_default=True,
    help="What the VM uses it as.",
)

account = click.option(
    "--account",
    metavar="ACCOUNT",
    default="admin",
    show_default=True,
    help="The name or uuid of the account that owns it.",
    shell_complete=complete.accounts,
)

tags = click.option("--tag", "tags", metavar="TAG", multiple=True, help="A system tag; may be given again.")

direction = click.option(
    "--direction",
    type=click.Choice(["auto", "pull", "commit"]),
    default="auto",
    show_default=True,
    help="How layers are merged: pull moves a snapshot's data up, commit moves down what stands on it.",
)

_dry_run = click.option(
    "--dry-run", is_flag=True, help="Show what would be done and how many bytes would move; change nothing."
)
_yes = click.option("-y", "--yes", is_flag=True, help="Go ahead without a question.")


def volumes(verb: str) -> Callable[[Function], Function]:
    """Return the argument of a verb on some volumes, or on all of the store."""
    return click.argument(
        "volumes",
        nargs=-1,
        metavar="[VOLUME]...",
        help=f"The volumes to {verb}. Default: the whole store.",
        shell_complete=complete.volumes,
    )


def type_of(kind: str) -> "VolumeType":
    """Return the type of volume that --type says."""
    return "Root" if kind == "root" else "Data"


def require(name: str | None, description: str | None) -> None:
    """Refuse an update that changes nothing."""
    if name is None and description is None:
        raise click.UsageError("nothing to change: give --name, --description or both")


def confirmed(function: Function) -> Function:
    """Take --yes and --dry-run, as commands do that throw something away."""
    return _yes(_dry_run(function))
