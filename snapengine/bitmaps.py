"""
Join the dirty bitmaps of layers that become one image: all that is dirty in any of them.

One that is switched off counts as well: a backup that keeps several may still read it. What can't be joined ends, and
whoever joins notes it as broken: one that a killed tool left in use, and one of another size (qemu-img joins none).
"""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from snapengine import chain, driver
from snapengine.chain import Layer
from snapengine.tables import Bitmap


class Marks(NamedTuple):
    """The names of the bitmaps of layers: those that can be read, and which of all can't be joined."""

    readable: tuple[str, ...]
    ended: tuple[str, ...]


def of(layers: Sequence[Layer], target: Layer) -> Marks:
    """
    Return what becomes of the bitmaps of layers, top first, when all are joined in target, one of them.

    What target has grows with it to the size of the top one; the others' stay as large as they are.
    """
    size = layers[0].header.size
    found = [(layer, bitmap) for layer in layers for bitmap in chain.bitmaps(layer.path)]
    readable = (bitmap.name for _, bitmap in found if not bitmap.in_use)
    ended = (b.name for layer, b in found if b.in_use or (layer is not target and layer.header.size != size))
    return Marks(tuple(dict.fromkeys(readable)), tuple(dict.fromkeys(ended)))


def join(layers: Sequence[Path], target: Path, ended: Collection[str] = ()) -> None:
    """
    Let the image at target have each bitmap of layers, top first and itself among them, with all that any marks.

    It records or not as in the uppermost that has it. ended are those that are left out, see of; target has none.
    """
    marked = {path: {bitmap.name: bitmap for bitmap in chain.bitmaps(path)} for path in layers}
    for name in dict.fromkeys(name for path in layers for name in marked[path] if name not in ended):
        same = {path: found[name] for path, found in marked.items() if name in found}
        uppermost = next(iter(same.values()))
        if target not in same:
            add(target, uppermost, min(bitmap.granularity_bits for bitmap in same.values()), same)
            continue
        for path in same:
            if path != target:
                driver.merge_bitmap(path, target, name)
        if uppermost.auto != same[target].auto:
            driver.switch_bitmap(target, name, on=uppermost.auto)


def add(target: Path, bitmap: Bitmap, granularity_bits: int, sources: Iterable[Path]) -> None:
    """Give the image at target, which has none, one like bitmap that marks all that those of its name in sources do."""
    driver.add_bitmap(target, bitmap.name, 2**granularity_bits)
    for source in sources:
        driver.merge_bitmap(source, target, bitmap.name)
    if not bitmap.auto:
        driver.switch_bitmap(target, bitmap.name, on=False)


def forget(paths: Iterable[Path], names: Collection[str] | None = None) -> None:
    """
    Remove the bitmaps with these names, or all, from the images at paths, one image after the other.

    The last image is done last: if it is what tells that they must go, this may be cut off and done again.
    """
    for path in paths:
        for bitmap in chain.bitmaps(path):
            if names is None or bitmap.name in names:
                driver.remove_bitmap(path, bitmap.name)
