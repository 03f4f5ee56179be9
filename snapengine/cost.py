"""
What each way of joining layers costs, from their extents, and which to take. Pure.

The seconds are those of this kind of machine (`make bench`); only how they compare counts.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from snapengine import errors, spans, units
from snapengine.extents import Extent, covered

Way = Literal["clone", "rebase", "pull", "commit"]
Direction = Literal["auto", "pull", "commit"]

_START = {"clone": 0.03, "rebase": 0.01, "pull": 0.03, "commit": 0.03}
_BYTE = {"clone": 0.0, "rebase": 0.0, "pull": 1.5e-9, "commit": 1.2e-9}
_EXTENT = {"clone": 60e-6, "rebase": 0.0, "pull": 30e-6, "commit": 60e-6}
_WRITE = {"clone": 0.0, "rebase": 0.0, "pull": 2e-3, "commit": 0.0}  # a pull waits for the disk at each
_PIECE = 2 * units.MIB  # what qemu-img rebase writes at once
_FINAL = 1.5  # how much quicker a way must be that can't be stopped and destroys a frozen image


class Cost(NamedTuple):
    """What a way of joining moves: bytes of the guest's data, in so many extents, by so many writes."""

    way: Way
    bytes: int
    extents: int
    writes: int = 0

    @property
    def seconds(self) -> float:
        """Return about how long it takes."""
        moved = _BYTE[self.way] * self.bytes + _EXTENT[self.way] * self.extents
        return _START[self.way] + moved + _WRITE[self.way] * self.writes


def costs(child: Sequence[Extent], run: Sequence[Sequence[Extent]]) -> dict[Way, Cost]:
    """Return what it costs that child takes in the layers of run, top first, by each way."""
    above = [child, *run[:-1]]
    missing = spans.minus(spans.union(*map(covered, run)), covered(child))
    pulled = spans.intersection(missing, spans.union(*(covered(layer, data_only=True) for layer in run)))
    written = spans.union(*(covered(layer, data_only=True) for layer in above))
    found = [
        Cost("clone", 0, sum(map(len, above))),
        Cost("pull", spans.total(pulled), len(pulled), sum(-(-(end - start) // _PIECE) for start, end in pulled)),
        Cost("commit", spans.total(written), len(written)),
    ]
    if not missing:
        found.append(Cost("rebase", 0, 0))
    return {cost.way: cost for cost in found}


def choose(
    found: dict[Way, Cost], direction: Direction, *, reflinks: bool, sole: bool, fitting: bool
) -> Cost:
    """
    Return the way to take: the quickest that is allowed.

    A commit must be quicker by half: it can't be stopped, and destroys a frozen image from its first write. sole:
    nobody else stands on the layers that are joined. fitting: none of them is larger than what takes it in. Without
    both only the child can be written to, and a commit is Conflict when direction asks for it.
    """
    if direction == "commit":
        if not sole:
            raise errors.Conflict(what="several images stand on the snapshot, so it can't be committed; use 'pull'")
        if not fitting:
            raise errors.Conflict(what="what stands on the snapshot is smaller, so it can't be committed; use 'pull'")
        return found["commit"]
    allowed: list[Way] = ["rebase", "pull", *(["clone"] if reflinks and fitting else [])]  # type: ignore[list-item]
    best = min((found[way] for way in allowed if way in found), key=lambda cost: cost.seconds)
    down = found["commit"]
    is_better = direction == "auto" and sole and fitting and down.seconds * _FINAL < best.seconds
    return down if is_better else best
