"""
The extents of images by their paths, remembered: a frozen image's tables are read once.

Threads may share it. What is remembered is bounded, and never that of a file that was touched a moment ago (stamps).
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from snapengine import chain, extents, inspector, stamps, tables
from snapengine.checks import Expected
from snapengine.extents import Extent
from snapengine.stamps import Stamp

MAX_REMEMBERED = 200_000  # extents, of all images together

_known: OrderedDict[Stamp, tuple[Extent, ...]] = OrderedDict()
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
    stamp = stamps.of(os.fstat(fd))
    with _lock:
        if stamp in _known:
            _known.move_to_end(stamp)
            return _known[stamp]
    found = extents.read(fd, inspector.inspect(fd, path, expected), path=path)
    if stamp == stamps.of(os.fstat(fd)) and stamps.is_settled(stamp):
        _remember(stamp, found)
    return found


def _remember(stamp: Stamp, found: tuple[Extent, ...]) -> None:
    with _lock:
        _known[stamp] = found
        while sum(map(len, _known.values())) > MAX_REMEMBERED:
            _known.popitem(last=False)
