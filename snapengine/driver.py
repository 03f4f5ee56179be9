"""
One thin function for each thing that qemu-img does for us. Formats are always named, no image is probed.

Images are named by absolute paths that the caller made or checked; an image that a tool may follow further is given
as a chain of such paths, so that no name out of a header is ever followed.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from snapengine import command, errors, limits
from snapengine.limits import Limits
from snapengine.printed import Progress

Format = Literal["raw", "qcow2", "vmdk", "vdi", "vhdx", "vpc"]
Repair = Literal["leaks", "all"]
How = Literal["share", "copy", "direct"]  # extents are shared, the kernel copies, or all goes around its page cache

_DEEPEST, _LONGEST = 900, 128 * 1024  # images in a chain; bytes of one argument (execve(2), MAX_ARG_STRLEN)
_HOW = {
    "share": ("-C", "-W", "-t", "writeback"),
    "copy": ("-C", "-t", "writeback"),  # out of order it would scatter the file: three times as slow on ext4
    "direct": ("-W", "-t", "none"),
}


class Check(msgspec.Struct, frozen=True):
    """What `qemu-img check` found in one image."""

    corruptions: int = 0
    leaks: int = 0
    check_errors: int = msgspec.field(default=0, name="check-errors")


class _Info(msgspec.Struct, frozen=True):
    virtual_size: int = msgspec.field(name="virtual-size")


class _Measure(msgspec.Struct, frozen=True):
    required: int
    full: int = msgspec.field(name="fully-allocated")


Answer = TypeVar("Answer", Check, _Info, _Measure)


def create(path: Path, size: int) -> None:
    """Create an empty standalone qcow2 image of size virtual bytes at path, which must be new."""
    command.run("qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size), silent=True)


def creating_overlay(path: Path, backing: str, size: int) -> AbstractContextManager[None]:
    """
    Create a qcow2 image at path over the image named backing in the same directory, while the block runs.

    size is the virtual size in bytes. The backing file is not opened: the caller has read its header, so the cost
    does not grow with the chain. path must be new; qemu-img would silently overwrite an image. The image is there
    when the block has ended.
    """
    layers = ("-f", "qcow2", "-F", "qcow2", "-b", backing)
    return command.running("qemu-img", "create", "-q", "-u", *layers, str(path), str(size))


def add_bitmap(path: Path, name: str, granularity: int) -> None:
    """Add an empty, recording dirty bitmap to the overlay at path; granularity in bytes, the backing stays closed."""
    args = ("--add", "--enable", "-g", str(granularity), chain([path]), name)
    command.run("qemu-img", "bitmap", *args, silent=True)


def switch_bitmap(path: Path, name: str, *, on: bool) -> None:
    """Let the dirty bitmap called name of the image at path record what is written, or not; the backing is closed."""
    command.run("qemu-img", "bitmap", "--enable" if on else "--disable", chain([path]), name, silent=True)


def convert(
    source: Sequence[Path], fmt: Format, target: Path, progress: Progress | None = None, shared: bool = False
) -> None:
    """
    Copy what a guest sees of the chain source (top image first) into a new standalone qcow2 image at target.

    fmt is the format of the top image; what lies under it is qcow2. With shared the file system copies, which lets
    both share their extents where it can; qemu-img reads what it can't, and looks for zeros in nothing else. The data
    goes through the host's cache and is not synced: the caller does that.
    """
    how = ("-C",) if shared else ()
    args = (*how, "-t", "writeback", "-W", "-O", "qcow2", chain(source, fmt), str(target))
    run_convert(*args, bounds=limits.moving(source), progress=progress)


def extract(source: Sequence[Path], start: int, length: int, target: Path) -> None:
    """
    Copy length bytes of the guest's disk from start on, as the qcow2 chain source holds them, to the raw file target.

    source begins with the top image; target is there already and has this length.
    """
    part = "json:" + json.dumps({"driver": "raw", "offset": start, "size": length, "file": _node(source)})
    args = ("-n", "-t", "writeback", "-O", "raw", part, str(target))
    run_convert(*args, bounds=limits.moving(source), progress=None)


def run_convert(*args: str, bounds: Limits, progress: Progress | None) -> None:
    """Run `qemu-img convert` with these arguments; what it says on stderr is an error."""
    shown = ("-p",) if progress else ()
    command.run("qemu-img", "convert", *shown, *args, timeout=None, bounds=bounds, progress=progress, silent=True)


def virtual_size(path: Path, fmt: Format) -> int:
    """Return the size in bytes that a guest sees of the image at path; what stands under it stays closed."""
    args = ("--output", "json", chain([path], fmt))
    return _decode(command.run("qemu-img", "info", *args, bounds=limits.READ_METADATA), _Info).virtual_size


def tables_of(size: int) -> int:
    """Return the bytes that the tables of a qcow2 image of size virtual bytes take at most."""
    args = ("--output", "json", "--size", str(size), "-O", "qcow2")
    return _decode(command.run("qemu-img", "measure", *args, bounds=limits.READ_METADATA), _Measure).full - size


def required(source: Sequence[Path], fmt: Format) -> int:
    """Return the bytes that a qcow2 copy of the chain source (top image first) will take at most."""
    args = ("--output", "json", "-O", "qcow2", chain(source, fmt))
    done = command.run("qemu-img", "measure", *args, timeout=None, bounds=limits.reading(source))
    return _decode(done, _Measure).required


def check(path: Path, fmt: Format = "qcow2") -> Check:
    """
    Check the metadata of one image, its backing file left closed, even while a VM uses it.

    Raises CommandFailed for an image that can't be opened; raw and vpc images have nothing to check.
    """
    if fmt in ("raw", "vpc"):
        return Check()
    args = ("--output", "json", "-U", chain([path], fmt))
    bounds = limits.reading([path])
    return _decode(command.run("qemu-img", "check", *args, answers=(0, 2, 3), timeout=None, bounds=bounds), Check)


def apply(layer: Sequence[Path], target: Sequence[Path], how: How) -> None:
    """
    Write the clusters that the top image of the chain layer has of its own onto the top image of the chain target.

    layer needs an image under its top one, or all of it would be taken for its own; target too, or zeros would not
    hide what it really stands on. Not synced: the caller does that.
    """
    args = ("-n", *_HOW[how], "-O", "qcow2", "-B", target[-1].name, chain(layer), chain(target))
    run_convert(*args, bounds=limits.moving(layer), progress=None)


def commit(path: Path, base: str, progress: Progress | None = None, *, direct: bool = False) -> None:
    """
    Write what the image at path and those under it hold into base, a backing name as a header has it; sizes grow.

    base is destroyed by that, the others are left as they are. Safe to do again after it was cut off. What was written
    is synced. The tool opens the chain by the names in the headers, which the caller has inspected, and all but the
    top image under QEMU's own locks: it knows its base by that name only. direct: around the host's page cache.
    """
    args = (*(("-t", "none") if direct else ()), "-b", base, _alone(path))
    _join("commit", *args, bounds=limits.moving(limits.beside(path)), progress=progress)


def pull(path: Path, backing: str | None, progress: Progress | None = None) -> None:
    """
    Let the image at path stand on backing, a bare name, or on nothing, after copying all that it would miss.

    Writes the header last, since all writes go through: by qemu-img's default the header goes first, and a kill loses
    data. The tool opens both chains by the names in their headers, which the caller has inspected.
    """
    args = ("-t", "writethrough", *_backing(backing), _alone(path))
    _join("rebase", *args, bounds=limits.moving(limits.beside(path)), progress=progress)


def _join(verb: str, *args: str, bounds: Limits, progress: Progress | None) -> None:
    """Run a verb of qemu-img's that moves data between layers."""
    shown = "-p" if progress else "-q"
    command.run("qemu-img", verb, shown, *args, timeout=None, bounds=bounds, progress=progress, silent=True)


def unsafe_rebase(path: Path, backing: str | None) -> None:
    """Write another backing name, or none, into the header of the image at path; what it then reads is up to you."""
    command.run("qemu-img", "rebase", "-q", "-u", *_backing(backing), chain([path]), silent=True)


def _backing(name: str | None) -> tuple[str, ...]:
    return ("-F", "qcow2", "-b", name) if name else ("-b", "")


def _alone(path: Path) -> str:
    """Return the name under which qemu-img opens an image and what its header names, itself unlocked."""
    return "json:" + json.dumps({"driver": "qcow2", "file": _file(path)})


def grow(source: Sequence[Path], size: int) -> None:
    """Give the top image of the chain source a virtual size of size bytes, more than it has; what is new reads zero."""
    command.run("qemu-img", "resize", "-q", chain(source), str(size), silent=True)


def merge_bitmap(source: Path, target: Path, name: str) -> None:
    """Add what is dirty in the bitmap called name of the image at source to the one of the image at target."""
    args = ("--merge", name, "-b", chain([source]), "-F", "qcow2", chain([target]), name)
    command.run("qemu-img", "bitmap", *args, silent=True)


def remove_bitmap(path: Path, name: str) -> None:
    """Remove a dirty bitmap from the image at path, also an inconsistent one; the backing stays closed."""
    command.run("qemu-img", "bitmap", "--remove", chain([path]), name, silent=True)


def repair(path: Path, what: Repair = "leaks") -> None:
    """Give back the clusters of the image at path that nothing refers to; all: count anew those that are, too."""
    args = ("-q", "-r", what, chain([path]))
    command.run("qemu-img", "check", *args, timeout=None, bounds=limits.moving([path]))


def chain(source: Sequence[Path], fmt: Format = "qcow2") -> str:
    """
    Return the name under which qemu-img opens exactly the images of source (top first) and nothing else.

    QEMU's own locks stay off: the caller holds them, or the image is a frozen one. Raises Refused where it is longer
    than an argument of a program can be.
    """
    if len(source) <= _DEEPEST and len(name := "json:" + json.dumps(_node(source, fmt))) < _LONGEST:
        return name
    why = f"its chain of {len(source)} images is too deep: no tool can be told all their names"
    raise errors.Refused(path=source[0], why=why, check="chain-deep")


def _node(source: Sequence[Path], fmt: Format = "qcow2") -> dict[str, object] | None:
    node: dict[str, object] | None = None
    for path in reversed(source):
        kind = fmt if path is source[0] else "qcow2"
        below = {"backing": node} if kind == "qcow2" else {}
        node = {"driver": kind, "file": _file(path), **below}
    return node


def _file(path: Path) -> dict[str, object]:
    return {"driver": "file", "filename": str(path), "locking": "off"}


def _decode(result: command.Result, kind: type[Answer]) -> Answer:
    try:
        return msgspec.json.decode(result.stdout, type=kind)
    except msgspec.DecodeError as e:
        raise errors.CommandFailed(command="qemu-img", status=result.status, stderr=result.stderr or str(e)) from e
