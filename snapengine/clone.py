"""Clone: a new volume that begins with what a snapshot froze, as a full copy or standing on the snapshot itself."""

import os
from pathlib import Path

from snapengine import chain, driver, duplicate, hold, layout, maps, records, standing, store, volume
from snapengine.inventory import Volume
from snapengine.printed import Progress
from snapengine.store import Store


def clone(
    opened: Store, snapshot: str, wanted: volume.Request, linked: bool, wait: float, progress: Progress | None
) -> Volume:
    """
    Make a volume of what snapshot S froze; it belongs to the account of S's volume, whatever is wanted, and inherits no
    tags.

        step                                             a crash after it leaves       recovery
        entry; directory `.vol-<uuid>.<op>.new`          a directory nobody knows      removes it
        in it `snapshots/`: the image, its record, synced  the same                    removes it
        THE RENAME of the directory to `vol-<uuid>`      the volume                    finishes

    The image is a copy of S's whole chain or, when linked, an empty overlay of S's own file, which is named by its path
    from the root: from then on S and its volume can't be deleted (clones.py). S is only read, under its volume's lock,
    which others who read share, so that it does not go before the clone is there. Raises WrongStatus, Invalid,
    NotFound, Locked, Corrupt, NoSpace; then nothing is there.
    """
    directory = store.find_snapshot(opened.root, snapshot)
    account = layout.account_of(directory)
    request = volume.checked(wanted._replace(account=account))
    with hold.reading(opened, directory, "clone snapshot", wait):
        records.require_ready(records.read_snapshot(directory, snapshot), "cloned")
        layers = standing.recorded(opened.root, chain.read(directory, layout.image(snapshot)))
        if linked:
            return _linked(opened, request, directory, layers[0])
        return _full(opened, request, layers, progress)


def _full(opened: Store, request: volume.Request, layers: tuple[chain.Layer, ...], progress: Progress | None) -> Volume:
    maps.require_whole(layers)
    paths = [layer.path for layer in layers]
    duplicate.require_room(opened, paths)

    def fill(image: Path) -> None:
        duplicate.copy(opened, paths, image, progress=progress)

    return volume.appear(opened, request, "clone snapshot", fill, layers[0].header.size)


def _linked(opened: Store, request: volume.Request, directory: Path, source: chain.Layer) -> Volume:
    base = layout.base(os.path.relpath(directory, opened.root), source.path.stem)

    def fill(image: Path) -> None:
        with driver.creating_overlay(image, base, source.header.size):
            pass

    return volume.appear(opened, request, "clone snapshot", fill, source.header.size, base=base)
