"""Where an export may go: the file, whole under its name or not there at all, or the block device."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from snapengine import attributes, durable, errors, imagelock, inside, inspector, layout, lock
from snapengine.conversion import Format
from snapengine.store import Store

_PREFIX = "snapengine-export"
_NO_TARGETS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}


class Wanted(NamedTuple):
    """
    What a caller may say of an export; format None is qcow2 for a file and raw for a block device.

    With checksum a file is read once more for it; a block device has none, since more may lie behind what was written.
    """

    file: Path
    format: Format | None = None
    compress: bool = False
    force: bool = False
    checksum: bool = True


def checked(opened: Store, target: Path, wanted: Wanted) -> int | None:
    """Return the mode of what has the target's name, None when nothing has; refuse what can't be written to."""
    if inside.holds(opened.root, target):
        raise errors.Invalid(what=f"{wanted.file} lies in the primary storage; give a path outside of it")
    if not os.path.isdir(target.parent):
        raise errors.NotFound(kind="directory", name=str(target.parent), hint="make it first, or give another path")
    try:
        mode = os.lstat(target).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and (kind := _NO_TARGETS.get(stat.S_IFMT(mode))):
        raise errors.Invalid(what=f"{wanted.file} is {kind}; give a file, a block device, or - for the standard output")
    if wanted.compress and format_of(mode, wanted) == "raw":
        raise errors.Invalid(what="a raw image can't be compressed; give --format qcow2, or compress what it became")
    if mode is not None and stat.S_ISBLK(mode) and wanted.format == "qcow2":
        raise errors.Invalid(what=f"{wanted.file} is a block device, which takes --format raw only")
    if mode is not None and not wanted.force:
        raise errors.Conflict(what=f"{wanted.file} is there already; give --force to replace what it holds")
    return mode


def format_of(mode: int | None, wanted: Wanted) -> Format:
    """Return the format of what will be written over something of this mode, None for a new file."""
    device = mode is not None and stat.S_ISBLK(mode)
    return wanted.format or ("raw" if device else "qcow2")


@contextmanager
def beside(target: Path) -> Iterator[tuple[int, Path]]:
    """
    Give a new file beside target, open and by its name; unless it has another name by then, it goes with the block.

    It is locked, also by the tools that inherit it: so it is known for one that a killed export left.
    """
    _tidy(target.parent)
    new = target.with_name(layout.new(_PREFIX, uuid.uuid4().hex))
    fd = None
    try:  # around the making too: a Ctrl-C may come just behind it
        fd = lock.made(new, 0o666)
        yield fd, new
    finally:
        durable.unlink(new)
        if fd is not None:
            lock.release(fd)


def _tidy(directory: Path) -> None:
    """Remove what killed exports left in directory, as far as we may."""
    for name in os.listdir(directory):
        if name.startswith(f".{_PREFIX}.") and layout.is_new(name):
            with suppress(OSError, errors.Error):
                fd = inspector.open_image(directory / name)
                try:
                    if lock.try_flock(fd):
                        durable.unlink(directory / name)
                finally:  # with its lock, which one that is just made waits for
                    os.close(fd)


def give_name(new: Path, target: Path, wanted: Wanted) -> None:
    """Rename new to target; one that it replaces gives it owner and mode, and is no image that a VM uses."""
    with suppress(FileNotFoundError):
        old = inspector.open_image(target)
        try:
            if not wanted.force:
                raise errors.Conflict(what=f"{wanted.file} was made meanwhile; give --force to replace it")
            if imagelock.is_used(old):
                raise errors.Busy(what=f"{wanted.file} is open in {imagelock.holder(old)}; give another path")
            attributes.copy(old, new)
        finally:
            os.close(old)
    durable.rename(new, target)
    durable.sync_directory(target.parent)


def open_device(device: Path) -> int:
    """Return a descriptor, which the caller closes, of a block device that nothing has mounted; Busy where one has."""
    try:
        return os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as e:
        if e.errno != errno.EBUSY:
            raise
        raise errors.Busy(what=f"{device} is in use: it is mounted, or part of another device; release it first") from e
