"""
Locks against QEMU: its open-file-description locks on an image, and leases over the rename that freezes one.

What QEMU does with an image stands in its locks on bytes 100 and up, what it does not share in those from 200 up
(QEMU, "Image locking" in block/file-posix.c). A read lock of ours on byte 201 says that we share no writing.
"""

import errno
import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from snapengine import bytelock, called, errors, inspector

PATIENCE = 0.5  # seconds; a `qemu-img info` that just looks is gone by then

_USED, _NOT_SHARED, _RANGE = 100, 200, 64
_NO_WRITERS = _NOT_SHARED + 1


@contextmanager
def held(path: Path, volume: str) -> Iterator[int]:
    """
    Keep every QEMU that would write out of the image at path for the block; gives an open descriptor of it.

    QEMU then fails with 'Failed to get "write" lock'. Raises InUse with the holder's name when some QEMU, or a tool
    of its, has the image open; what only looks for a moment is waited for.
    """
    fd = inspector.open_image(path)
    try:
        os.set_inheritable(fd, True)
        bytelock.share(fd, _NO_WRITERS)
        _refuse_users(fd, path, volume)
        yield fd
    finally:
        bytelock.release(fd, _NO_WRITERS)
        os.close(fd)


@contextmanager
def seen(path: Path, volume: str) -> Iterator[int]:
    """Give an open descriptor of the image at path, which nobody uses now; as held, but nobody is kept out."""
    fd = inspector.open_image(path)
    try:
        _refuse_users(fd, path, volume)
        yield fd
    finally:
        os.close(fd)


def require_unused(path: Path, volume: str) -> None:
    """Raise InUse where some QEMU has the image at path open now."""
    with seen(path, volume):
        pass


def _refuse_users(fd: int, path: Path, volume: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while is_used(fd):
        if time.monotonic() > deadline:
            raise _in_use(fd, path, volume)
        time.sleep(0.01)


def is_used(fd: int) -> bool:
    """Tell whether another open file description holds one of QEMU's locks on the image."""
    return bytelock.is_locked(fd, _USED, _RANGE) or bytelock.is_locked(fd, _NOT_SHARED, _RANGE)


@contextmanager
def reading(fd: int, path: Path) -> Iterator[None]:
    """
    Keep every QEMU that would write out of the image open at fd for the block; those that read it too are fine.

    Raises Busy with the holder's name when some QEMU writes to it already.
    """
    os.set_inheritable(fd, True)
    bytelock.share(fd, _NO_WRITERS)
    try:
        if bytelock.is_locked(fd, _USED + 1, 1):
            raise errors.Busy(what=f"{path} is open for writing in {holder(fd)}; shut the VM down first")
        yield
    finally:
        bytelock.release(fd, _NO_WRITERS)


@contextmanager
def lease(fd: int, path: Path, volume: str) -> Iterator[None]:
    """
    For the block, know that no other process has the image open at all: even one that holds no lock yet.

    Such a QEMU would go on to write into the image that the block's rename freezes. Raises InUse when somebody has it
    open. Who opens it during the block waits in the kernel; afterwards it meets our image lock, which therefore is
    not given up before that opener is gone.
    """
    if not _lease_granted(fd, path, volume):
        yield  # no leases on this file system: _lease_granted has looked for other openers
        return
    try:
        yield
    finally:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        _outlast_writers(fd)


def _lease_granted(fd: int, path: Path, volume: str) -> bool:
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)  # ignored by default, where SIGIO would end the process
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            return True
        except OSError as e:
            if e.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOLCK):
                if openers(fd):
                    raise _in_use(fd, path, volume) from e
                return False
            if e.errno == errno.EACCES:
                raise errors.Denied(what=f"{path} belongs to another user; run as its owner or as root") from e
            if e.errno != errno.EAGAIN:
                raise
            if time.monotonic() > deadline:
                raise _in_use(fd, path, volume) from e
        time.sleep(0.005)


def _outlast_writers(fd: int) -> None:
    """
    Hold on until whoever waited in open() to write has met our image lock and gone, for a minute at most.

    Such an opener counts as a writer in the kernel although it has no descriptor yet that /proc could show, and while
    one does, no read lease is granted.
    """
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return
        time.sleep(0.005)


def may_have_writers(fd: int) -> bool:
    """
    Tell whether a process has the file that is open for reading as fd open, or mapped, for writing.

    True where the kernel can't tell: it grants a read lease on no file that has a writer.
    """
    fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        return True
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def holder(fd: int) -> str:
    """Return who else has fd's file open, for people: `qemu-system-x86_64 (pid 4711, guest db)`."""
    found = [_describe(pid) for pid in openers(fd)]
    return ", ".join(found) or "another process"


def openers(fd: int) -> list[int]:
    """Return the pids of the other processes that have fd's file open, as far as /proc shows them to us."""
    wanted = os.fstat(fd)
    return [pid for pid in _pids() if pid != os.getpid() and _has_open(pid, wanted)]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    directory = f"/proc/{pid}/fd"
    with suppress(OSError):
        for name in os.listdir(directory):
            with suppress(OSError):
                if os.path.samestat(os.stat(f"{directory}/{name}"), wanted):
                    return True
    return False


def _describe(pid: int) -> str:
    words: list[str] = []
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    name = words[0].rpartition("/")[2] if words else "a process"
    if "-name" in words[:-1]:
        guest = words[words.index("-name") + 1].partition(",")[0].removeprefix("guest=")
        return f"{name} (pid {pid}, guest {guest})"
    return f"{name} (pid {pid})"


def _in_use(fd: int, path: Path, volume: str) -> errors.InUse:
    return errors.InUse(volume=volume, name=called.behind(path.parent, volume), path=path, holder=holder(fd))
