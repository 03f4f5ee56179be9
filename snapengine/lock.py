"""
Locks between operations of the engine: flock on a file of the volume, the store, or a journal entry.

A lock ends with the last process that holds its descriptor, and every tool inherits that (invariant 6): a dead engine
never blocks, a tool that outlives it still does. Unlocking is explicit, since a tool of another thread may have
inherited the descriptor too.
"""

import errno
import fcntl
import logging
import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from snapengine import called, errors, layout

DEFAULT_WAIT = 60.0
COPYING = "create full snapshot"
MOMENT = 1.0  # seconds; whoever waits for longer is told for whom

_waits: ContextVar[list[float] | None] = ContextVar("_waits", default=None)

log = logging.getLogger(__name__)


@contextmanager
def watched() -> Iterator[list[float]]:
    """Give a list that gets how long each wait for a lock took, in seconds, that this thread has in the block."""
    waits: list[float] = []
    token = _waits.set(waits)
    try:
        yield waits
    finally:
        _waits.reset(token)


@contextmanager
def exclusive(directory: Path, verb: str, wait: float = DEFAULT_WAIT) -> Iterator[None]:
    """
    Hold the lock of the volume (or store) in directory for the block.

    Waits for up to `wait` seconds, then raises Locked with the holder's pid and verb, or the pids of those who share
    it. Raises FileNotFoundError when the directory is gone, also when it went while we waited.
    """
    with _held(directory, fcntl.LOCK_EX, verb, wait):
        yield


@contextmanager
def shared(directory: Path, verb: str, wait: float = DEFAULT_WAIT) -> Iterator[None]:
    """Hold the lock of the volume in directory together with others that only read images."""
    with _held(directory, fcntl.LOCK_SH, verb, wait):
        yield


@contextmanager
def _held(directory: Path, kind: int, verb: str, wait: float) -> Iterator[None]:
    fd = _acquire(directory / layout.LOCK, kind, verb, time.monotonic() + wait, wait)
    if fd is None:
        yield
        return
    try:
        yield
    finally:
        if kind == fcntl.LOCK_EX:
            _unsign(fd)
        release(fd)


def _acquire(path: Path, kind: int, verb: str, deadline: float, wait: float) -> int | None:
    """Return a locked descriptor of path, the file that has this name now and not one that had it before; or _open."""
    while True:
        fd = _open(path, kind)
        if fd is None:
            return None
        try:
            _wait_for(fd, kind, path, deadline, wait)
            if os.path.samestat(os.fstat(fd), os.stat(path)):
                os.set_inheritable(fd, True)
                if kind == fcntl.LOCK_EX:
                    _sign(fd, verb)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _open(path: Path, kind: int) -> int | None:
    """
    Return a descriptor of the file at path, made where it is not there.

    To whoever only reads, a file that it can't write to will do, and where it can make none nobody holds it: None then.
    """
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as e:
        if kind != fcntl.LOCK_SH or e.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None


def note(directory: Path, verb: str) -> None:
    """Tell those who wait for the lock of directory, which we hold, that it is for this verb."""
    with suppress(OSError):
        fd = os.open(directory / layout.LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            _sign(fd, verb)
        finally:
            os.close(fd)


def _sign(fd: int, verb: str) -> None:
    """Note for who waits by whom the lock is held; a full disk, on which the trash can still be purged, has no room."""
    with suppress(OSError):
        if _unsign(fd):
            os.pwrite(fd, f"{verb} (pid {os.getpid()})".encode(), 0)


def _unsign(fd: int) -> bool:
    """
    Take the note away: who shares the lock next writes none, and must not be taken for us.

    A file that has another name too, which may hold anything, is left as it is; False then.
    """
    with suppress(OSError):
        if os.fstat(fd).st_nlink == 1:
            os.ftruncate(fd, 0)
            return True
    return False


def _wait_for(fd: int, kind: int, path: Path, deadline: float, wait: float) -> None:
    if try_flock(fd, kind):
        return
    begun = time.monotonic()
    try:
        _wait_longer(fd, kind, path, deadline, wait)
    finally:
        if (waits := _waits.get()) is not None:
            waits.append(time.monotonic() - begun)


def _wait_longer(fd: int, kind: int, path: Path, deadline: float, wait: float) -> None:
    pause = 0.001
    notice = time.monotonic() + MOMENT
    while not try_flock(fd, kind):
        now = time.monotonic()
        if now >= deadline:
            holder = _holder(fd)
            error = errors.Copying if holder.startswith(COPYING) else errors.Locked
            raise error(what=_what(path), holder=holder, seconds=wait)
        if now >= notice:
            notice = deadline
            log.info("waiting for up to %g s: %s is locked by %s", wait, _what(path), _holder(fd))
        time.sleep(pause * random.uniform(0.5, 1.5))
        pause = min(pause * 1.3, 0.02)


def _what(path: Path) -> str:
    name = path.parent.name
    if not name.startswith("vol-"):
        return f"the primary storage {path.parent}"
    return f"volume {called.volume(path.parent / layout.SNAPSHOTS)}"


def _holder(fd: int) -> str:
    """Return who has the lock of fd's file, for people: who shares it notes no verb, but the kernel tells its pid."""
    if noted := os.pread(fd, 256, 0).decode("utf-8", "replace"):
        return noted
    pids = ", ".join(_pids(fd))
    return f"another operation (pid {pids})" if pids else "another operation"


def _pids(fd: int) -> list[str]:
    """
    Return the pids that took a flock of fd's file, none where the kernel shows none, as on btrfs.

    proc_locks(5): `1: FLOCK  ADVISORY  READ 4711 08:01:1234 0 EOF`; who only waits has `->` before the kind.
    """
    found = os.fstat(fd)
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    with suppress(OSError):
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        return sorted(line[4] for line in lines if line[1] == "FLOCK" and line[5] == wanted and line[4].isdigit())
    return []


def try_flock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    """Take the flock of an open file without waiting; tell whether that worked."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def hold(fd: int) -> None:
    """Take the flock of an open file, waiting for it; the tools that we start inherit it."""
    os.set_inheritable(fd, True)
    fcntl.flock(fd, fcntl.LOCK_EX)


def made(path: Path, mode: int) -> int:
    """
    Return a new file at path, open and locked; raises FileExistsError.

    Until it is locked, whoever tidies up may take it for left behind and remove it: again then.
    """
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
        hold(fd)
        if names(fd, path):
            return fd
        release(fd)


def release(fd: int) -> None:
    """Give back the flock of an open file, for every process that has inherited it, and close it."""
    fcntl.flock(fd, fcntl.LOCK_UN)
    os.close(fd)


def names(fd: int, path: Path) -> bool:
    """Tell whether path still is the name of the open file fd."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False
