"""
What the qcow2 headers say: an image and what stands under it, each layer inspected before the next name is followed.

All layers of a volume lie in its directory and name each other by bare names; nothing else is followed.
"""

import os
from pathlib import Path
from typing import NamedTuple

from snapengine import arguments, errors, inspector, layout
from snapengine.checks import Expected
from snapengine.qcow2 import Header

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
        """Return the bare name of the image under this one."""
        return self.header.backing_name


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
    """Return the inspected image that is open as fd; by default it may stand on any bare name."""
    header = inspector.inspect(fd, path, expected or Expected(any_backing=True, max_size=arguments.MAX_SIZE))
    stat = os.fstat(fd)
    return Layer(path, header, stat.st_ino, stat.st_mtime_ns, stat.st_blocks * 512)


def is_unchanged(before: Layer) -> bool:
    """Tell whether the file of an inspected layer still has its name, and was not written to since."""
    stat = os.stat(before.path, follow_symlinks=False)
    return (stat.st_ino, stat.st_mtime_ns) == (before.inode, before.modified)


def expected(backing: str | None) -> Expected:
    """Return what a layer must be that stands on the image named backing, or on none."""
    return Expected(backing=backing, max_size=arguments.MAX_SIZE)


def read(directory: Path, name: str) -> tuple[Layer, ...]:
    """
    Return the chain of the image called name in directory, top first, by its headers alone.

    Raises Refused for a bad layer, Corrupt for a missing one or a circle.
    """
    layers: list[Layer] = []
    seen: set[int] = set()
    at: str | None = name
    while at is not None:
        found = layer(directory / at)
        if found.inode in seen or len(layers) >= MAX_DEPTH:
            raise errors.Refused(path=found.path, why="its chain of backing files runs in a circle", check="chain-loop")
        seen.add(found.inode)
        layers.append(found)
        at = found.backing
    return tuple(layers)
