"""snapengine volume: the disks of VMs."""

import functools
import os
from typing import TYPE_CHECKING, cast

import click

from snapengine import units
from snapengine.cli import copying, fate, options, progress, session, settings, show

if TYPE_CHECKING:
    from snapengine.driver import Format

_COLUMNS = ("name", "uuid", "type", "size", "actual_size", "vm_instance_uuid", "create_date")
_CHAIN = ("uuid", "virtual_size", "allocated", "path")
_FORMATS = ["qcow2", "raw", "vmdk", "vdi", "vhdx", "vpc"]


@click.group(cls=settings.Noun)
def volume() -> None:
    """Create, import, clone, flatten, list and attach volumes."""


@volume.command()
@click.argument("name", help="What to call it, 1 to 255 characters.")
@click.option(
    "--size", type=settings.SIZE, required=True, help="Bytes, or 512M, 10G, 1T (powers of 1024). Rounded up to 512."
)
@options.kind
@options.account
@options.uuid
@options.description
@options.tags
def create(
    name: str, size: int, kind: str, account: str, uuid: str | None, description: str | None, tags: tuple[str, ...]
) -> None:
    """
    Create an empty volume.

    \b
    snapengine volume create db --size 20G --type root
    """
    engine = session.engine()
    made = engine.create_volume(
        name, size, options.type_of(kind), account=account, uuid=uuid, description=description, tags=tags
    )  # fmt: skip
    show.one(made)


@volume.command("import")
@click.argument(
    "file", type=click.Path(readable=False), help="The image; a qcow2 image with backing files comes in as one."
)
@click.option("--name", metavar="NAME", help="What to call it, 1 to 255 characters. Default: the file's name.")
@options.kind
@options.account
@click.option(
    "--format",
    "fmt",
    type=click.Choice(_FORMATS),
    help="The image's format. Default: what its first bytes say, else raw.",
)
@click.option("--chain", is_flag=True, help="Make a snapshot of each image that FILE stands on; qcow2 only.")
@click.option(
    "--move", is_flag=True, help="Remove FILE once the volume is there; what it stands on goes with --chain only."
)
@options.uuid
@options.description
@options.tags
def import_(
    file: str, name: str | None, kind: str, account: str, fmt: str | None, chain: bool, move: bool, uuid: str | None,
    description: str | None, tags: tuple[str, ...],
) -> None:  # fmt: skip
    """
    Make a volume of an image in any of six formats.

    Its content is copied; FILE is left alone unless --move is given. With --chain FILE becomes the volume's active
    image, and each image under it a snapshot, called as its file or as the inventory of ours beside it says.

    \b
    snapengine volume import debian.qcow2 --name web --type root
    """
    if chain and fmt not in (None, "qcow2"):
        raise click.UsageError("--chain takes qcow2 images only")
    engine = session.engine()
    with progress.shown("importing", functools.partial(_allocated, file)) as report:
        if chain:
            show.one(
                engine.import_chain(
                    file, name, options.type_of(kind), account=account, uuid=uuid, description=description, tags=tags,
                    move=move, progress=report,
                )
            )  # fmt: skip
            return
        made = engine.import_volume(
            file, name, options.type_of(kind), account=account, uuid=uuid, description=description, tags=tags,
            format=cast("Format | None", fmt), move=move, progress=report,
        )  # fmt: skip
    show.one(made)


def _allocated(file: str) -> int:
    """Return the bytes that are about to move; the engine is who complains of a file that is not there."""
    try:
        return units.allocated(os.stat(file))
    except OSError:
        return 0


@volume.command("list")
@click.option("--deleted", is_flag=True, help="List those that were deleted instead.")
def list_(deleted: bool) -> None:
    """List all volumes, by name."""
    engine = session.engine()
    show.many(engine.list_volumes(deleted=deleted), _COLUMNS, engine.vm_names)


@volume.command("show")
@options.volume
def show_(volume: str) -> None:
    """Show all that is known of a volume."""
    engine = session.engine()
    show.volume(engine, engine.get_volume(engine.find_volume(volume)))


@volume.command()
@options.volume
@options.new_name
@options.description
def update(volume: str, name: str | None, description: str | None) -> None:
    """Change a volume's name or description."""
    options.require(name, description)
    engine = session.engine()
    show.volume(engine, engine.update_volume(engine.find_volume(volume), name=name, description=description))


@volume.command()
@options.volume
def path(volume: str) -> None:
    """
    Print the path of a volume's active image: what its VM opens.

    \b
    qemu-system-x86_64 -drive file="$(snapengine volume path db)",format=qcow2
    """
    engine = session.engine()
    show.path("installPath", engine.volume_path(engine.find_volume(volume)))


@volume.command()
@options.volume
def chain(volume: str) -> None:
    """
    List the images that a volume consists of.

    The active image comes first; all is as the images' headers say.
    """
    engine = session.engine()
    show.many(engine.volume_chain(engine.find_volume(volume)), _CHAIN, key="chain")


@volume.command()
@options.volume
@click.argument("vm", help="The VM: its name or uuid.")
@click.option(
    "--qmp", metavar="SOCKET", type=click.Path(), help="The path of its QMP socket, to reach it while it runs."
)
@click.option("--libvirt", metavar="URI", help="The libvirt connection that knows it, qemu:///system for instance.")
def attach(volume: str, vm: str, qmp: str | None, libvirt: str | None) -> None:
    """
    Note that a VM uses a volume.

    How the VM can be reached while it runs is noted too, but not used yet: a volume whose VM runs is refused by
    every verb that changes its images.

    \b
    snapengine volume attach db web-1 --libvirt qemu:///system
    """
    engine = session.engine()
    show.volume(engine, engine.attach_volume(engine.find_volume(volume), vm, _channel(qmp, libvirt)))


def _channel(qmp: str | None, libvirt: str | None) -> str | None:
    if qmp is not None and libvirt is not None:
        raise click.UsageError("--qmp and --libvirt exclude each other: a VM is reached in one way")
    if qmp is not None:
        return f"qmp:{os.path.abspath(qmp)}"
    return None if libvirt is None else f"libvirt:{libvirt}"


@volume.command()
@options.volume
def detach(volume: str) -> None:
    """Note that no VM uses a volume any more."""
    engine = session.engine()
    show.one(engine.detach_volume(engine.find_volume(volume)))


volume.add_command(copying.clone)
volume.add_command(copying.flatten)
volume.add_command(fate.resize)
volume.add_command(fate.delete)
volume.add_command(fate.recover)
volume.add_command(fate.expunge)
