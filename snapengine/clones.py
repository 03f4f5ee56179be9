"""The linked clones of a volume or snapshot: volumes whose base is one of its images, deleted ones among them."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path

from snapengine import errors, inspector, layout, qcow2, records, store
from snapengine.inventory import VolumeRecord


def of(root: Path, volume_uuid: str, snapshot_uuid: str | None = None) -> list[VolumeRecord]:
    """
    Return the linked clones that stand on the volume's snapshots, or on one of them, as the volumes' records say.

    A deleted clone counts until it is expunged. The caller holds the volume's lock, under which clones are made. Where
    a record can't be read the headers of its images are asked, and Corrupt raised if one of them stands there too:
    a damaged record never takes a clone's base away from it.
    """
    found = []
    for directory in chain(store.directories(root), store.deleted_directories(root)):
        try:
            record = records.read_volume(directory)
        except errors.NotFound:
            continue
        except errors.Corrupt as e:
            if any(_is_within(base, volume_uuid, snapshot_uuid) for base in _bases(directory)):
                raise errors.Corrupt(what=f"{e.what}, and it stands on volume {volume_uuid}; restore it first") from e
            continue
        if record.base is not None and _is_within(record.base, volume_uuid, snapshot_uuid):
            found.append(record)
    return sorted(found, key=lambda record: (record.name, record.uuid))


def told(found: list[VolumeRecord]) -> str:
    """Return linked clones for people: their names, and which of them are deleted."""
    return ", ".join(f"{r.name} ({r.uuid}{', deleted' if r.status == 'Deleted' else ''})" for r in found)


def _is_within(base: str, volume_uuid: str, snapshot_uuid: str | None) -> bool:
    found = layout.base_of(base)
    return found is not None and found[0] == volume_uuid and snapshot_uuid in (None, found[1])


def _bases(directory: Path) -> Iterator[str]:
    """Give what the images in directory stand on, as far as they can be read."""
    for name in os.listdir(directory):
        with suppress(FileNotFoundError, errors.Refused):
            fd = inspector.open_image(directory / name)
            try:
                backing = qcow2.read_header(fd, path=directory / name).backing_name
            finally:
                os.close(fd)
            if backing is not None:
                yield backing
