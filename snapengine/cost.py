"""
What each way of joining layers costs, from their extents, and which to take. Pure.

The seconds are those of this kind of machine (`make bench`); only how they compare counts.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple

from snapengine import spans, units
from snapengine.extents import Extent, covered

Way = Literal["clone", "rebase", "pull", "commit"]
Direction = Literal["auto", "pull", "commit"]

_START = {"clone": 0.03, "rebase": 0.01, "pull": 0.03, "commit": 0.03}
_BYTE = {"clone": 1.2e-9, "rebase": 0.0, "pull": 1.5e-9, "commit": 1.2e-9}
_EXTENT = {"clone": 60e-6, "rebase": 0.0, "pull": 30e-6, "commit": 60e-6}
_WRITE = {"clone": 0.0, "rebase": 0.0, "pull": 2e-3, "commit": 0.0}  # a pull waits for the disk at each
_PIECE = 2 * units.MIB  # what qemu-img rebase writes at once
_HOLE, _ZERO = 4e-13, 1.8e-10  # seconds for each byte that it only looks at; where it has no new backing it reads zeros
_LONG = 10.0  # seconds of looking at nothing, from which on a copy of the lowest layer is thought of
_BLOCK = 4 * units.KIB  # of a file system: what files can share
_L2_ENTRY, _REFCOUNT = 16, 2  # bytes, for each cluster; without extended L2 entries the first is half of that
_FINAL = 1.5  # how much quicker a way must be that can't be stopped and destroys a frozen image


class Cost(NamedTuple):
    """
    What a way of joining moves: bytes, in so many extents, by so many writes.

    idle are the seconds in which it looks through what no layer holds.
    """

    way: Way
    bytes: int
    extents: int
    writes: int = 0
    idle: float = 0.0

    @property
    def seconds(self) -> float:
        """Return about how long it takes."""
        moved = _BYTE[self.way] * self.bytes + _EXTENT[self.way] * self.extents
        return _START[self.way] + moved + _WRITE[self.way] * self.writes + self.idle


def costs(
    child: Sequence[Extent], run: Sequence[Sequence[Extent]], size: int, copied: int, *, alone: bool
) -> dict[Way, Cost]:
    """
    Return what it costs that child, of size virtual bytes, takes in the layers of run, top first, by each way.

    copied are the bytes of the lowest layer's file, 0 where a clone shares them; alone: nothing is below the run.
    """
    above = [child, *run[:-1]]
    missing = _missing(child, run)
    pulled = _pulled(missing, run)
    written = spans.union(*(covered(layer, data_only=True) for layer in above))
    writes = sum(-(-(end - start) // _PIECE) for start, end in pulled)
    idle = max(size - spans.total(covered(child)) - spans.total(pulled), 0) * (_ZERO if alone else _HOLE)
    found = [
        Cost("clone", copied, sum(map(len, above))),
        Cost("pull", spans.total(pulled), len(pulled), writes, idle),
        Cost("commit", spans.total(written), len(written)),
    ]
    if not missing:
        found.append(Cost("rebase", 0, 0))
    return {cost.way: cost for cost in found}


def room(
    way: Way, child: Sequence[Extent], run: Sequence[Sequence[Extent]], clusters: Sequence[int], copied: int
) -> int:
    """
    Return the bytes that the image which a way of joining writes to grows by at most.

    clusters are the cluster sizes of child and the layers of run, copied is as for costs. What is written fills whole
    clusters of that image, and so do zeros that are no whole one; each range that one table maps may need a new table.
    A clone that copies nothing shares what lies in whole clusters of its own, unless those are smaller than a file
    system's blocks, or compressed.
    """
    if way in ("pull", "rebase"):
        return _grown(spans.rounded(_pulled(_missing(child, run), run), clusters[0]), clusters[0])
    cluster, above = clusters[-1], [child, *run[:-1]]
    is_sharing = way == "clone" and not copied and min(clusters) >= max(cluster, _BLOCK)
    data = (e for layer in above for e in layer if e.kind == "compressed" or (e.kind == "data" and not is_sharing))
    full = spans.rounded(((extent.start, extent.end) for extent in data), cluster)
    zeros = [span for layer in above for span in _torn(layer, cluster)]
    return _grown(spans.union(full, zeros), cluster) + (copied if way == "clone" else 0)


def most_room(layers: Sequence[Sequence[Extent]], cluster: int, copied: int) -> int:
    """
    Return what room() tells of these layers, child and run, at most, by any way; it takes a glance at each extent.

    cluster is the size of the largest clusters: each extent may reach into two, and need two tables. copied is as for
    costs.
    """
    data = sum(extent.length + 4 * cluster for layer in layers for extent in layer)
    return copied + data + data // 10 + 4 * cluster  # tables and counts are no twentieth of clusters of 512 bytes, each


def _missing(child: Sequence[Extent], run: Sequence[Sequence[Extent]]) -> spans.Spans:
    """Return what the layers of run hold and child does not."""
    return spans.minus(spans.union(*map(covered, run)), covered(child))


def _pulled(missing: spans.Spans, run: Sequence[Sequence[Extent]]) -> spans.Spans:
    """Return what of the missing is data, which a pull copies."""
    return spans.intersection(missing, spans.union(*(covered(layer, data_only=True) for layer in run)))


def _torn(layer: Sequence[Extent], cluster: int) -> Iterator[spans.Span]:
    """Give the clusters that zeros of a layer fill in part only."""
    for extent in (extent for extent in layer if extent.kind == "zero"):
        for edge in (extent.start, extent.end):
            if edge % cluster:
                yield edge // cluster * cluster, -(-edge // cluster) * cluster


def _grown(written: spans.Spans, cluster: int) -> int:
    """Return what clusters that are written take with the tables that name and count them, at most."""
    mapped = cluster * cluster // _L2_ENTRY
    tables = spans.total(spans.rounded(written, mapped)) // mapped
    data = spans.total(written) + tables * cluster
    return data + (data // (cluster * cluster // _REFCOUNT) + 1) * cluster if written else 0


def choose(
    found: dict[Way, Cost], direction: Direction, scarce: Collection[Way], *, reflinks: bool, sole: bool,
    fitting: bool,
) -> Cost:  # fmt: skip
    """
    Return the way to take: the quickest that is allowed, and that there is room for, if there is one.

    A commit must be quicker by half: it can't be stopped, and destroys a frozen image from its first write. sole:
    nobody else stands on the layers that are joined. fitting: none of them is larger than what stands on it. Without
    both only the child can be written to; a commit is not asked for then. scarce are the ways for which there is no
    room, or no time. Without reflinks a clone copies, which is right where a pull would look at nothing for long.
    """
    if direction == "commit":
        return found["commit"]
    allowed: list[Way] = ["rebase", "pull"]
    if fitting and (reflinks or found["pull"].idle > _LONG):
        allowed.append("clone")
    best = min((found[way] for way in allowed if way in found), key=lambda cost: (cost.way in scarce, cost.seconds))
    if direction == "pull" or not (sole and fitting):
        return best
    down = found["commit"]
    if (down.way in scarce) != (best.way in scarce):
        return best if down.way in scarce else down
    return down if down.seconds * _FINAL < best.seconds else best
