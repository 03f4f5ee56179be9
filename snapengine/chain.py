"""
What the qcow2 headers say: an image and what stands under it, each layer inspected before the next name is followed.

All layers of a volume lie in its directory and name each other by bare names. Only a linked clone's lowest ones name
the volume's base, which its record keeps: there the chain goes on in another volume's directory. Nothing else is
followed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from snapengine import arguments, checks, errors, inspector, layout, qcow2, records, tables, units
from snapengine.checks import Expected
from snapengine.qcow2 import Header
from snapengine.tables import Bitmap

_NAMING = {"backing-path", "backing-format-missing", "backing-format-twice", "backing-format", "backing-name"}
MAX_DEPTH = 10_000  # of a chain that is read; what the engine makes is bounded by the depth limit


class Layer(NamedTuple):
    """One image of a chain; allocated is in bytes, modified in nanoseconds."""

    path: Path
    header: Header
    inode: int
    modified: int
    allocated: int

    @property
    def uuid(self) -> str | None:
        """Return the uuid that the layer's file is named by; None for an active image under a live name."""
        return layout.uuid_of(self.path.name)

    @property
    def backing(self) -> str | None:
        """Return the name of the image under this one: a bare one, or that of its volume's base."""
        return self.header.backing_name


class Pattern(NamedTuple):
    """An open file whose owner, mode, ACL and label a new image gets."""

    fd: int


def layer(path: Path, expected: Expected | None = None) -> Layer:
    """Return the inspected image at path; Refused for a bad one, Corrupt where there is no file."""
    fd = open_layer(path)
    try:
        return opened(fd, path, expected)
    finally:
        os.close(fd)


def open_layer(path: Path) -> int:
    """Return a read-only descriptor of the image at path, which the caller closes; Corrupt where there is no file."""
    try:
        return inspector.open_image(path)
    except FileNotFoundError as e:
        raise errors.Corrupt(what=f"image {path} is missing") from e


def opened(fd: int, path: Path, expected: Expected | None = None) -> Layer:
    """Return the inspected image that is open as fd; by default it may stand on any bare name, or its volume's base."""
    header = inspector.inspect(fd, path, expected or _own(base(path.parent)))
    stat = os.fstat(fd)
    return Layer(path, header, stat.st_ino, stat.st_mtime_ns, units.allocated(stat))


def bitmaps(path: Path) -> tuple[Bitmap, ...]:
    """Return the dirty bitmaps that count of an image, as it is now: a tool that wrote to it may have moved them."""
    fd = open_layer(path)
    try:
        return tables.kept_bitmaps(fd, opened(fd, path).header, path=path)
    finally:
        os.close(fd)


def base(directory: Path) -> str | None:
    """Return the name of the base of the volume in directory as its record says, None without base or record."""
    with suppress(errors.NotFound, errors.Corrupt):
        return records.stored_volume(directory).base
    return None


def backings(directory: Path) -> Iterator[tuple[str, str]]:
    """Give the names of the images in directory that stand on something, and on what, as far as they can be read."""
    for name in os.listdir(directory):
        with suppress(FileNotFoundError, errors.Refused):
            fd = inspector.open_image(directory / name)
            try:
                backing = qcow2.read_header(fd, path=directory / name).backing_name
            finally:
                os.close(fd)
            if backing is not None:
                yield name, backing


def under(directory: Path, name: str) -> Path:
    """Return the path of the image that one in directory calls name; Corrupt where that leads out of the store."""
    if layout.is_bare(name):
        return directory / name
    path = directory.parents[3] / layout.below_root(name)
    if os.path.realpath(path.parent) != str(path.parent):
        raise errors.Corrupt(what=f"{path.parent} leads over a symbolic link; a store's directories must be real ones")
    return path


def bases(directory: Path) -> list[Path]:
    """Return the directories of the volumes that the one in directory stands on: its base's, that one's base's."""
    found: list[Path] = []
    while (name := base(directory)) is not None and directory not in found[:-1]:
        directory = under(directory, name).parent
        found.append(directory)
    return found


@contextmanager
def advised(path: Path) -> Iterator[None]:
    """Raise that the image at path, which records know, is missing or bad with what the user can do about it."""
    try:
        yield
    except FileNotFoundError as e:
        raise errors.Corrupt(what=f"the image {path} is missing") from e
    except errors.Refused as e:
        why = f"{e.why}; run 'snapengine verify' to see what helps"
        raise errors.Refused(path=path, why=why, check=e.check) from e


def is_unchanged(before: Layer) -> bool:
    """Tell whether the file of an inspected layer still has its name, and was not written to since."""
    stat = os.stat(before.path, follow_symlinks=False)
    return (stat.st_ino, stat.st_mtime_ns) == (before.inode, before.modified)


def expected(backing: str | None) -> Expected:
    """Return what a layer must be that stands on the image named backing, or on none."""
    return Expected(backing=backing, max_size=arguments.MAX_SIZE)


def misnamed(fd: int, path: Path, name: str | None) -> Layer:
    """
    Return the open image, of which nothing is wrong but how it names its backing file: that must be name itself.

    An absolute path is that where it leads to name in a directory of this volume, of this store or of where it lay.
    Raises Refused for any other image.
    """
    status, header = os.fstat(fd), qcow2.read_header(fd, path=path)
    facts = checks.Facts(fd, status, header, expected(header.backing_name))
    wrong = [row for row in checks.CHECKS if row.name not in _NAMING and row.wrong(facts, header)]
    said = Path(header.backing_name or "")
    is_ours = said.is_absolute() and ".." not in said.parts and said.parts[-3:-1] == path.parts[-3:-1]
    if wrong or name is None or not layout.is_bare(name) or not (str(said) == name or (is_ours and said.name == name)):
        why = "it is not known for certain what it stood on" if not wrong else wrong[0].why
        raise errors.Refused(path=path, why=why, check="misnamed")
    return Layer(path, header, status.st_ino, status.st_mtime_ns, units.allocated(status))


def require_standing(path: Path, name: str | None) -> None:
    """Raise Refused unless the image at path stands on the one called name, however badly its header names that."""
    fd = open_layer(path)
    try:
        opened(fd, path, expected(name))
    except errors.Refused as e:
        if e.check not in _NAMING:
            raise
        misnamed(fd, path, name)
    finally:
        os.close(fd)


def stands_on(path: Path, name: str | None) -> bool:
    """Tell whether the header of the image at path names the one called name, and names it well; Refused for others."""
    try:
        layer(path, expected(name))
    except errors.Refused as e:
        if e.check not in _NAMING:
            raise
        return False
    return True


def read(directory: Path, name: str, *, across: bool = True) -> tuple[Layer, ...]:
    """
    Return the chain of the image called name in directory, top first, by its headers alone.

    It goes on across the volume's base, unless across is False; who reads there holds the locks of those volumes too.
    Raises Refused for a bad layer, Corrupt for a missing one or a circle.
    """
    layers: list[Layer] = []
    seen: set[int] = set()
    own = _own(base(directory))
    at = directory / name
    while True:
        if at.parent != directory:
            directory, own = at.parent, _own(base(at.parent))
        with advised(at):
            found = layer(at, own)
        if found.inode in seen or len(layers) >= MAX_DEPTH:
            raise errors.Refused(path=found.path, why="its chain of backing files runs in a circle", check="chain-loop")
        seen.add(found.inode)
        layers.append(found)
        if found.backing is None or not (across or layout.is_bare(found.backing)):
            break
        at = under(directory, found.backing)
    return tuple(layers)


def _own(base: str | None) -> Expected:
    """Return what an image may be of a volume that has this base."""
    return Expected(backing=base, any_backing=True, max_size=arguments.MAX_SIZE)
