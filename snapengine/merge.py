"""
Join layers that are next to each other, in one of three ways; the image that takes the others in is called the child.

    clone   a copy of the lowest layer, on the same extents where that can be, gets the clusters of those above it and
            takes over by one rename: no frozen image is touched
    pull    the child gets what it would miss, then its header names what it then stands on
    commit  the child is committed into the lowest layer, which then takes its name: destroys that from the first write
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from snapengine import (
    attributes,
    bitmaps,
    caching,
    chain,
    content,
    driver,
    durable,
    errors,
    extents,
    imagelock,
    inspector,
    layout,
    maps,
    presence,
    printed,
    records,
    reflink,
    sound,
    spans,
    tables,
    units,
)
from snapengine.chain import Layer
from snapengine.extents import Extent
from snapengine.intent import Rename
from snapengine.printed import Progress
from snapengine.spans import Spans

_PIECE = 4 * units.MIB  # compared at once


class Join(NamedTuple):
    """Layers to join: child takes in run, top first; below is what run stands on, top first, empty for nothing."""

    child: Layer
    run: tuple[Layer, ...]
    below: tuple[Layer, ...]

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that become one, top first."""
        return (self.child, *self.run)

    @property
    def backing(self) -> str | None:
        """What the child then stands on."""
        return self.run[-1].backing

    @property
    def filling(self) -> tuple[Layer, ...]:
        """What fills up clusters that are written in part: all below, where the layers have several kinds of them."""
        kinds = {(layer.header.cluster_bits, layer.header.extended_l2) for layer in self.layers}
        return self.below if len(kinds) > 1 else ()

    @property
    def under(self) -> tuple[Path, ...]:
        """What a tool must see under the lowest layer that it writes to: one image tells that zeros are to hide it."""
        return tuple(layer.path for layer in (self.filling or self.below[:1]))


def read(directory: Path, child: str, lowest: str) -> Join:
    """Return the layers in directory from the image called child down to the one called lowest, and what is below."""
    layers = chain.read(directory, child)
    names = [layer.path.name for layer in layers]
    if lowest not in names[1:]:
        raise errors.Corrupt(what=f"image {directory / child} does not stand on {lowest}")
    end = names.index(lowest) + 1
    return Join(layers[0], layers[1:end], layers[end:])


def held(join: Join) -> list[tuple[Extent, ...]]:
    """Return what each layer of the run holds, top first: also, as zeros, what it hides by its end."""
    return _held(join.run, join.below, join.child.header.size)


def _held(run: tuple[Layer, ...], below: tuple[Layer, ...], end: int) -> list[tuple[Extent, ...]]:
    """Do so for what a child sees that ends at end: a layer reads as zeros behind its own size, see visible."""
    layers, found = (*run, *below), []
    for number, layer in enumerate(run):
        size = layer.header.size
        hidden = min(end, max((under.header.size for under in layers[number + 1 :]), default=0))
        tail = (Extent(size, hidden - size, "zero", None),) if hidden > size else ()
        found.append((*maps.of(layer), *tail))
    return found


def clone(join: Join, new: Path, progress: Progress | None, *, shared: bool) -> None:
    """Make the existing empty file new an image that reads as the child does and stands on what is below the run."""
    _copy(join.run[-1].path, new, progress, shared)
    ended = marked(join, pulled=False).ended
    bitmaps.forget([new], ended)  # an image with one that is in use can't grow
    _apply(join.layers, (new, *join.under), "share")
    bitmaps.join([*(layer.path for layer in join.layers[:-1]), new], new, ended)
    sound.check(new)


def _copy(lowest: Path, new: Path, progress: Progress | None, shared: bool) -> None:
    fd = inspector.open_image(lowest)
    try:
        if shared:
            reflink.copy(fd, new)
            return
        with open(os.open(new, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "wb", buffering=0) as f:
            durable.pour(fd, f.fileno(), printed.counted(progress, os.fstat(fd).st_size))
    finally:
        os.close(fd)


def _apply(layers: Sequence[Layer], target: Sequence[Path], how: driver.How) -> None:
    """Write what layers, top first, hold above the last of them onto the top image of target, which holds that one."""
    if layers[0].header.size > layers[-1].header.size:
        driver.grow(target, layers[0].header.size)
    for above, under in reversed([*zip(layers, layers[1:])]):
        if maps.of(above):  # the tool goes through all that it claims, 35 us for each 512 MiB
            driver.apply([above.path, under.path], target, how)


def pull(join: Join, progress: Progress | None, *, header_only: bool) -> None:
    """
    Let the child stand on what is below the run, with all that it would miss.

    header_only: its own clusters hide all of the run, so that nothing is to be copied. Where what was copied is not
    what the run holds, whatever the tool said, the child is put back to stand on it, and Corrupt raised.
    """
    missing = _unhidden(join.run, join.below, join.child)
    paths, ended = [layer.path for layer in join.layers], marked(join, pulled=True).ended
    bitmaps.forget(paths[:1], ended)
    bitmaps.join(paths, paths[0], ended)
    if header_only:
        driver.unsafe_rebase(join.child.path, join.backing)
        return
    driver.pull(join.child.path, join.backing, progress)
    child = chain.layer(join.child.path)
    if not _reads_same((*join.run, *join.below), (child, *join.below), missing):
        _put_back(child, join.run[0].path.name)


def marked(join: Join, *, pulled: bool) -> bitmaps.Marks:
    """Return what becomes of the dirty bitmaps of the layers that are joined, by a pull or otherwise."""
    return bitmaps.of(join.layers, join.child if pulled else join.run[-1])


def finish_down(
    directory: Path, into: Rename, held: int, volume: str, progress: Progress | None = None
) -> None:
    """
    Commit the image called into.target down into into.source, which takes its name; again if that was cut off.

    held is an open descriptor of the target, which VMs are kept out of. Raises InUse when something has it open.
    """
    source, target = directory / into.source, directory / into.target
    if not presence.is_there(source):
        return
    join = read(directory, into.target, into.source)
    paths = [layer.path for layer in join.layers]
    bitmaps.forget(paths, marked(join, pulled=False).ended)
    _forget_bitmaps(join.layers)
    direct = caching.is_needless(source, join.layers[:-1])
    if len(join.run) == 1:
        _apply(join.layers, (source, *join.under), "direct" if direct else "copy")
    else:
        driver.commit(target, into.source, progress, direct=direct)
    bitmaps.join(paths, source)
    sound.check(source)
    attributes.copy(held, source)
    with imagelock.lease(held, target, volume):
        durable.rename(source, target)
    durable.sync_directory(directory)


def _forget_bitmaps(layers: tuple[Layer, ...]) -> None:
    """
    Let no layer have dirty bitmaps where a killed tool cut one off from its own: those of the others are not all.

    That one is repaired last, since it is what tells.
    """
    cut_off = [layer for layer in layers if layer.header.bitmap_count and not tables.has_bitmaps(layer.header)]
    if cut_off:
        bitmaps.forget(layer.path for layer in layers)
    for layer in cut_off:
        driver.repair(layer.path)


def prove(directory: Path, pulled: str, run: tuple[str, ...]) -> None:
    """
    See that the image called pulled, which no longer stands on those of run, reads as if it still did.

    Where it does not, it is put back to stand on them, which loses nothing, and Corrupt is raised.
    """
    child = chain.layer(directory / pulled)
    layers = tuple(chain.layer(directory / name) for name in run)
    under = chain.under(directory, child.backing) if child.backing else None
    below = chain.read(under.parent, under.name) if under else ()
    sound.check(child.path)
    if not _reads_same((*layers, *below), (child, *below), _unhidden(layers, below, child)):
        _put_back(child, run[0])


def _put_back(child: Layer, onto: str) -> None:
    driver.unsafe_rebase(child.path, onto)
    raise errors.Corrupt(what=f"{child.path} would not read the same without {onto}; it was left as it was")


def _unhidden(run: tuple[Layer, ...], below: tuple[Layer, ...], child: Layer) -> Spans:
    """Return what the layers of run hold or hide and the child does not, up to its end: nobody sees more through it."""
    end = child.header.size
    held_there = spans.union(*map(extents.covered, _held(run, below, end)))
    return spans.intersection(spans.minus(held_there, extents.covered(maps.of(child))), [(0, end)])


def _reads_same(one: tuple[Layer, ...], other: tuple[Layer, ...], where: Spans) -> bool:
    """Tell whether a guest sees the same of two chains, top first, in the spans where."""
    if not where:
        return True
    with content.opened(one) as old, content.opened(other) as new:
        pieces = ((at, min(_PIECE, end - at)) for start, end in where for at in range(start, end, _PIECE))
        return all(old.read(*piece) == new.read(*piece) for piece in pieces)


@contextmanager
def kept(directory: Path, volume: str, names: tuple[str, ...]) -> Iterator[dict[str, int]]:
    """
    Keep every VM out of the volume and of the images called names for the block; InUse where one has them open.

    Gives an open descriptor of each that is there, by its name.
    """
    active = layout.active_name(records.stored_volume(directory))
    with ExitStack() as stack:
        there = [name for name in dict.fromkeys((active, *names)) if presence.is_there(directory / name)]
        yield {name: stack.enter_context(imagelock.held(directory / name, volume)) for name in there}
