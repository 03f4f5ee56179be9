"""
What a guest sees through layers that stand on each other, from their extents. Pure.

An image that is smaller than what stands on it reads as zeros behind its own end, whatever lies under it (QEMU:
"block/io.c", reads beyond a backing file's end); so each layer counts as zero there.
"""

import heapq
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from snapengine import spans
from snapengine.extents import Extent, Kind
from snapengine.spans import Spans


class Layer(NamedTuple):
    """An image by itself: its virtual size in bytes, and the extents that it holds."""

    size: int
    extents: Sequence[Extent]


class Piece(NamedTuple):
    """A range [start, end) of the guest's disk that comes from one layer, 0 the top; host as in Extent, for start."""

    start: int
    end: int
    layer: int
    kind: Kind
    host: int | None


class View(NamedTuple):
    """What layers make of the range [0, end): what may hold data, what is known to be zero, and the rest, in order."""

    data: Spans
    zero: Spans
    below: Spans


def pieces(layers: Sequence[Layer], end: int) -> tuple[Piece, ...]:
    """
    Return the pieces of [0, end) that layers (top first) hold, in order; what none holds is left out.

    Behind a layer's own size it is zero. Takes time linear in all extents but for a logarithm.
    """
    found: list[Piece] = []
    waiting = sorted(_numbered(layers, end))
    active: list[tuple[int, Extent]] = []  # a heap: the uppermost first
    at = number = 0
    while at < end and (active or number < len(waiting)):
        if not active:
            at = waiting[number][0]
        while number < len(waiting) and waiting[number][0] <= at:
            heapq.heappush(active, waiting[number][1:])
            number += 1
        top, extent = active[0]
        stop = min(extent.end, end)
        while number < len(waiting) and waiting[number][0] < stop:  # what begins under the extent does not cut it
            if waiting[number][1] < top:
                stop = waiting[number][0]
                break
            heapq.heappush(active, waiting[number][1:])
            number += 1
        if at < stop:
            found.append(_piece(at, stop, top, extent))
        at = max(at, stop)
        while active and active[0][1].end <= at:
            heapq.heappop(active)
    return tuple(found)


def _piece(start: int, end: int, layer: int, extent: Extent) -> Piece:
    host = None if extent.host is None else extent.host + start - extent.start
    return Piece(start, end, layer, extent.kind, host)


def view(layers: Sequence[Layer], end: int) -> View:
    """Return what layers make of [0, end); below is what none of them holds."""
    if all(layer.size >= end and all(extent.kind != "zero" for extent in layer.extents) for layer in layers):
        held = ((extent.start, extent.end) for layer in layers for extent in layer.extents)
        data, zero = spans.intersection(spans.union(held), [(0, end)]), spans.union()
    else:
        found = pieces(layers, end)
        data = spans.union((piece.start, piece.end) for piece in found if piece.kind != "zero")
        zero = spans.union((piece.start, piece.end) for piece in found if piece.kind == "zero")
    return View(data, zero, spans.minus([(0, end)], spans.union(data, zero)))


def _numbered(layers: Sequence[Layer], end: int) -> Iterable[tuple[int, int, Extent]]:
    """Give start, layer and extent of all that layers hold before end, and that they end there."""
    for number, layer in enumerate(layers):
        for extent in layer.extents:
            if extent.start < end:
                yield extent.start, number, extent
        if layer.size < end:
            yield layer.size, number, Extent(layer.size, end - layer.size, "zero", None)
