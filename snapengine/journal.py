"""
What is under way: one file an operation, `journal/<operation>.json`, there from before its first step to its end.

An entry says enough for any later process to undo or finish the operation (resume.resume). Its file is locked by
the process that works on it, so that recovery tells a dead operation from one that runs.

The entry of an operation on several volumes has a member for each. One rename of its file, to
`journal/<operation>.decided.json`, decides for all of them; lock and content stay.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from snapengine import durable, errors, intent, inventory, layout, lock, presence, records
from snapengine.intent import Entry

_REQUEST = re.compile(r"[0-9a-f]{1,64}", re.ASCII)


@contextmanager
def begun(root: Path, entry: Entry) -> Iterator[None]:
    """
    Write entry durably and hold its lock for the block.

    The block ends the entry by drop(); if it does not, the entry stays for recovery. When writing fails, nothing is
    left: an entry that is cut off was never begun, so recovery removes it.
    """
    path = _begun(root, entry.uuid)
    durable.make_directory(path.parent)  # empty at rest, so a backup may have left it out
    fd = lock.made(path, 0o644)  # a recovery removes one that it sees still empty and unlocked
    try:
        _fill(fd, path, entry)
        yield
    finally:
        lock.release(fd)


def _fill(fd: int, path: Path, entry: Entry) -> None:
    try:
        durable.fill(fd, path, inventory.encode(entry))
        durable.sync_directory(path.parent)
    except BaseException:
        durable.unlink(path)
        raise


def decide(root: Path, operation: str) -> None:
    """Decide, durably, that an operation on several volumes happens: before it goes back, from now on forward."""
    durable.rename(_begun(root, operation), _decided(root, operation))
    durable.sync_directory(root / layout.JOURNAL)


def is_decided(root: Path, operation: str) -> bool:
    """Tell whether an operation on several volumes was decided."""
    return presence.is_there(_decided(root, operation))


def drop(root: Path, operation: str) -> None:
    """Remove the entry of an operation that has ended; it needs no sync, since doing the end again is harmless."""
    durable.unlink(path_of(root, operation))


def end(root: Path, entry: Entry) -> None:
    """
    Remove the entry of an operation that is done; where a call of a server asked for it, to where the server looks.

    That rename tells, whoever brings the operation to its end and whatever is killed meanwhile, that the call is done.
    """
    if entry.request is None or _REQUEST.fullmatch(entry.request) is None:
        return drop(root, entry.uuid)
    target = _ended(root, entry.request)
    durable.make_directory(target.parent, layout.PRIVATE)
    with suppress(FileNotFoundError):
        durable.rename(path_of(root, entry.uuid), target)


def has_ended(root: Path, request: str) -> bool:
    """Tell whether an operation that this call of a server asked for is done; known until it is forgotten."""
    return presence.is_there(_ended(root, request))


def ended(root: Path, request: str) -> Entry:
    """Return the entry, as it was begun, of an operation of this call that is done."""
    path = _ended(root, request)
    return inventory.decode(records.read_bytes(path), Entry, path)


def forget(root: Path, request: str) -> None:
    """Let go of what tells that an operation of this call is done, once its client can be told."""
    durable.unlink(_ended(root, request))


def entries(root: Path) -> tuple[Entry, ...]:
    """
    Return every entry, running or left over, oldest first; one that is cut off was never begun and is left out.

    Raises Corrupt where one is whole but wrong: whoever works on a volume must not overlook it.
    """
    return _sorted(read(root, name) for name in operations(root))


def readable(root: Path) -> tuple[Entry, ...]:
    """Return the entries as entries() does, without those that are wrong or can't be read: for whoever only looks."""
    return _sorted(_readable(root, name) for name in operations(root))


def claimed(root: Path) -> set[Path]:
    """Return the paths of all files that an operation here makes, replaces or removes: they are recovery's business."""
    parts = [part for entry in readable(root) for part in intent.parts(entry)]
    return {root / part.directory / name for part in parts for name in intent.names(part)}


def _readable(root: Path, operation: str) -> Entry | None:
    try:
        return read(root, operation)
    except (errors.Corrupt, OSError):
        return None


def _sorted(found: Iterable[Entry | None]) -> tuple[Entry, ...]:
    return tuple(sorted((entry for entry in found if entry is not None), key=lambda e: (e.started, e.uuid)))


def operations(root: Path) -> list[str]:
    """Return the uuids of all operations that have a file here; none where the directory is missing."""
    try:
        found = os.listdir(root / layout.JOURNAL)
    except FileNotFoundError:
        return []
    return sorted({name for name in map(layout.operation_of, found) if name is not None})


def read(root: Path, operation: str) -> Entry | None:
    """
    Return an operation's entry; None when it is gone, or cut off.

    Raises Corrupt for one that is whole but wrong: nothing that it names may lie outside its own directory.
    """
    for path in _paths(root, operation):
        with suppress(FileNotFoundError):
            return _decoded(root, operation, path, records.read_bytes(path))
    return None


def _decoded(root: Path, operation: str, path: Path, data: bytes) -> Entry | None:
    if not is_whole(data):
        return None
    entry = inventory.decode(data, Entry, path)
    if entry.uuid != operation or not intent.is_confined(root, entry):
        raise errors.Corrupt(what=f"journal entry {path} names what is not its own; it was not written by snapengine")
    return entry


def is_whole(data: bytes) -> bool:
    """Tell whether data is a whole JSON document: a file that a power cut cut off is not."""
    try:
        msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    except RecursionError:  # deeper than anything that we write and cut off
        return True
    return True


def is_running(root: Path, operation: str) -> bool:
    """Tell whether a living process works on the operation."""
    with adopted(root, operation) as ours:
        return not ours and presence.is_there(path_of(root, operation))


@contextmanager
def adopted(root: Path, operation: str) -> Iterator[bool]:
    """Hold the lock of an entry that a dead process left; gives False when its process lives, or it is no file."""
    path = path_of(root, operation)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # a link, or not for us to read: whoever works on a volume says so
        yield False
        return
    try:
        yield lock.try_flock(fd) and lock.names(fd, path)
    finally:
        lock.release(fd)


def path_of(root: Path, operation: str) -> Path:
    """Return the path of an operation's entry as it is now."""
    begun, decided = _paths(root, operation)
    return decided if not presence.is_there(begun) and presence.is_there(decided) else begun


def _paths(root: Path, operation: str) -> tuple[Path, Path]:
    """Return where an entry may be, in the order in which to look: it moves from the one to the other and not back."""
    return _begun(root, operation), _decided(root, operation)


def _ended(root: Path, request: str) -> Path:
    return root / layout.ENDED / layout.record(request)


def _begun(root: Path, operation: str) -> Path:
    return root / layout.JOURNAL / layout.record(operation)


def _decided(root: Path, operation: str) -> Path:
    return root / layout.JOURNAL / layout.decided(operation)
