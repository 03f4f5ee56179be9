"""What `verify` tells of the journal: operations that were cut off, and files that are no entries of ours."""

from collections.abc import Iterator
from pathlib import Path

from snapengine import claims, errors, health, journal, settle, units
from snapengine.health import Problem
from snapengine.intent import Entry


def problems(root: Path) -> Iterator[Problem]:
    """Give what is wrong in the journal; an operation that runs is not."""
    for operation in journal.operations(root):
        path = journal.path_of(root, operation)
        yield from health.readable(operation, path, _of(root, operation, path))


def _of(root: Path, operation: str, path: Path) -> Iterator[Problem]:
    try:
        entry = journal.read(root, operation)
    except errors.Corrupt as e:
        repair = "if no newer snapengine wrote it, move it out of the store, then verify again"
        yield health.problem("journal-damaged", operation, path, e.what, repair)
        return
    if entry is not None and not journal.is_running(root, operation) and _is_there(root, operation):
        if (stale := _stale(root, entry)) is not None:
            repair = "its operation has ended: move the entry out of the store, then verify again"
            yield health.problem("journal-damaged", operation, path, stale, repair)
            return
        message = f"{entry.verb}, begun {_local(entry.started)}, was cut off"
        repair = health.SETTLE
        if not all(directory.is_dir() for directory in settle.directories(root, entry)):
            repair = "mount the disk of its volume; only if the volume is gone for good, remove this file"
        yield health.problem("unfinished", entry.volume_uuid, path, message, repair)


def _is_there(root: Path, operation: str) -> bool:
    """Tell whether an operation that nobody works on has an entry still; without one it ended while we looked."""
    return journal.path_of(root, operation).exists()


def _local(started: str) -> str:
    """Return when an operation began as people read it, or what stands there."""
    try:
        return units.local_time(started)
    except ValueError:
        return started


def _stale(root: Path, entry: Entry) -> str | None:
    """Return why recovery leaves an entry as it is, if it does so for good."""
    try:
        settle.require_sound(root, entry)
    except claims.Stale as e:
        return e.what
    except (errors.Error, FileNotFoundError):
        return None  # a bad image, or a record; told where it lies
    return None
