"""Bring a foreign image in as a volume: inspected first, then copied whole into a qcow2 image of our own."""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, cast, get_args

from snapengine import (
    arguments,
    chain,
    driver,
    duplicate,
    durable,
    errors,
    foreign,
    imagelock,
    inspector,
    qcow2,
    volume,
)
from snapengine.checks import Expected
from snapengine.command import Progress
from snapengine.driver import Format
from snapengine.inventory import Volume
from snapengine.store import Store

_TICK = 0.02  # seconds
MAX_LAYERS = 512  # of a foreign chain; each is an open descriptor and a node of qemu-img's


class Layer(NamedTuple):
    """One image of a foreign chain, open as fd, called file; stamp tells which one it is and when it was changed."""

    fd: int
    stamp: tuple[int, ...]
    file: Path

    @property
    def path(self) -> Path:
        """Return the path by which a tool opens the very file that was inspected."""
        return Path(f"/dev/fd/{self.fd}")

    def is_unchanged(self) -> bool:
        """Tell whether nobody has changed the file since it was opened."""
        return _stamp(os.fstat(self.fd)) == self.stamp


class Source(NamedTuple):
    """
    A foreign image that is open and inspected: the format of its top image, and its layers, top first.

    What lies under the top is qcow2, but for a raw base.
    """

    format: Format
    layers: tuple[Layer, ...]
    raw_base: bool = False

    @property
    def paths(self) -> tuple[Path, ...]:
        """Return the paths that a tool is given."""
        return tuple(layer.path for layer in self.layers)


def import_volume(
    opened: Store, file: Path, request: volume.Request, fmt: Format | None, move: bool, progress: Progress | None
) -> Volume:
    """
    Make a volume of what a guest sees of file, a raw, qcow2, vmdk, vdi, vhdx or vpc image.

    fmt None detects the format by its magic; a file without a known magic is raw, and one with a magic is raw only
    when fmt says so. A qcow2 image with a backing chain is flattened. The tool gets the very files that were
    inspected, by their descriptors, and no name out of a header. The source is left as it is; with move its top image
    is removed after the volume is there and durable.

    Crash table as for volume.create; with move, a crash between the commit and the removal leaves the source too.
    Raises Refused for a bad image, InUse while a VM has it open, Invalid, NotFound, NoSpace; then nothing is there.
    """
    request = volume.checked(request)
    if move:
        check_movable(opened, file)
    with open_source(file, fmt) as source:
        size = arguments.size(sound_size(source, file))
        duplicate.require_room(opened, source.paths, source.format)

        def fill(image: Path) -> None:
            duplicate.make(opened, source.paths, image, source.format, progress)
            if not all(layer.is_unchanged() for layer in source.layers):
                raise errors.Busy(what=f"{file} was written to while it was imported; nothing was taken over")

        made = volume.appear(opened, request, "import volume", fill, size)
    if move:
        remove(source.layers[0])
    return made


def remove(layer: Layer) -> None:
    """Remove a source of a volume that is there now, if its name still means the file that was imported."""
    if _stamp(os.lstat(layer.file)) != layer.stamp:
        raise errors.Conflict(what=f"the volume is there, but {layer.file} is another file by now; it was left alone")
    durable.unlink(layer.file)
    durable.sync_directory(layer.file.parent)


def sound_size(source: Source, file: Path) -> int:
    """
    Return the size in bytes that a guest sees; Refused where qemu-img finds the image damaged.

    What a cut-off image has lost would be copied as zeros, and qemu-img would call that a success.
    """
    top, *below = source.paths[:-1] if source.raw_base else source.paths
    try:
        size = driver.virtual_size(top, source.format)
        found = [driver.check(top, source.format), *map(driver.check, below)]
    except errors.CommandFailed as e:
        if e.status != 1:  # not the image's fault: the tool is missing or was killed
            raise
        said = "; ".join(line.rpartition("': ")[2] for line in e.stderr.splitlines())
        raise errors.Refused(path=file, why=f"qemu-img can't read it: {said}", check="damaged") from e
    wrong = sum(check.corruptions + check.check_errors for check in found)
    if wrong:
        raise errors.Refused(path=file, why=f"qemu-img found {wrong} errors in it; was it cut off?", check="damaged")
    return size


def check_movable(opened: Store, file: Path) -> None:
    """Refuse to move what can't be removed afterwards, and above all an image of the store itself."""
    if Path(os.path.realpath(file)).is_relative_to(opened.root):
        raise errors.Invalid(what=f"{file} lies in the primary storage; import it without --move")
    if file.parent.is_dir() and not os.access(file.parent, os.W_OK | os.X_OK):
        raise errors.Denied(what=f"can't remove {file} from its directory; run as its owner, or without --move")


@contextmanager
def open_source(file: Path, fmt: Format | None, *, raw_base: bool = False) -> Iterator[Source]:
    """
    Give file and all that it stands on, open and inspected; no VM can write to any of it during the block.

    With raw_base a qcow2 image may stand on a raw one, where its header says so and that bears no image's magic.
    """
    with ExitStack() as stack:
        top = _open(file, stack)
        found = fmt or _detect(top.fd, file)
        layers = _chain(top, file, stack, raw_base) if found == "qcow2" else [top]
        if found not in ("qcow2", fmt if fmt == "raw" else None):
            foreign.inspect(top.fd, file, found)
        yield Source(found, tuple(layers), len(layers) > 1 and _stands_on_raw(layers[-2]))


def _open(file: Path, stack: ExitStack) -> Layer:
    """Return file as an open layer, closed with stack; until then no VM can write to the image."""
    try:
        fd = inspector.open_image(file)
    except FileNotFoundError as e:
        raise errors.NotFound(kind="image", name=str(file), hint="give the path of an existing file") from e
    stack.callback(os.close, fd)
    stack.enter_context(imagelock.reading(fd, file))
    if time.time_ns() - os.fstat(fd).st_ctime_ns < _TICK * 10**9:
        time.sleep(_TICK)  # a change within the same tick of the file system's clock would leave no trace
    return Layer(fd, _stamp(os.fstat(fd)), file)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return which file this is and when it was last changed; its owner can set back mtime, but not ctime."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _detect(fd: int, file: Path) -> Format:
    """Return the format whose magic file bears; raw is what bears none."""
    if os.fstat(fd).st_size == 0:
        raise errors.Refused(path=file, why="it is empty", check="format")
    found = foreign.looks_like(fd) or "raw"
    for known in get_args(Format):
        if found == known:
            return cast(Format, known)
    raise errors.Refused(path=file, why=f"{found} images can't be imported; convert it to qcow2 first", check="format")


def _stands_on_raw(layer: Layer) -> bool:
    return qcow2.read_header(layer.fd, path=layer.file).backing_format == "raw"


def _chain(top: Layer, file: Path, stack: ExitStack, raw_base: bool) -> list[Layer]:
    """Return a qcow2 image and all that it stands on, each inspected before the next is opened."""
    layers = [top]
    at = file
    while (name := _backing(layers[-1], raw_base)) is not None:
        above, at = at, at.with_name(name)
        if not os.path.lexists(at):
            raise errors.Refused(path=above, why=f"its backing file {at} is missing", check="backing-missing")
        below = _open(at, stack)
        if below.stamp in (layer.stamp for layer in layers) or len(layers) == MAX_LAYERS:
            why = "its chain of backing files is too deep or runs in a circle"
            raise errors.Refused(path=at, why=why, check="chain-loop")
        layers.append(below)
        if _stands_on_raw(layers[-2]):
            foreign.inspect(below.fd, at, "raw")
            break
    return layers


def _backing(layer: Layer, raw_base: bool) -> str | None:
    """Return the bare name of what an inspected image stands on; an absolute name may lead to its own directory."""
    fd, path = layer.fd, layer.file
    name = qcow2.read_header(fd, path=path).backing_name
    inside = name is not None and os.path.isabs(name) and os.path.dirname(name) == str(path.parent)
    expected = Expected(
        backing=name if inside else None,
        any_backing=not inside,
        backing_format="raw" if raw_base and _stands_on_raw(layer) else "qcow2",
        allow_version_2=True,
        max_size=arguments.MAX_SIZE,
    )
    found = chain.opened(fd, path, expected).backing
    return os.path.basename(found) if found else None
