"""
The extents of images by their paths, remembered: a frozen image's tables are read once.

Threads may share it. What is remembered is bounded, and never that of a file that was touched a moment ago: one that
is written to twice within a tick of the file system's clock would look the same as before.
"""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from snapengine import chain, extents, inspector, tables
from snapengine.checks import Expected
from snapengine.extents import Extent

MAX_REMEMBERED = 200_000  # extents, of all images together
SETTLED = 100_000_000  # nanoseconds, ten times the coarsest tick

_Key = tuple[int, int, int, int, int]
_known: OrderedDict[_Key, tuple[Extent, ...]] = OrderedDict()
_lock = threading.Lock()


def of(layer: chain.Layer) -> tuple[Extent, ...]:
    """Return the extents that the image of layer holds itself; it is inspected again. Raises as extents.read."""
    fd = chain.open_layer(layer.path)
    try:
        return opened(fd, layer.path, chain.expected(layer.backing))
    finally:
        os.close(fd)


def require_whole(layers: Iterable[chain.Layer]) -> None:
    """
    Raise Refused for an image whose tables name what its file does not hold: it was cut off, or lies.

    A tool would read the one as zeros, and write the other until the disk is full.
    """
    for layer in layers:
        of(layer)


def require_ends(layers: Iterable[chain.Layer]) -> None:
    """
    Raise Refused for an image that was cut off, as require_whole does, without reading the tables of one that was not.

    So it takes no time; what was cut off within its last cluster is not seen, nor what lies.
    """
    for layer in layers:
        fd = chain.open_layer(layer.path)
        try:
            if tables.is_cut_off(fd, layer.header, path=layer.path):
                opened(fd, layer.path, chain.expected(layer.backing))
        finally:
            os.close(fd)


def opened(fd: int, path: Path, expected: Expected) -> tuple[Extent, ...]:
    """Return the extents that the image open at fd holds itself; it is inspected unless it is remembered."""
    key = _key(fd)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    found = extents.read(fd, inspector.inspect(fd, path, expected), path=path)
    if key == _key(fd) and time.time_ns() - max(key[2:4]) > SETTLED:
        _remember(key, found)
    return found


def _key(fd: int) -> _Key:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def _remember(key: _Key, found: tuple[Extent, ...]) -> None:
    with _lock:
        _known[key] = found
        while sum(map(len, _known.values())) > MAX_REMEMBERED:
            _known.popitem(last=False)
