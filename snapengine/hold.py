"""Hold a volume for a verb: its lock taken, what a crash left put right, and every VM kept out of its active image."""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from snapengine import chain, durable, errors, imagelock, inventory, journal, layout, lock, records, resume, store, tree
from snapengine.draft import Place
from snapengine.inventory import VolumeRecord
from snapengine.store import Store


class Held(NamedTuple):
    """A volume under its lock: no other operation works on it, none is unfinished."""

    store: Store
    directory: Path
    volume: VolumeRecord
    place: Place

    @property
    def active(self) -> Path:
        """Return the path of the active image."""
        return self.directory / layout.active_name(self.volume)

    def image(self, uuid: str) -> Path:
        """Return the path of a snapshot's image."""
        return self.directory / layout.image(uuid)


class Image(NamedTuple):
    """An image that is kept from every QEMU: its inspected header and an open descriptor."""

    fd: int
    layer: chain.Layer


@contextmanager
def volume(opened: Store, directory: Path, verb: str, wait: float) -> Iterator[Held]:
    """
    Hold the lock of the volume in directory for the block, with what a crash left there put right.

    Raises Locked when another operation has it for longer than wait seconds, NotFound when the volume went.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock.exclusive(directory.parent, verb, wait))
            _settle(opened.root, directory)
            _note_move(opened)
            record = _relocated(directory)
            _tidy(directory, record)
        except FileNotFoundError as e:
            if directory.is_dir():
                raise
            name = directory.parent.name.removeprefix("vol-")
            raise errors.NotFound(kind="volume", name=name, hint="it was removed meanwhile") from e
        yield Held(opened, directory, record, place(opened, directory, verb))


def _tidy(directory: Path, record: VolumeRecord) -> None:
    """
    Remove what cut-off replacements left in directory, once records and active image agree.

    Where they do not, an operation's entry was lost, and what it prepared may be all that describes a snapshot.
    """
    if any(map(layout.is_new, os.listdir(directory))):
        latest = tree.latest(record)
        chain.layer(directory / layout.active_name(record), chain.expected(layout.image(latest) if latest else None))
        durable.remove_left_over(directory)


def _note_move(opened: Store) -> None:
    """Write the root down where the store was moved, under the lock of who writes that record too."""
    if opened.record.root != str(opened.root):
        with lock.exclusive(opened.root, "note a move"):
            store.note_move(store.open_store(opened.root))


def _relocated(directory: Path) -> VolumeRecord:
    """Return the volume's record; where the store was moved, write all paths in the volume's records anew first."""
    stored = records.stored_volume(directory)
    volume = records.placed(stored, directory)
    if volume is not stored:
        for snapshot in records.contents(directory).snapshots.values():
            durable.write(directory / layout.record(snapshot.uuid), inventory.encode(snapshot))
        durable.write(directory / layout.record(volume.uuid), inventory.encode(volume))
    return volume


@contextmanager
def image(work: Held) -> Iterator[Image]:
    """
    Keep every VM out of the volume's active image for the block.

    Raises InUse when one has it open, Refused for a bad image or one that does not stand on the latest snapshot as the
    records say, Corrupt for a missing one, Conflict when the volume is not Ready.
    """
    _check_ready(work.volume)
    with kept(work, work.active, tree.latest(work.volume)) as held:
        if os.fstat(held.fd).st_nlink != 1:
            what = f"{work.active} has another name elsewhere, and what is written to one shows in both; copy it first"
            raise errors.Conflict(what=what)
        yield held


@contextmanager
def kept(work: Held, path: Path, base: str | None) -> Iterator[Image]:
    """Keep every VM out of the image at path, which must stand on the snapshot base; errors as for image()."""
    expected = chain.expected(layout.image(base) if base else None)
    with ExitStack() as stack:
        try:
            fd = stack.enter_context(imagelock.held(path, work.volume.uuid))
        except FileNotFoundError as e:
            raise errors.Corrupt(what=f"the image {path} is missing") from e
        yield Image(fd, chain.opened(fd, path, expected))


def _check_ready(volume: VolumeRecord) -> None:
    if volume.status != "Ready" or volume.state != "Enabled":
        state = f"{volume.state}, {volume.status}"
        raise errors.Conflict(what=f"volume {volume.uuid} is {state}; it must be Enabled and Ready")


def place(opened: Store, directory: Path, verb: str) -> Place:
    """Return where a new operation works, with a fresh uuid."""
    below = os.path.relpath(directory, opened.root)
    return Place(uuid.uuid4().hex, verb, below, store.now(), os.getpid())


def _settle(root: Path, directory: Path) -> None:
    """Undo or finish what dead operations left of the volume in directory, whose lock we hold."""
    below = os.path.relpath(directory, root)
    for entry in journal.entries(root):
        if entry.directory == below:
            resume.resume(root, entry)
