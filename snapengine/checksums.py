"""
Checksums: what the file of a frozen layer holds, as a sha256 that its record keeps, so that any change of it is found.

The file's content and not the guest's: that is one read of each layer in sequence, finds damage in tables too, does not
depend on the layers under it, and `sha256sum` gives the same. A verb that rewrites a frozen layer drops the checksum.
"""

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from snapengine import chain, errors, health, hold, journal, layout, lock, notes, records, settle, store, units
from snapengine.health import Problem
from snapengine.inventory import Struct
from snapengine.printed import Progress
from snapengine.store import Store

_KIND = "sha256:"
_PIECE = units.MIB


class Checksum(Struct, frozen=True, kw_only=True):
    """The checksum of a snapshot's image, `sha256:` and 64 hex characters; path is the image's."""

    uuid: str
    path: str
    checksum: str


def note(opened: Store, snapshot: str, wait: float, rate: int | None, progress: Progress | None) -> Checksum:
    """
    Return the checksum of a snapshot's image as its record has it; one that has none gets it, by reading the image.

    At most rate bytes a second are read, without a lock: it is taken for a moment before and after, and writers never
    wait. One durable replacement of the record: a crash leaves the old one or the new one. Raises Busy where the image
    was rewritten meanwhile, WrongStatus, NotFound, Locked, Refused, Corrupt.
    """
    directory = store.find_snapshot(opened.root, snapshot)
    path = directory / layout.image(snapshot)
    with lock.shared(directory.parent, "checksum", wait):
        record = records.shown_snapshot(directory, snapshot)
        fd = chain.open_layer(path)
    try:
        records.require_ready(record, "given a checksum")
        layer = chain.opened(fd, path)
        found = record.checksum or digest(fd, rate, progress)
    finally:
        os.close(fd)
    if record.checksum is None:
        with hold.volume(opened, directory, "checksum", wait) as work:
            record = records.read_snapshot(directory, snapshot)
            if not chain.is_unchanged(layer):
                raise errors.Busy(what=f"{path} was rewritten while it was read; try again")
            notes.write(work.directory / layout.record(snapshot), msgspec.structs.replace(record, checksum=found))
    return Checksum(uuid=snapshot, path=str(path), checksum=found)


def of_file(path: Path, rate: int | None = None) -> str:
    """Return the checksum of what a regular file holds; at most rate bytes a second are read."""
    fd = chain.open_layer(path)
    try:
        return digest(fd, rate)
    finally:
        os.close(fd)


def digest(fd: int, rate: int | None, progress: Progress | None = None) -> str:
    """Return the checksum of an open file, of which at most rate bytes a second are read."""
    found, size, begun = hashlib.sha256(), os.fstat(fd).st_size, time.monotonic()
    for at in range(0, size, _PIECE):
        found.update(os.pread(fd, _PIECE, at))
        done = min(at + _PIECE, size)
        if progress is not None:
            progress(done / size)
        if rate is not None:
            time.sleep(max(begun + done / rate - time.monotonic(), 0))
    return _KIND + found.hexdigest()


def problems(root: Path, directories: Iterable[Path], wait: float, rate: int | None) -> Iterator[Problem]:
    """
    Give the frozen images in these directories that do not hold what their checksums say.

    They are read without a lock, at most rate bytes a second; what differs is looked at again under the volume's lock,
    shared, and counts only if no verb has rewritten it meanwhile. Raises Locked as verify does.
    """
    for directory in directories:
        with suppress(errors.Corrupt, errors.NotFound, FileNotFoundError):  # told of elsewhere, or gone
            for uuid in sorted(records.contents(directory).snapshots):
                with suppress(errors.NotFound, errors.Corrupt, FileNotFoundError):
                    found = _of(root, directory, uuid, wait, rate)
                    yield from health.readable(uuid, directory / layout.image(uuid), found)


def _of(root: Path, directory: Path, uuid: str, wait: float, rate: int | None) -> Iterator[Problem]:
    path = directory / layout.image(uuid)
    record = records.read_snapshot(directory, uuid)
    if record.checksum is None or not path.is_file():
        return
    found = of_file(path, rate)
    if found == record.checksum:
        return
    with lock.shared(directory.parent, "verify", wait):
        is_same = records.read_snapshot(directory, uuid).checksum == record.checksum
        is_settled = all(directory not in settle.directories(root, entry) for entry in journal.readable(root))
        if is_same and is_settled and of_file(path) != record.checksum:
            message = f"the frozen image has changed: its checksum is {found}, the record says {record.checksum}"
            yield health.problem("content-changed", uuid, path, message, health.RESTORE_IMAGE)
