"""Hold a volume for a verb: its lock taken, what a crash left put right, and every VM kept out of its active image."""

import logging
import os
import random
import stat
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from snapengine import chain, errors, imagelock, journal, layout, lock, settle, store, tidy, tree
from snapengine.draft import Place
from snapengine.intent import Entry
from snapengine.inventory import VolumeRecord
from snapengine.store import Store

log = logging.getLogger(__name__)


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
def volume(opened: Store, directory: Path, verb: str, wait: float, *, below: bool = False) -> Iterator[Held]:
    """
    Hold the lock of the volume in directory for the block, with what a crash left there put right.

    With below the volumes that it stands on are held too, as reading() does. Raises Locked when another operation has
    one of them for longer than wait seconds, NotFound when the volume went.
    """
    with volumes(opened, (directory,), verb, wait, below=below) as (work,):
        yield work


@contextmanager
def volumes(
    opened: Store, directories: Sequence[Path], verb: str, wait: float, *, below: bool = False
) -> Iterator[tuple[Held, ...]]:
    """Hold several volumes, each as volume() does; their locks are taken in the order of their uuids."""
    with ExitStack() as stack:
        bases = [base for directory in directories for base in chain.bases(directory)] if below else []
        stack.enter_context(_locked(opened.root, directories, verb, wait, _settled_below(opened, bases, verb, wait)))
        yield tuple(_held(opened, directory, verb) for directory in directories)


@contextmanager
def reading(opened: Store, directory: Path, verb: str, wait: float) -> Iterator[None]:
    """
    Hold the locks of the volume in directory, and of those that it stands on, together with others that only read.

    What a crash left of them is put right first. Raises Locked and NotFound as volume() does.
    """
    found = _settled_below(opened, [directory, *chain.bases(directory)], verb, wait)
    with _locked(opened.root, (), verb, wait, found):
        yield


@contextmanager
def looking(directory: Path, verb: str, wait: float) -> Iterator[None]:
    """Hold the locks as reading() does, for whoever only looks: what a crash left stays as it is, and stops nobody."""
    with ExitStack() as stack:
        for each in sorted({directory, *chain.bases(directory)}, key=lambda each: each.parent.name):
            with present(each):
                stack.enter_context(lock.shared(each.parent, verb, wait))
        yield


def _settled_below(opened: Store, directories: Sequence[Path], verb: str, wait: float) -> list[Path]:
    """Return directories after what a crash left there was put right, which needs their locks for a moment."""
    for directory in directories:
        if any(directory in settle.directories(opened.root, entry) for entry in journal.entries(opened.root)):
            with volume(opened, directory, verb, wait):
                pass
    return list(directories)


def _held(opened: Store, directory: Path, verb: str) -> Held:
    with present(directory):
        record = tidy.directory(opened, directory)
    return Held(opened, directory, record, place(opened, directory, verb))


@contextmanager
def present(directory: Path) -> Iterator[None]:
    """Raise NotFound where the block meets that the volume in directory went."""
    try:
        yield
    except FileNotFoundError as e:
        if directory.is_dir():
            raise
        name = layout.volume_of(directory)
        raise errors.NotFound(kind="volume", name=name, hint="it was removed meanwhile") from e


def _locked(root: Path, directories: Sequence[Path], verb: str, wait: float, reading: Sequence[Path]) -> ExitStack:
    """
    Return what holds the locks of the volumes in directories, after all that dead operations left of them was settled,
    and, shared, those of the volumes in reading.

    An operation on several volumes may need the lock of one that is not ours, and we never wait for a lock while we
    hold others out of order: ours are given back then, and taken again a moment later.
    """
    deadline = time.monotonic() + wait
    while True:
        with ExitStack() as stack:
            for directory in sorted({*directories, *reading}, key=lambda directory: directory.parent.name):
                take = lock.exclusive if directory in directories else lock.shared
                with present(directory):
                    stack.enter_context(take(directory.parent, verb, wait))
            try:
                _settle(root, directories)
                return stack.pop_all()
            except errors.Locked:
                if time.monotonic() >= deadline:
                    raise
        time.sleep(random.uniform(0.01, 0.03))


@contextmanager
def image(work: Held) -> Iterator[Image]:
    """
    Keep every VM out of the volume's active image for the block.

    Raises InUse when one has it open, Refused for a bad image or one that does not stand on the latest snapshot as the
    records say, Corrupt for a missing one, Conflict when the volume is not Ready, or the image has another name.
    """
    require_ready(work.volume)
    with kept(work, work.active, work.volume) as held:
        require_single(held.fd, work.active)
        yield held


@contextmanager
def seen(work: Held) -> Iterator[Image]:
    """Give the volume's active image, which nobody uses now; errors as for image(), but nobody is kept out of it."""
    require_ready(work.volume)
    expected = chain.expected(tree.backing(work.volume, work.volume))
    with ExitStack() as stack:
        with chain.advised(work.active):
            fd = stack.enter_context(imagelock.seen(work.active, work.volume.uuid))
            layer = chain.opened(fd, work.active, expected)
        yield Image(fd, layer)


@contextmanager
def kept(work: Held, path: Path, record: tree.Standing) -> Iterator[Image]:
    """Keep every VM out of the image at path, which must stand on what its record says; errors as for image()."""
    expected = chain.expected(tree.backing(work.volume, record))
    with ExitStack() as stack:
        with chain.advised(path):
            fd = stack.enter_context(imagelock.held(path, work.volume.uuid))
            layer = chain.opened(fd, path, expected)
        yield Image(fd, layer)


def require_single(file: int | Path, path: Path) -> None:
    """
    Raise Conflict where the open or named file, an image that will be written to at path, has another name too.

    What is no regular file is left to whoever opens it, who refuses it for what it is.
    """
    found = os.fstat(file) if isinstance(file, int) else os.lstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_nlink != 1:
        what = f"{path} has another name elsewhere, and what is written to one shows in both"
        command = f"cp -p {path} {path}.copy && mv {path}.copy {path}"
        raise errors.Conflict(what=f"{what}; put a copy in its place: '{command}'")


def require_ready(volume: VolumeRecord) -> None:
    """Raise Conflict unless the volume is Enabled and Ready."""
    if volume.status != "Ready" or volume.state != "Enabled":
        state = f"{volume.state}, {volume.status}"
        raise errors.Conflict(what=f"volume {volume.uuid} ({volume.name}) is {state}; it must be Enabled and Ready")


def place(opened: Store, directory: Path, verb: str) -> Place:
    """Return where a new operation works, with a fresh uuid."""
    below = os.path.relpath(directory, opened.root)
    return Place(uuid.uuid4().hex, verb, below, store.now(), os.getpid(), opened.request)


def _settle(root: Path, directories: Sequence[Path]) -> None:
    """Undo or finish what dead operations left of the volumes in directories, whose locks we hold; each is told."""
    for entry in journal.entries(root):
        if not set(settle.directories(root, entry)).isdisjoint(directories):
            if outcome := settled(root, entry, directories):
                told = f"{entry.verb} of {entry.volume_uuid}, begun {entry.started}"
                log.warning("recovered: %s: %s", told, outcome)


def is_of_volumes(entry: Entry) -> bool:
    """Tell whether an operation works on volumes that are there, whose locks whoever settles it must hold."""
    return bool(entry.members) or entry.directory.endswith(layout.SNAPSHOTS)


def settled(root: Path, entry: Entry, directories: Sequence[Path] = ()) -> str | None:
    """
    Settle a dead operation with the locks of all its volumes, and return what became of it; see settle.settle.

    The locks of the volumes in directories are ours already. Never waits: raises Locked when another operation has
    one of the others. None when somebody else has settled it.
    """
    with ExitStack() as stack:
        for directory in settle.directories(root, entry):
            if directory not in directories:
                stack.enter_context(_other(directory, entry))
        if journal.read(root, entry.uuid) is None:
            return None
        settle.require_sound(root, entry)
        return settle.settle(root, entry)


@contextmanager
def _other(directory: Path, entry: Entry) -> Iterator[None]:
    """Hold the lock of a volume that an unfinished operation has begun to change."""
    try:
        with lock.exclusive(directory.parent, "recover", 0):
            yield
    except FileNotFoundError as e:
        if directory.is_dir() or not entry.members:
            raise
        what = f"{directory.parent} is gone, and {entry.verb} of {entry.started} is unfinished there; mount its disk"
        raise errors.Corrupt(what=what) from e
