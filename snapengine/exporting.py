"""Export: what a snapshot froze, whole and standing on nothing, to a file, a block device or a stream."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from snapengine import (
    attributes,
    chain,
    conversion,
    driver,
    durable,
    errors,
    hold,
    imagelock,
    inside,
    inspector,
    layout,
    lock,
    ownership,
    records,
    store,
    units,
)
from snapengine.conversion import Format
from snapengine.inventory import Struct
from snapengine.printed import Progress
from snapengine.store import Store

WINDOW = 64 * units.MIB  # of a stream: what is held in memory at once
_PREFIX = "snapengine-export"
_NO_TARGETS = {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device"}


class Exported(Struct, frozen=True, kw_only=True):
    """Where an export went; size is its bytes, of a device or stream those written; only a file has a checksum."""

    path: str
    size: int
    checksum: str | None = None


class Wanted(NamedTuple):
    """What a caller may say of an export; format None is qcow2 for a file and raw for a block device."""

    file: Path
    format: Format | None = None
    compress: bool = False
    force: bool = False


def export(opened: Store, snapshot: str, wanted: Wanted, wait: float, progress: Progress | None) -> Exported:
    """
    Write what a guest saw when the snapshot was made to a file, or over the start of a block device.

        step                                        a crash after it leaves
        `.snapengine-export.<op>.new` beside FILE   it; the next export into that directory removes it
        all of it written and synced                the same
        THE RENAME to FILE; directory synced        FILE, whole

    The store is only read, under the volume's lock, which others who read share. A block device is written in place,
    which can't be undone; what lies behind the virtual size stays. Raises Conflict where FILE is there without force,
    Invalid for what can't be written to, NoSpace, Busy, NotFound, Locked; then FILE is as it was.
    """
    target = Path(os.path.realpath(ownership.unplanted(wanted.file)))
    mode = _check_target(opened, target, wanted)
    with _layers(opened, snapshot, wait) as layers:
        if mode is not None and stat.S_ISBLK(mode):
            size = _to_device(layers, target, progress)
        else:
            size = _to_file(opened, layers, target, wanted, progress)
    return Exported(path=str(wanted.file), size=size)


def stream(opened: Store, snapshot: str, out: BinaryIO, wait: float, progress: Progress | None) -> Exported:
    """
    Write what a guest saw when the snapshot was made to out, raw; holds WINDOW bytes in memory.

    What out raises passes as it is. Other errors as for export.
    """
    with _layers(opened, snapshot, wait) as layers:
        size = layers[0].header.size
        window = os.memfd_create("snapengine-export")
        try:
            os.set_inheritable(window, True)
            for start in range(0, size, WINDOW):
                length = min(WINDOW, size - start)
                os.ftruncate(window, length)
                driver.extract(_paths(layers), start, length, Path(f"/dev/fd/{window}"))
                _pass_on(window, length, out)
                if progress:
                    progress((start + length) / size)
        finally:
            os.close(window)
        out.flush()
    return Exported(path="-", size=size)


def _pass_on(window: int, length: int, out: BinaryIO) -> None:
    for at in range(0, length, units.MIB):
        wanted = min(units.MIB, length - at)
        piece = os.pread(window, wanted, at)
        if len(piece) != wanted:
            raise errors.CommandFailed(command="qemu-img convert", status=0, stderr="it wrote less than it was told to")
        out.write(piece)


@contextmanager
def _layers(opened: Store, snapshot: str, wait: float) -> Iterator[tuple[chain.Layer, ...]]:
    """Give the inspected images that a Ready snapshot consists of, which nobody changes during the block."""
    directory = store.find_snapshot(opened.root, snapshot)
    with hold.looking(directory, "export snapshot", wait):
        records.require_ready(records.shown_snapshot(directory, snapshot), "exported")
        yield chain.read(directory, layout.image(snapshot))


def _paths(layers: tuple[chain.Layer, ...]) -> list[Path]:
    return [layer.path for layer in layers]


def _check_target(opened: Store, target: Path, wanted: Wanted) -> int | None:
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
    if wanted.compress and _format(mode, wanted) == "raw":
        raise errors.Invalid(what="a raw image can't be compressed; give --format qcow2, or compress what it became")
    if mode is not None and stat.S_ISBLK(mode) and wanted.format == "qcow2":
        raise errors.Invalid(what=f"{wanted.file} is a block device, which takes --format raw only")
    if mode is not None and not wanted.force:
        raise errors.Conflict(what=f"{wanted.file} is there already; give --force to replace what it holds")
    return mode


def _format(mode: int | None, wanted: Wanted) -> Format:
    device = mode is not None and stat.S_ISBLK(mode)
    return wanted.format or ("raw" if device else "qcow2")


def _to_file(
    opened: Store, layers: tuple[chain.Layer, ...], target: Path, wanted: Wanted, progress: Progress | None
) -> int:
    same = os.stat(opened.root).st_dev == os.stat(target.parent).st_dev
    share = not wanted.compress and opened.record.reflinks and same
    fmt = _format(None, wanted)
    durable.require_room(target.parent, _required(layers, fmt, share))
    with _beside(target) as (fd, new):
        to = Path(f"/dev/fd/{fd}")
        conversion.export(_paths(layers), to, fmt, compress=wanted.compress, share=share, progress=progress)
        if fmt == "qcow2" and (found := driver.check(to)) != driver.Check():
            raise errors.CommandFailed(command="qemu-img convert", status=0, stderr=f"the copy is bad: {found}")
        durable.sync_file(new)
        size = os.fstat(fd).st_size
        _give_name(new, target, wanted)
    return size


def _required(layers: tuple[chain.Layer, ...], fmt: Format, share: bool) -> int:
    """Return the bytes that the file will take at most; a raw one has holes, and no tables."""
    tables = driver.tables_of(layers[0].header.size)
    if share:
        return tables
    whole = driver.required(_paths(layers), "qcow2")
    return max(whole - tables, 0) if fmt == "raw" else whole


def _give_name(new: Path, target: Path, wanted: Wanted) -> None:
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


@contextmanager
def _beside(target: Path) -> Iterator[tuple[int, Path]]:
    """
    Give a new file beside target, open and by its name; unless it has another name by then, it goes with the block.

    It is locked, also by the tools that inherit it: so it is known for one that a killed export left.
    """
    _tidy(target.parent)
    new = target.with_name(layout.new(_PREFIX, uuid.uuid4().hex))
    fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    try:
        lock.hold(fd)
        yield fd, new
    finally:
        durable.unlink(new)
        lock.release(fd)


def _tidy(directory: Path) -> None:
    """Remove what killed exports left in directory, as far as we may."""
    for name in os.listdir(directory):
        if name.startswith(f".{_PREFIX}.") and layout.is_new(name):
            with suppress(OSError, errors.Error):
                fd = inspector.open_image(directory / name)
                if lock.try_flock(fd):
                    durable.unlink(directory / name)
                os.close(fd)


def _to_device(layers: tuple[chain.Layer, ...], device: Path, progress: Progress | None) -> int:
    """Write over the start of a block device that nobody else has open; returns the bytes written."""
    size, fd = layers[0].header.size, _open_device(device)
    try:
        if imagelock.openers(fd):
            raise errors.Busy(what=f"{device} is open in {imagelock.holder(fd)}; close it there first")
        room = os.lseek(fd, 0, os.SEEK_END)
        if room < size:
            need, there = units.format_size(size), units.format_size(room)
            raise errors.NoSpace(what=f"{device} has {there}, the snapshot needs {need}; give a larger device")
        os.set_inheritable(fd, True)
        conversion.overwrite(_paths(layers), Path(f"/dev/fd/{fd}"), progress)
        durable.sync_file(Path(f"/dev/fd/{fd}"))
        return size
    finally:
        os.close(fd)


def _open_device(device: Path) -> int:
    try:
        return os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as e:
        if e.errno != errno.EBUSY:
            raise
        raise errors.Busy(what=f"{device} is in use: it is mounted, or part of another device; release it first") from e
