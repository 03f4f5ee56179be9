"""Foreign images to take in: opened, kept from VMs and inspected, with all that they stand on."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, cast, get_args

from snapengine import arguments, chain, custody, errors, foreign, imagelock, inspector, presence, qcow2, stamps
from snapengine.checks import Expected
from snapengine.driver import Format
from snapengine.stamps import Stamp
from snapengine.store import Store

_TICK = 0.02  # seconds
MAX_LAYERS = 512  # of a foreign chain; each is an open descriptor and a node of qemu-img's


class Layer(NamedTuple):
    """
    One image of a foreign chain, called file and open as original; fd is open on what is read: that, or a copy of it.

    stamp tells which file it is and when it was changed.
    """

    fd: int
    original: int
    stamp: Stamp
    file: Path

    @property
    def path(self) -> Path:
        """Return the path by which a tool opens the very file that was inspected."""
        return Path(f"/dev/fd/{self.fd}")

    def is_unchanged(self) -> bool:
        """Tell whether nobody has changed the file since it was opened."""
        return stamps.of(os.fstat(self.original)) == self.stamp

    def has_its_name(self) -> bool:
        """Tell whether its name still means the very file that was opened, unchanged."""
        return stamps.of(os.lstat(self.file)) == self.stamp


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

    @property
    def headed(self) -> tuple[Layer, ...]:
        """Return the layers but for a raw base, which has no header."""
        return self.layers[:-1] if self.raw_base else self.layers


@contextmanager
def open_source(opened: Store, file: Path, fmt: Format | None, *, raw_base: bool = False) -> Iterator[Source]:
    """
    Give file and all that it stands on, open and inspected; no VM can write to any of it during the block.

    Of an image whose header somebody else could still change a copy is given and inspected, which takes its room in
    the store for the block; not of raw ones, which have no header. With raw_base a qcow2 image may stand on a raw one,
    where its header says so and that bears no image's magic.
    """
    with ExitStack() as stack:
        top = _open(file, stack)
        if os.fstat(top.fd).st_size == 0:
            raise errors.Refused(path=file, why="it is empty; give an image with something in it", check="format")
        found = fmt or _detect(top.fd, file)
        layers = _chain(top, file, stack, raw_base) if found == "qcow2" else [top]
        if found not in ("qcow2", fmt if fmt == "raw" else None):
            foreign.inspect(top.fd, file, found)
        yield _secured(opened, Source(found, tuple(layers), len(layers) > 1 and _stands_on_raw(layers[-2])), stack)


def _secured(opened: Store, source: Source, stack: ExitStack) -> Source:
    """Return source, each image that a stranger can still write to replaced by a copy, and all that inspected anew."""
    risky = [layer.fd for layer in source.headed if source.format != "raw" and not custody.is_ours(layer.fd)]
    if not risky:
        return source
    copies = dict(zip(risky, custody.copies(opened, risky, stack)))
    layers = tuple(layer._replace(fd=copies.get(layer.fd, layer.fd)) for layer in source.layers)
    safe = source._replace(layers=layers)
    if safe.format != "qcow2":
        foreign.inspect(layers[0].fd, layers[0].file, safe.format)
    else:
        _inspect_again(safe)
    return safe


def _inspect_again(source: Source) -> None:
    """Raise Busy unless each qcow2 image stands on what it stood on when its chain was followed; Refused for bad."""
    for at, layer in enumerate(source.headed):
        below = source.layers[at + 1 : at + 2]
        on_raw = source.raw_base and below == source.layers[-1:]
        same = _backing(layer, source.raw_base) == (below[0].file.name if below else None)
        if not same or (below and _stands_on_raw(layer) != on_raw):
            raise errors.Busy(what=f"{layer.file} was written to while it was inspected; nothing was taken over")


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
    return Layer(fd, fd, stamps.of(os.fstat(fd)), file)


def _detect(fd: int, file: Path) -> Format:
    """Return the format whose magic file bears; raw is what bears none."""
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
        if not presence.is_there(at):
            raise errors.Refused(path=above, why=f"its backing file {at} is missing", check="backing-missing")
        below = _open(at, stack)
        if below.stamp in (layer.stamp for layer in layers) or len(layers) == MAX_LAYERS:
            why = "its chain of backing files is too deep or runs in a circle"
            raise errors.Refused(path=at, why=why, check="chain-loop")
        _check_readable(layers, below)
        layers.append(below)
        if _stands_on_raw(layers[-2]):
            foreign.inspect(below.fd, at, "raw")
            break
    return layers


def _check_readable(above: Sequence[Layer], below: Layer) -> None:
    """Refuse an image that an owner of one above it can't read: naming it in a header must not be a way to it."""
    status = os.fstat(below.fd)
    owners = {os.fstat(layer.original).st_uid: layer for layer in above}
    for user, layer in owners.items():
        if user != status.st_uid and not custody.could_read(user, status, below.file.parent):
            why = (
                f"it belongs to another user than {layer.file.name}, which stands on it and whose owner can't read it; "
                "give both the same owner, or let that one read it"
            )
            raise errors.Refused(path=below.file, why=why, check="owner")


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
