"""How much a snapshot takes: virtual, its own file, its whole chain, and what would be freed if it were deleted."""

from collections.abc import Sequence
from pathlib import Path

from snapengine import chain, clones, extents, hold, layout, maps, records, spans, store, tree
from snapengine.extents import Extent
from snapengine.inventory import Struct
from snapengine.records import Contents
from snapengine.spans import Spans
from snapengine.store import Store


class Sizes(Struct, frozen=True, kw_only=True):
    """
    The sizes of a snapshot in bytes (contract, section 3: size is virtual, actual_size allocated).

    actual_size is what its own file takes, chain_size what that and all files under it take. freed_if_deleted is about
    what the file system gets back when this snapshot alone is deleted, see freed.
    """

    size: int
    actual_size: int
    chain_size: int
    freed_if_deleted: int


def of(opened: Store, snapshot: str, wait: float) -> Sizes:
    """
    Return the sizes of a snapshot; changes nothing, and reads headers and tables but no data.

    One that has linked clones frees nothing, as it can't be deleted. Its volume may be in use by a VM: what that has
    written since its last flush may not count yet. Raises NotFound, Locked when another operation works on the volume
    for longer than wait seconds, Refused and Corrupt.
    """
    directory = store.find_snapshot(opened.root, snapshot)
    with hold.looking(directory, "snapshot size", wait):
        contents = records.contents(directory)
        records.shown_snapshot(directory, snapshot)
        layers = chain.read(directory, layout.image(snapshot))
        children = [chain.layer(path) for path in _children(contents, snapshot)]
        protected = clones.of(opened.root, contents.volume.uuid, snapshot)
        return Sizes(
            size=layers[0].header.size,
            actual_size=layers[0].allocated,
            chain_size=sum(layer.allocated for layer in layers),
            freed_if_deleted=0 if protected else freed(layers[0], children, shared=opened.record.reflinks),
        )


def _children(contents: Contents, snapshot: str) -> list[Path]:
    """Return the images that stand on a snapshot: of other snapshots, of trash items, and the active one."""
    names = [layout.image(record.uuid) for record in contents.snapshots.values() if record.parent_uuid == snapshot]
    names += [layout.trash_image(item.uuid) for item in contents.trash.values() if item.snapshot_uuid == snapshot]
    if tree.latest(contents.volume) == snapshot:
        names.append(layout.active_name(contents.volume))
    return [contents.directory / name for name in names]


def freed(layer: chain.Layer, children: Sequence[chain.Layer], *, shared: bool) -> int:
    """
    Return about how many bytes the file system gets back when layer alone is deleted, 0 if it only costs.

    That is all of its file but for what its children show of it and must keep: of each child the data of layer that
    the child's own extents do not hide and that lies before the child's end. Where files can share extents (shared),
    what several children keep counts once, else for each of them. Zeros take no room. Of compressed clusters a child
    keeps the same share of bytes as of clusters. A file's tables count as freed. No data is read: what turns out to be
    zeros, or the same below, is freed too, and a child with larger clusters keeps more.
    """
    taken = [taken_in(child, (layer,))[0] for child in children]
    return max(layer.allocated - kept(layer, taken, shared=shared), 0)


def kept(layer: chain.Layer, taken: Sequence[Spans], *, shared: bool) -> int:
    """Return the bytes that a layer's data goes on taking when it is gone: what each of its heirs took in of it."""
    own = maps.of(layer)
    plain, packed = (_of_kind(own, kind) for kind in ("data", "compressed"))
    stored = max(layer.allocated - spans.total(plain), 0)  # what compressed clusters take, and the tables
    cost = 0
    for found in [spans.union(*taken)] if shared else taken:
        cost += spans.total(spans.intersection(found, plain))
        if packed:
            cost += stored * spans.total(spans.intersection(found, packed)) // spans.total(packed)
    return cost


def taken_in(child: chain.Layer, run: Sequence[chain.Layer]) -> list[Spans]:
    """Return, for each layer of run, top first, which of its data child shows, and must take in when they all go."""
    hidden = spans.union(extents.covered(maps.of(child)))
    end = child.header.size
    found = []
    for layer in run:
        own = maps.of(layer)
        held = extents.covered(own, data_only=True)
        found.append(spans.intersection(spans.minus(held, hidden), [(0, end)]))
        hidden = spans.union(hidden, extents.covered(own))
        end = min(end, layer.header.size)  # what lies under a shorter layer shows no further
    return found


def _of_kind(own: Sequence[Extent], kind: str) -> Spans:
    return spans.union(extents.covered(extent for extent in own if extent.kind == kind))
