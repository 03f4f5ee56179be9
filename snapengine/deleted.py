"""The deleted volumes of a store: where they lie, and what their records say."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snapengine import errors, layout, records, store, units
from snapengine.inventory import VolumeRecord
from snapengine.records import Contents


def directories(root: Path) -> Iterator[Path]:
    """Give the `snapshots` directory of every deleted volume."""
    return store.within(root, layout.TRASH)


def volumes(root: Path) -> Iterator[tuple[Path, VolumeRecord]]:
    """Give the directory and the record of every deleted volume; what is left out is the same as in store.every()."""
    yield from store.readable(directories(root), lambda directory: (directory, records.read_volume(directory)))


def every(root: Path) -> Iterator[Contents]:
    """Give the records of every deleted volume; what is left out is the same as in store.every()."""
    yield from store.readable(directories(root), store.intact)


def find(root: Path, volume: str) -> Path:
    """Return the `snapshots` directory of the deleted volume with this uuid; NotFound without one."""
    for directory in directories(root):
        if directory.parent.name == f"vol-{volume}":
            return directory
    raise errors.unknown("deleted volume", volume)


def has(root: Path, volume: str) -> bool:
    """Tell whether there is a deleted volume with this uuid."""
    return any(directory.parent.name == f"vol-{volume}" for directory in directories(root))


def allocated(directory: Path) -> int:
    """Return the bytes that the files of the volume in directory take; two names of one file count once."""
    found = {}
    with suppress(FileNotFoundError):  # it has just been deleted, or recovered
        for name in os.listdir(directory):
            with suppress(FileNotFoundError):  # a verb has just renamed or removed it
                status = os.lstat(directory / name)
                found[status.st_ino] = units.allocated(status)
    return sum(found.values())
