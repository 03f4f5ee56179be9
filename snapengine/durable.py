"""
The only module that syncs, renames, links or removes state.

A name is durable once its directory was synced, and content once its file was: DESIGN, section 8, tells which of
both the tools do themselves.
"""

import errno
import logging
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import IO

from snapengine import attributes, errors, layout, units

_BLOCK = 64 * units.KIB
_ZEROS = bytes(_BLOCK)

log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[IO[bytes]]:
    """
    Open a file that takes path's place, whole and durably, when the block ends well.

    It has this mode, or else the owner and mode of what has the name. When the block raises, path is as it was and
    nothing is left over.
    """
    new = path.with_name(layout.new(path.name, uuid.uuid4().hex))
    try:
        with _placed(path), _create(new, 0o644 if mode is None else mode) as f:
            if mode is None:
                attributes.resemble(f.fileno(), (path,))
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.rename(new, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(new)
        raise
    sync_directory(path.parent)


def write(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write data to path, whole and durably: path holds the old content or all of data at every instant."""
    with replacing(path, mode) as f:
        f.write(data)


def prepare(path: Path, data: bytes, mode: int = 0o644, like: Iterable[Path] = ()) -> None:
    """
    Write data to a new file at path and sync it; its name is durable after the next sync_directory.

    Its owner and mode are those of the first file of like that is there, else it has this mode.
    """
    with _create(path, mode) as f:
        attributes.resemble(f.fileno(), like)
        fill(f.fileno(), path, data)


def fill(fd: int, path: Path, data: bytes) -> None:
    """Write data to the new file at path, open as fd, and sync it; its name is durable after sync_directory."""
    with _placed(path), open(fd, "wb", closefd=False) as f:
        f.write(data)
        f.flush()
        os.fsync(fd)


@contextmanager
def _placed(path: Path) -> Iterator[None]:
    """Let an error that names no file, as that of a write does not, name the directory of path."""
    try:
        yield
    except OSError as e:
        if e.filename is None:
            e.filename = str(path.parent)
        raise


def reserve(path: Path, mode: int = 0o600) -> None:
    """Make an empty file at path, which must be new, for others to write to; by default nobody else may read it yet."""
    _create(path, mode).close()


def copy(source: int, target: Path, told: Callable[[int], None]) -> None:
    """
    Make target, a new file, hold what the open file source does; what is zeros takes no room in it. Not synced.

    Holes of source are not asked for: some file systems tell wrong ones. told is called with the bytes of each piece.
    """
    with _create(target, 0o644) as f:
        pour(source, f.fileno(), told)


def pour(source: int, target: int, told: Callable[[int], None] = lambda length: None) -> None:
    """Do what copy() does into target, a new file that is open."""
    size = os.fstat(source).st_size
    for start in range(0, size, units.MIB):
        piece = os.pread(source, units.MIB, start)
        for begin, end in _data(piece):
            _write(target, piece[begin:end], start + begin)
        told(len(piece))
    os.ftruncate(target, size)


def _write(fd: int, data: bytes, at: int) -> None:
    """Write all of data: a disk that gets full takes what fits and tells only how much that was."""
    while data:
        done = os.pwrite(fd, data, at)
        data, at = data[done:], at + done


def _data(piece: bytes) -> Iterator[tuple[int, int]]:
    """Give the runs of blocks of piece that are not all zeros."""
    blocks = range(0, len(piece), _BLOCK)
    for is_zero, run in groupby(blocks, lambda at: _ZEROS.startswith(piece[at : at + _BLOCK])):
        if not is_zero:
            starts = list(run)
            yield starts[0], starts[-1] + _BLOCK


def unnamed(directory: Path) -> int:
    """Return a descriptor, which the caller closes, of a new file in directory that has no name and is ours alone."""
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as e:
        if e.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise
    path = directory / layout.new("copy", uuid.uuid4().hex)
    with _create(path, 0o600):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    unlink(path)
    return fd


def remove_left_over(directory: Path) -> None:
    """Remove what cut-off replacements left in directory, and say so; the caller holds the lock of who writes there."""
    for path in map(directory.joinpath, filter(layout.is_new, os.listdir(directory))):
        if not path.is_dir():
            unlink(path)
            log.warning("removed %s, which a verb that was cut off had left half-made", path)


def rename(source: Path, target: Path) -> None:
    """Give source the name target, replacing it; durable after the next sync_directory."""
    os.rename(source, target)


def link(source: Path, target: Path) -> None:
    """Give source a second name; FileExistsError where target is there. Durable after the next sync_directory."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as e:
        if e.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        why = f"can't link {source} to {target.name}: {e.strerror}"
        raise errors.Denied(what=f"{why}; run as its owner or as root, on a file system with hard links") from e


def unlink(path: Path) -> None:
    """Remove path; that it is gone already is fine."""
    with suppress(FileNotFoundError):
        os.unlink(path)


def make_directory(path: Path, mode: int = 0o755, *, synced: bool = True) -> None:
    """Make path and its parents, each name durable, path's own only if synced; that it exists, in any mode, is fine."""
    if path.is_dir():
        return
    make_directory(path.parent, mode)
    with suppress(FileExistsError):
        os.mkdir(path, mode)
        os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & ~0o022)  # what the umask or a default ACL would allow
    if synced:
        sync_directory(path.parent)


def remove_tree(path: Path) -> None:
    """Remove a directory with all in it, as far as that can be done: whoever needs it gone looks."""
    shutil.rmtree(path, ignore_errors=True)


def room(directory: Path) -> int:
    """Return the bytes that the file system of directory has free for us."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


def require_room(directory: Path, size: int) -> None:
    """Raise NoSpace when the file system of directory has less than size bytes free for us."""
    free = room(directory)
    if size > free:
        need, there = units.format_size(size), units.format_size(free)
        raise errors.NoSpace(what=f"no room in {directory}: {need} may be needed, {there} are free; make room first")


def sync_file(path: Path) -> None:
    """Make the content of path durable."""
    _sync(path, os.O_RDONLY)


def sync_directory(path: Path) -> None:
    """Make the names in the directory path durable."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create(path: Path, mode: int) -> IO[bytes]:
    """Open a new file for writing; it must not exist."""
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode), "wb")
