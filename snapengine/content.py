"""
Read what a guest sees of a chain, range by range, without a tool: for exact comparisons.

No name out of a header is opened: what is read are the descriptors of the images that were inspected.
"""

import os
import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from snapengine import chain, clusters, driver, errors, maps, units, visible
from snapengine.extents import Extent
from snapengine.visible import Piece

_WINDOW = -15  # raw deflate; QEMU's own window of 2^12 is read with any larger one
_ZLIB = 0  # a header's compression type
_STEP = 4 * units.MIB  # of compressed data that a tool unpacks at once


class _Open(NamedTuple):
    fd: int
    layer: chain.Layer


class Content:
    """What a guest sees of a chain that is open; size is in bytes. For one thread."""

    def __init__(self, layers: Sequence[_Open], found: Sequence[Piece], size: int) -> None:
        self.size = size
        self._layers = layers
        self._pieces = found
        self._ends = [piece.end for piece in found]

    def read(self, start: int, length: int) -> bytes:
        """
        Return length bytes of the guest's disk from start on; behind its end there are zeros.

        Raises Refused for a compressed cluster that can't be unpacked, and what the operating system says.
        """
        found = bytearray(length)
        for number in range(bisect_right(self._ends, start), len(self._pieces)):
            piece = self._pieces[number]
            if piece.start >= start + length:
                break
            first, end = max(piece.start, start), min(piece.end, start + length)
            data = self._part(piece, first, end)
            found[first - start : first - start + len(data)] = data
        return bytes(found)

    def _part(self, piece: Piece, start: int, end: int) -> bytes:
        """Return what piece holds in [start, end); less where the rest is zeros."""
        image = self._layers[piece.layer]
        if piece.kind == "compressed":
            return b"".join(_unpacked(image, start, end))
        if piece.host is None:
            return b""
        return os.pread(image.fd, end - start, piece.host + start - piece.start)


@contextmanager
def opened(layers: Sequence[chain.Layer]) -> Iterator[Content]:
    """
    Open a chain, top first as chain.read gives it, for the block.

    Every image is inspected again. Raises Refused, Corrupt, and Busy where a name means another file than before.
    The caller sees to it that nobody writes to the images: a snapshot's are frozen, of a volume it holds the lock.
    """
    size = layers[0].header.size
    with ExitStack() as stack:
        images = [_opened(layer, stack) for layer in layers]
        known = [visible.Layer(image.layer.header.size, _extents(image)) for image in images]
        yield Content(images, visible.pieces(known, size), size)


def _opened(layer: chain.Layer, stack: ExitStack) -> _Open:
    fd = chain.open_layer(layer.path)
    stack.callback(os.close, fd)
    if os.fstat(fd).st_ino != layer.inode:
        raise errors.Busy(what=f"{layer.path} was replaced a moment ago; try again")
    os.set_inheritable(fd, True)
    return _Open(fd, chain.opened(fd, layer.path, chain.expected(layer.backing)))


def _extents(image: _Open) -> Sequence[Extent]:
    return maps.opened(image.fd, image.layer.path, chain.expected(image.layer.backing))


def _unpacked(image: _Open, start: int, end: int) -> Iterator[bytes]:
    """Give what the compressed clusters of one image hold in [start, end)."""
    header = image.layer.header
    step = header.cluster_size if header.compression_type == _ZLIB else _STEP
    unpack = _inflated if header.compression_type == _ZLIB else _extracted
    at = start // header.cluster_size * header.cluster_size
    while at < end:
        data = unpack(image, at, min(step, header.size - at))
        yield data[max(start - at, 0) : end - at]
        at += step


def _inflated(image: _Open, start: int, length: int) -> bytes:
    """Return what the compressed cluster at start holds (specification: "deflate", raw)."""
    path, header = image.layer.path, image.layer.header
    place = clusters.stored(clusters.opened(image.fd, header, path), start)
    try:
        data = zlib.decompressobj(_WINDOW).decompress(os.pread(image.fd, place.length, place.host), header.cluster_size)
    except zlib.error as e:
        why = f"its compressed cluster at {start} can't be unpacked: {e}"
        raise errors.Refused(path=path, why=why, check="compressed-data") from e
    if len(data) != header.cluster_size:
        raise errors.Refused(path=path, why=f"its compressed cluster at {start} is cut off", check="compressed-data")
    return data[:length]


def _extracted(image: _Open, start: int, length: int) -> bytes:
    """Return length bytes from start on, unpacked by qemu-img; a method that Python's library lacks."""
    fd = os.memfd_create("snapengine", os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, length)
        os.set_inheritable(fd, True)
        driver.extract([Path(f"/dev/fd/{image.fd}")], start, length, Path(f"/dev/fd/{fd}"))
        return os.pread(fd, length, 0)
    finally:
        os.close(fd)
