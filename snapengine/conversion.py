"""What qemu-img does for exports, for copies of one layer and for adopted images, beside what driver is asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from snapengine import command, driver, limits
from snapengine.printed import Progress
from snapengine.qcow2 import Header

Format = Literal["qcow2", "raw"]


def export(
    source: Sequence[Path], target: Path, fmt: Format, *, compress: bool, share: bool, progress: Progress | None
) -> None:
    """
    Copy what a guest sees of the qcow2 chain source (top image first) to the existing file target, which is emptied.

    compress makes clusters of a qcow2 target compressed. share lets both files share extents, where their file system
    can. Nothing is synced: the caller does that.
    """
    how = ("-c",) if compress else ("-C",) if share else ()
    args = (*how, "-W", "-m", "16", "-O", fmt, driver.chain(source), str(target))
    driver.run_convert(*args, bounds=limits.moving(source), progress=progress)


def overwrite(source: Sequence[Path], device: Path, progress: Progress | None) -> None:
    """Write what a guest sees of the qcow2 chain source (top image first) over the start of a block device."""
    node = f"driver=raw,file.driver=host_device,file.filename={device},file.locking=off"
    how = ("-n", "-t", "writeback", "-W", "--target-image-opts")
    driver.run_convert(*how, driver.chain(source), node, bounds=limits.moving(source), progress=progress)


def create_like(path: Path, header: Header) -> None:
    """Create an empty qcow2 image at path, an empty file, with the size, features and backing name of header."""
    on, off = ("on", "off")
    options = (
        f"compat=1.1,cluster_size={header.cluster_size},refcount_bits={1 << header.refcount_order}"
        f",extended_l2={on if header.extended_l2 else off},compression_type={header.compression}"
        f",lazy_refcounts={on if header.lazy_refcounts else off}"
    )
    layers = ("-F", "qcow2", "-b", header.backing_name) if header.backing_name else ()
    command.run("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-o", options, *layers, str(path), str(header.size))


def copy_layer(source: Sequence[Path], target: Sequence[Path], compress: bool, progress: Progress | None) -> None:
    """
    Copy what the top image of the chain source holds itself, with its sound bitmaps, to the empty top image of target.

    Both stand on the same images. What are zeros takes no room: over a backing file they become zero clusters, else
    they are left out. The data goes through the host's cache and is not synced: the caller does that.
    """
    over = ("-B", target[1].name) if target[1:] else ("--target-is-zero",)
    how = (*(("-c",) if compress else ()), "-n", *over, "--bitmaps", "--skip-broken-bitmaps", "-t", "writeback", "-W")
    args = (*how, "-O", "qcow2", driver.chain(source), driver.chain(target))
    driver.run_convert(*args, bounds=limits.moving(source), progress=progress)


def is_same(one: Sequence[Path], other: Sequence[Path]) -> bool:
    """Tell whether a guest sees the same on two qcow2 chains (top image first); read both through."""
    args, bounds = ("-q", driver.chain(one), driver.chain(other)), limits.comparing((*one, *other))
    done = command.run("qemu-img", "compare", *args, answers=(0, 1), timeout=None, bounds=bounds)
    return done.status == 0


def upgrade(path: Path) -> None:
    """Make a qcow2 image of version 2 one of version 3, in place; what it stands on stays closed."""
    command.run("qemu-img", "amend", "-q", "-o", "compat=1.1", driver.chain([path]), silent=True)
