"""What changed between two snapshots, or a snapshot and its volume: from the extents of the layers between them."""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from snapengine import called, chain, content, errors, hold, layout, maps, records, spans, store, units, visible
from snapengine.content import Content
from snapengine.hold import Held
from snapengine.inventory import Struct
from snapengine.printed import Progress
from snapengine.spans import Span, Spans
from snapengine.store import Store
from snapengine.visible import View

_BLOCK = units.MIB  # bytes that are compared at once

Chain = Sequence[chain.Layer]


class Changed(Struct, frozen=True, kw_only=True):
    """A range of the guest's disk in bytes; zero tells that the later content reads as zeros there."""

    start: int
    length: int
    zero: bool


class Diff(Struct, frozen=True, kw_only=True):
    """Where two contents may differ, in order; bytes is how many that are."""

    extents: tuple[Changed, ...]
    bytes: int


def diff(
    opened: Store, first: str, second: str | None, exact: bool, wait: float, progress: Progress | None = None
) -> Diff:
    """
    Return where the snapshot second, or the volume itself if that is None, may differ from the snapshot first.

    Never misses a changed byte. As coarse as a cluster, or a subcluster where an image has those; what both are known
    to read as zeros is left out. The answer runs to the end of the larger content: behind its end one reads as
    zeros. Whether the two stand on a common layer is told by the headers, so branches are compared too; without a
    common layer, of two trees, it is all that either holds. No data is read, unless exact is given: then the
    extents are read, and what is left are the sectors of 512 bytes that differ; progress is told the fraction done.

    Changes nothing and holds the volume's lock together with others that read. Raises Invalid for snapshots of
    different volumes, InUse while a VM writes to a volume that is compared, NotFound, Locked, Refused, Corrupt.
    """
    directory = store.find_snapshot(opened.root, first)
    other = directory if second is None else store.find_snapshot(opened.root, second)
    if other != directory:
        volumes = " and ".join(map(called.volume, (directory, other)))
        raise errors.Invalid(what=f"the snapshots are of different volumes, {volumes}; give two of one volume")
    with hold.looking(directory, "diff", wait):
        with _chain(opened, directory, first) as before, _chain(opened, directory, second) as after:
            found = _candidates(before, after)
            if exact:
                found = _exact(before, after, spans.union(*found), progress)
            return _answer(*found)


@contextmanager
def _chain(opened: Store, directory: Path, snapshot: str | None) -> Iterator[Chain]:
    """Give the layers of a snapshot, or of the volume, which then is kept from every VM that would write to it."""
    if snapshot is not None:
        records.shown_snapshot(directory, snapshot)
        yield chain.read(directory, layout.image(snapshot))
        return
    work = Held(opened, directory, records.read_volume(directory), hold.place(opened, directory, "diff"))
    with hold.image(work):
        yield chain.read(directory, work.active.name)


def _candidates(before: Chain, after: Chain) -> tuple[Spans, Spans]:
    """Return where data of the one may differ from the other, and where the later one reads as zeros and may differ."""
    shared = {layer.inode for layer in before} & {layer.inode for layer in after}
    common = [layer for layer in after if layer.inode in shared]
    end = max(before[0].header.size, after[0].header.size)
    old, new = (_above(layers, common, end) for layers in (before, after))
    under = functools.cache(lambda: _zeros(common, end))
    return differing(old, new, under)


def differing(old: View, new: View, under: Callable[[], Spans]) -> tuple[Spans, Spans]:
    """
    Return where new may hold data that old does not, and where it is zeros that old may not be.

    Both stand on the same layers; under, asked only where that matters, gives what these read as zeros.
    """
    turned = spans.union(spans.intersection(old.zero, new.below), spans.intersection(old.below, new.zero))
    changed = spans.union(old.data, new.data, turned)
    zero = new.zero
    if turned or spans.intersection(old.data, new.below):
        holes = under()
        changed = spans.minus(changed, spans.intersection(turned, holes))
        zero = spans.union(zero, spans.intersection(new.below, holes))
    return spans.minus(changed, zero), spans.intersection(changed, zero)


def _above(layers: Chain, common: Chain, end: int) -> View:
    """Return what is made of the common layers by those above them; of these only the upper one's size counts here."""
    own = [_known(layer) for layer in layers[: len(layers) - len(common)]]
    below = [visible.Layer(common[0].header.size, ())] if common else []
    return visible.view([*own, *below], end)


def _zeros(layers: Chain, end: int) -> Spans:
    """Return what layers that stand on nothing read as zeros."""
    found = visible.view([_known(layer) for layer in layers], end)
    return spans.union(found.zero, found.below)


def _known(layer: chain.Layer) -> visible.Layer:
    return visible.Layer(layer.header.size, maps.of(layer))


def _exact(before: Chain, after: Chain, found: Spans, progress: Progress | None) -> tuple[Spans, Spans]:
    """Return the sectors within found that differ: those that are no zeros later, and those that are."""
    data: list[Span] = []
    zero: list[Span] = []
    done, total = 0, spans.total(found)
    with content.opened(before) as old, content.opened(after) as new:
        for start, end in _blocks(found):
            for sector, is_zero in _sectors(old, new, start, end):
                (zero if is_zero else data).append((sector, sector + units.SECTOR))
            done += end - start
            if progress:
                progress(done / total)
    return spans.union(data), spans.union(zero)


def _blocks(found: Spans) -> Iterator[Span]:
    for start, end in found:
        for at in range(start, end, _BLOCK):
            yield at, min(at + _BLOCK, end)


def _sectors(old: Content, new: Content, start: int, end: int) -> Iterator[tuple[int, bool]]:
    """Give the sectors in [start, end) that differ, and whether they are zeros later."""
    one, two = old.read(start, end - start), new.read(start, end - start)
    if one == two:
        return
    zeros = bytes(units.SECTOR)
    for at in range(0, end - start, units.SECTOR):
        sector = two[at : at + units.SECTOR]
        if one[at : at + units.SECTOR] != sector:
            yield start + at, sector == zeros


def _answer(data: Spans, zero: Spans) -> Diff:
    every = sorted([(span, False) for span in data] + [(span, True) for span in zero])
    found = tuple(Changed(start=start, length=end - start, zero=is_zero) for (start, end), is_zero in every)
    return Diff(extents=found, bytes=spans.total(data) + spans.total(zero))
