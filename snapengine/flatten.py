"""Flatten: a volume's active image becomes one that stands on nothing."""

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from snapengine import chain, draft, driver, duplicate, hold, layout, operation, records, store, tables, tree, volume
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
    no change. An active dirty bitmap goes along with all that its namesakes in the layers right below have recorded;
    one that can't, since a layer has another size, ends and is noted in the volume's record as broken. Raises InUse
    while a VM has the volume, NoSpace, NotFound, Locked, Corrupt; then nothing changed.
    """
    directory = store.find_volume(opened.root, uuid)
    with hold.volume(opened, directory, "flatten volume", wait, below=True) as work, hold.image(work) as old:
        if old.layer.backing is None:
            return volume.view(directory, work.volume)
        layers = chain.read(directory, work.active.name)
        duplicate.require_room(opened, [layer.path for layer in layers])
        _run(work, old, layers, progress)
        return volume.view(directory, records.read_volume(directory))


def _run(work: Held, old: Image, layers: Sequence[Layer], progress: Progress | None) -> None:
    item = operation.former(work, old)
    carried, broken = _bitmaps(work, old, layers)
    made = _planned(work, item, broken)

    @contextmanager
    def making(copy: Path) -> Iterator[Plan]:
        duplicate.make(work.store, [layer.path for layer in layers], copy, progress=progress)
        for bitmap, sources in carried:
            driver.add_bitmap(copy, bitmap.name, 2**bitmap.granularity_bits)
            for source in sources:
                driver.merge_bitmap(source.path, copy, bitmap.name)
        yield made
        operation.keep_former(work, item)

    operation.over_active(work, made.entry, old, making)


def _planned(work: Held, item: TrashRecord | None, broken: tuple[str, ...]) -> Plan:
    """Return the plan: each tree keeps its latest, and none is current; broken are the bitmaps that end."""
    trees, ended = tree.detached(work.volume.trees, work.place.now), draft.broken(work.volume, broken)
    changed = draft.following(work.place, work.volume, trees=trees, linked=False, broken_bitmaps=ended)
    kept, made = draft.kept([(layout.record(changed.uuid), changed)], item)
    return draft.over_active(work.place, work.volume, None, kept, made, (item.uuid,) if item else ())


def _bitmaps(work: Held, old: Image, layers: Sequence[Layer]) -> tuple[list[Carried], tuple[str, ...]]:
    """
    Return the bitmaps that the copy carries on, and the names of the broken ones.

    A layer without a namesake, or in another volume's directory, ends the search: the bitmap was begun above it.
    """
    own = [layer for layer in layers if layer.path.parent == work.directory]
    names = [_active(layer) for layer in own]
    carried, broken = [], []
    for bitmap in tables.active_bitmaps(old.fd, old.layer.header, path=old.layer.path):
        sources = [layer for layer, _ in itertools.takewhile(lambda pair: bitmap.name in pair[1], zip(own, names))]
        if all(source.header.size == old.layer.header.size for source in sources):
            carried.append(Carried(bitmap, sources))
        else:
            broken.append(bitmap.name)
    return carried, tuple(broken)


def _active(layer: Layer) -> set[str]:
    """Return the names of a layer's active bitmaps."""
    fd = chain.open_layer(layer.path)
    try:
        return {bitmap.name for bitmap in tables.active_bitmaps(fd, layer.header, path=layer.path)}
    finally:
        os.close(fd)
