"""
What the images of a volume stand on, as their headers say, held against the records.

Where they differ nobody knows which is right: nothing then goes that an image may need, and nothing is taken for what
was frozen. Names that an unfinished operation has in its entry do not count: there headers may be ahead of records.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from snapengine import chain, errors, journal, layout, records, tree
from snapengine.chain import Layer
from snapengine.inventory import VolumeRecord
from snapengine.records import Contents


def images(contents: Contents) -> Iterator[tuple[str, str, str | None, int | None]]:
    """Give uuid, file name and recorded backing name of every image that has a record, the active one's size too."""
    volume = contents.volume
    yield volume.uuid, layout.active_name(volume), tree.backing(volume, volume), volume.size
    for record in contents.snapshots.values():
        yield record.uuid, layout.image(record.uuid), tree.backing(volume, record), None
    for item in contents.trash.values():
        yield item.uuid, layout.trash_image(item.uuid), tree.backing(volume, item), None


def strangers(root: Path, contents: Contents) -> dict[str, list[str]]:
    """
    Return by snapshot which images beside it stand on it, of which no record says so, each by its name.

    They have lost their record, or it tells something else. What can't be read as an image stands on nothing.
    """
    said = {name: backing for _, name, backing, _ in images(contents)}
    claimed = journal.claimed(root)
    found: dict[str, list[str]] = {}
    for name, backing in sorted(chain.backings(contents.directory)):
        uuid = layout.uuid_of(backing)
        if uuid is None or uuid not in contents.snapshots or contents.directory / name in claimed:
            continue
        if said.get(name) != backing:
            found.setdefault(uuid, []).append(name)
    return found


def unknown(contents: Contents, snapshot: str, names: Sequence[str]) -> errors.Corrupt:
    """Return why a snapshot may not go: images called names, strangers to the records, stand on it."""
    told = f"snapshot {contents.volume.name}/{contents.snapshots[snapshot].name} ({snapshot})"
    return errors.Corrupt(what=f"{told} stays: {contents.directory / names[0]} stands on it, and no record says so")


def recorded(root: Path, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return layers; Corrupt where one of them stands on another image than its record, if it has a sound one, says."""
    claimed = journal.claimed(root)
    for directory, own in itertools.groupby(layers, key=lambda layer: layer.path.parent):
        volume = _volume(directory)
        for layer in own:
            if volume and layer.path not in claimed and (told := _told(layer, volume)):
                raise errors.Corrupt(what=f"image {layer.path} {told}")
    return layers


def told(backing: str | None, recorded: str | None) -> str:
    """Return how it is said that an image stands on another one than its record tells."""
    return f"stands on {backing or 'nothing'}, the record says {recorded or 'nothing'}"


def _volume(directory: Path) -> VolumeRecord | None:
    """Return the record of the volume in directory, None without a sound one."""
    with suppress(errors.NotFound, errors.Corrupt):
        return records.read_volume(directory)
    return None


def _told(layer: Layer, volume: VolumeRecord) -> str | None:
    try:
        is_active = layer.path.name == layout.active_name(volume)
        record = volume if is_active else records.read_snapshot(layer.path.parent, layer.uuid or "")
    except (errors.NotFound, errors.Corrupt):
        return None
    said = tree.backing(volume, record)
    return told(layer.backing, said) if said != layer.backing else None
