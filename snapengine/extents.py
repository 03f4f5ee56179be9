"""Which ranges of a guest's disk a qcow2 image holds itself, and as what: read from its tables, see clusters.py."""

import functools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from snapengine import clusters, units
from snapengine.clusters import SUBCLUSTERS, Run
from snapengine.qcow2 import Header
from snapengine.spans import Spans

Kind = Literal["data", "zero", "compressed"]


class Extent(NamedTuple):
    """
    A range of the guest's disk that an image holds itself; start and length are bytes.

    data lies in the image's file from host on. zero reads as zeros, whether or not a host cluster is kept for it.
    compressed is looked up cluster by cluster, see clusters.stored.
    """

    start: int
    length: int
    kind: Kind
    host: int | None

    @property
    def end(self) -> int:
        """Return the first offset behind the extent."""
        return self.start + self.length


def read(fd: int, header: Header, *, path: Path | str = "") -> tuple[Extent, ...]:
    """
    Return the extents that the image open at fd holds itself, in order; what it does not hold is left out.

    They are disjoint, end at the virtual size, and are joined where one continues the one before; data only where
    it lies behind the other in the file too. header must have passed the inspector. Raises errors.Refused as
    clusters.runs, and for more data than the file has room for: so an image costs no more than its file's length.
    """
    image = clusters.opened(fd, header, path)
    found: list[Extent] = []
    room = units.round_up(image.length, header.cluster_size)
    for extent in _extents(image):
        if extent.kind == "data":
            room -= extent.length
            if room < 0:
                raise image.refused("cluster-shared", "its tables name more data than its file holds")
        if found and _continues(found[-1], extent):
            found[-1] = found[-1]._replace(length=found[-1].length + extent.length)
        else:
            found.append(extent)
    return tuple(found)


def covered(found: Iterable[Extent], *, data_only: bool = False) -> Spans:
    """Return where extents, in order, lie; data_only leaves out those that read as zeros."""
    return tuple((extent.start, extent.end) for extent in found if not (data_only and extent.kind == "zero"))


def _continues(before: Extent, extent: Extent) -> bool:
    if before.start + before.length != extent.start or before.kind != extent.kind:
        return False
    return before.host is None or before.host + before.length == extent.host


def _extents(image: clusters.Image) -> Iterator[Extent]:
    """Give the image's extents, each as long as one table and one pattern of subclusters lets it be."""
    size, cluster = image.header.size, image.cluster
    for run in clusters.runs(image):
        for extent in _of_run(run, cluster):
            if extent.start >= size:
                return
            yield extent if extent.start + extent.length <= size else extent._replace(length=size - extent.start)


def _of_run(run: Run, cluster: int) -> Sequence[Extent]:
    """Return the extents of a run of clusters of so many bytes."""
    length = run.clusters * cluster
    if run.bits == clusters.WHOLE:
        return (Extent(run.start, length, "data", run.host),)
    if run.compressed or run.bits == clusters.WHOLE << SUBCLUSTERS:
        return (Extent(run.start, length, "compressed" if run.compressed else "zero", None),)
    return tuple(_of_subclusters(run, cluster))


def _of_subclusters(run: Run, cluster: int) -> Iterator[Extent]:
    size = cluster // SUBCLUSTERS
    for offset in range(0, run.clusters * cluster, cluster):
        for first, count, kind in _patterns(run.bits):
            at = offset + first * size
            yield Extent(run.start + at, count * size, kind, run.host + at if kind == "data" else None)


@functools.lru_cache(maxsize=4096)
def _patterns(bits: int) -> tuple[tuple[int, int, Kind], ...]:
    """Return the runs of subclusters that bits (zeros above, allocated below) names: first, count, kind."""
    found: list[tuple[int, int, Kind]] = []
    for number in range(SUBCLUSTERS):
        zero, data = bits >> (SUBCLUSTERS + number) & 1, bits >> number & 1
        if not zero and not data:
            continue
        kind: Kind = "zero" if zero else "data"
        if found and found[-1][2] == kind and sum(found[-1][:2]) == number:
            found[-1] = (found[-1][0], found[-1][1] + 1, kind)
        else:
            found.append((number, 1, kind))
    return tuple(found)
