"""Flatten: a volume's active image becomes one that stands on nothing."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from snapengine import (
    bitmaps,
    chain,
    draft,
    duplicate,
    hold,
    layout,
    maps,
    operation,
    records,
    standing,
    store,
    tree,
    volume,
)
from snapengine.chain import Layer
from snapengine.draft import Plan
from snapengine.hold import Held, Image
from snapengine.inventory import TrashRecord, Volume
from snapengine.printed import Progress
from snapengine.store import Store
from snapengine.tables import Bitmap


class Carried(NamedTuple):
    """A bitmap of the active image, and the layers, top first, whose bitmaps of its name are merged into it."""

    bitmap: Bitmap
    sources: list[Layer]


def flatten(opened: Store, uuid: str, wait: float, progress: Progress | None) -> Volume:
    """
    Make volume V stand on nothing, neither its snapshots nor the base of a linked clone; what a guest sees stays.

        step                                              a crash after it leaves          recovery
        entry; `.V.<op>.new`, a copy of V's chain         an unused image                  removes it
        meanwhile records item, V prepared                files nobody knows               removes them
        V.qcow2 linked to <item>.trash.qcow2, if it       two names of one inode           removes the second
        holds a cluster of its own; synced
        lease; THE RENAME of the copy to V.qcow2          V alone, its former image kept   finishes
        records to their names                                                             finishes

    The snapshots stay, no tree is current: the next snapshot is the origin of a new one. Of a standalone volume that is
    no change. A dirty bitmap, also one that is switched off, goes along with all that its namesakes in the layers right
    below have recorded; one that can't, since a layer has another size or a killed QEMU left it in use, ends and is
    noted in the volume's record as broken. Raises InUse while a VM has the volume, NoSpace, NotFound, Locked, Corrupt;
    then nothing changed.
    """
    directory = store.find_volume(opened.root, uuid)
    with hold.volume(opened, directory, "flatten volume", wait, below=True) as work, hold.image(work) as old:
        if old.layer.backing is None:
            return volume.view(directory, work.volume)
        layers = standing.recorded(opened.root, chain.read(directory, work.active.name))
        maps.require_whole(layers)
        duplicate.require_room(opened, [layer.path for layer in layers])
        _run(work, old, layers, progress)
        return volume.view(directory, records.read_volume(directory))


def _run(work: Held, old: Image, layers: Sequence[Layer], progress: Progress | None) -> None:
    item = operation.former(work, old)
    carried, ended = _bitmaps(work, layers)
    made = _planned(work, item, ended)

    @contextmanager
    def making(copy: Path) -> Iterator[Plan]:
        duplicate.make(work.store, [layer.path for layer in layers], copy, progress=progress)
        for bitmap, sources in carried:
            bitmaps.add(copy, bitmap, bitmap.granularity_bits, [layer.path for layer in sources])
        yield made
        operation.keep_former(work, item)

    operation.over_active(work, made.entry, old, making)


def _planned(work: Held, item: TrashRecord | None, broken: tuple[str, ...]) -> Plan:
    """Return the plan: each tree keeps its latest, and none is current; broken are the bitmaps that end."""
    trees, ended = tree.detached(work.volume.trees, work.place.now), draft.broken(work.volume, broken)
    changed = draft.following(work.place, work.volume, trees=trees, linked=False, broken_bitmaps=ended)
    kept, made = draft.kept([(layout.record(changed.uuid), changed)], item)
    return draft.over_active(work.place, work.volume, None, kept, made, (item.uuid,) if item else ())


def _bitmaps(work: Held, layers: Sequence[Layer]) -> tuple[list[Carried], tuple[str, ...]]:
    """
    Return the bitmaps that the copy carries on, and the names of those that end: one of that name can't be merged.

    A layer without a namesake, or in another volume's directory, ends the search: the bitmap was begun above it.
    """
    own = [layer for layer in layers if layer.path.parent == work.directory]
    found = [{bitmap.name: bitmap for bitmap in chain.bitmaps(layer.path)} for layer in own]
    carried, ended = [], []
    for name, bitmap in found[0].items():
        sources = [*itertools.takewhile(lambda pair: name in pair[1], zip(own, found))]
        if any(known[name].in_use or layer.header.size != layers[0].header.size for layer, known in sources):
            ended.append(name)
        else:
            carried.append(Carried(bitmap, [layer for layer, _ in sources]))
    return carried, tuple(ended)
