"""Export: what a snapshot froze, whole and standing on nothing, to a file, a block device or a stream."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from snapengine import (
    chain,
    checksums,
    conversion,
    driver,
    durable,
    errors,
    extents,
    hold,
    imagelock,
    layout,
    maps,
    outlet,
    ownership,
    records,
    spans,
    standing,
    store,
    units,
)
from snapengine.conversion import Format
from snapengine.inventory import Struct
from snapengine.outlet import Wanted
from snapengine.printed import Progress
from snapengine.store import Store

WINDOW = 64 * units.MIB  # of a stream: what is held in memory at once
_ZEROS = bytes(units.MIB)


class Exported(Struct, frozen=True, kw_only=True):
    """
    Where an export went; size is its bytes, of a device or stream those written.

    Only a file has a checksum, and none of units.HUGE or more.
    """

    path: str
    size: int
    checksum: str | None = None


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
    mode = outlet.checked(opened, target, wanted)
    if mode is not None and stat.S_ISBLK(mode):
        with _layers(opened, snapshot, wait) as layers:
            return Exported(path=str(wanted.file), size=_to_device(layers, target, progress))
    with outlet.beside(target) as (fd, new):
        with _layers(opened, snapshot, wait) as layers:
            _to_file(opened, layers, new, fd, wanted, progress)
        size = os.fstat(fd).st_size
        found = checksums.digest(fd, None) if wanted.checksum and size < units.HUGE else None
        outlet.give_name(new, target, wanted)
    return Exported(path=str(wanted.file), size=size, checksum=found)


def stream(opened: Store, snapshot: str, out: BinaryIO, wait: float, progress: Progress | None) -> Exported:
    """
    Write what a guest saw when the snapshot was made to out, raw; holds WINDOW bytes in memory.

    Where the snapshot holds nothing, a regular file that is written at its end gets holes, anything else zeros. What
    out raises passes as it is. Other errors as for export.
    """
    with _layers(opened, snapshot, wait) as layers:
        size, at, has_holes = layers[0].header.size, 0, _has_holes(out)
        window = os.memfd_create("snapengine-export")
        try:
            os.set_inheritable(window, True)
            for start, end in (*_windows(layers), (size, size)):
                if has_holes:
                    out.seek(start - at, os.SEEK_CUR)
                else:
                    _write_zeros(out, at, start, size, progress)
                if end > start:
                    os.ftruncate(window, end - start)
                    driver.extract(_paths(layers), start, end - start, Path(f"/dev/fd/{window}"))
                    _pass_on(window, end - start, out)
                at = end
                if progress:
                    progress(at / size)
        finally:
            os.close(window)
        if has_holes:
            out.truncate()
        out.flush()
    return Exported(path="-", size=size)


def _has_holes(out: BinaryIO) -> bool:
    """Tell whether what is passed over in out reads as zeros: it is a regular file, written at its end."""
    try:
        fd = out.fileno()
    except OSError:  # no file at all
        return False
    status, flags = os.fstat(fd), fcntl.fcntl(fd, fcntl.F_GETFL)
    return stat.S_ISREG(status.st_mode) and not flags & os.O_APPEND and out.tell() == status.st_size


def _windows(layers: tuple[chain.Layer, ...]) -> Iterator[tuple[int, int]]:
    """Give the ranges of the disk, in order and WINDOW bytes long at most, outside of which no layer holds data."""
    size = layers[0].header.size
    held = spans.union(*(extents.covered(maps.of(layer), data_only=True) for layer in layers))
    for start, end in spans.rounded(held, WINDOW):
        for at in range(start, min(end, size), WINDOW):
            yield at, min(at + WINDOW, size)


def _write_zeros(out: BinaryIO, start: int, end: int, size: int, progress: Progress | None) -> None:
    for at in range(start, end, units.MIB):
        out.write(_ZEROS[: end - at])
        if progress:
            progress(at / size)


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
        layers = standing.recorded(opened.root, chain.read(directory, layout.image(snapshot)))
        maps.require_whole(layers)
        yield layers


def _paths(layers: tuple[chain.Layer, ...]) -> list[Path]:
    return [layer.path for layer in layers]


def _to_file(
    opened: Store, layers: tuple[chain.Layer, ...], new: Path, fd: int, wanted: Wanted, progress: Progress | None
) -> None:
    """Write what the layers hold to the new file that is open as fd, and sync it."""
    same = os.stat(opened.root).st_dev == os.fstat(fd).st_dev
    share = not wanted.compress and opened.record.reflinks and same
    fmt = outlet.format_of(None, wanted)
    durable.require_room(new.parent, _required(layers, fmt, share))
    to = Path(f"/dev/fd/{fd}")
    conversion.export(_paths(layers), to, fmt, compress=wanted.compress, share=share, progress=progress)
    if fmt == "qcow2" and (found := driver.check(to)) != driver.Check():
        raise errors.CommandFailed(command="qemu-img convert", status=0, stderr=f"the copy is bad: {found}")
    durable.sync_file(new)


def _required(layers: tuple[chain.Layer, ...], fmt: Format, share: bool) -> int:
    """Return the bytes that the file will take at most; a raw one has holes, and no tables."""
    tables = driver.tables_of(layers[0].header.size)
    if share:
        return tables
    whole = driver.required(_paths(layers), "qcow2")
    return max(whole - tables, 0) if fmt == "raw" else whole


def _to_device(layers: tuple[chain.Layer, ...], device: Path, progress: Progress | None) -> int:
    """Write over the start of a block device that nobody else has open; returns the bytes written."""
    size, fd = layers[0].header.size, outlet.open_device(device)
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
