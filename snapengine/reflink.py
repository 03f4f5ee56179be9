"""
Files that share extents: on XFS and btrfs a copy costs no room and no time (ioctl_ficlone(2)).

A file system is believed only after a test: two copies that shared more than they should would lose data.
"""

import errno
import fcntl
import os
import tempfile
from pathlib import Path

from snapengine import errors, units

_FICLONE = 0x40049409
_NOT_HERE = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS)
_PIECE = 4 * units.KIB


def is_possible(directory: Path) -> bool:
    """
    Tell whether files in directory can share extents, and stay apart when one of them is written to.

    Makes two files without a name there, 12 KiB together, for the test.
    """
    old, new = os.urandom(2 * _PIECE), os.urandom(_PIECE)
    with tempfile.TemporaryFile(dir=directory) as source, tempfile.TemporaryFile(dir=directory) as target:
        source.write(old)
        source.flush()
        if not share(source.fileno(), target.fileno()):
            return False
        os.pwrite(target.fileno(), new, _PIECE)
        apart = os.pread(source.fileno(), 2 * _PIECE, 0) == old
        return apart and os.pread(target.fileno(), 2 * _PIECE, 0) == old[:_PIECE] + new


def copy(source: int, target: Path) -> None:
    """
    Let the existing file target hold, on the same extents, what the open file source holds.

    Raises Conflict where the file system can't, as after a store was brought back onto another one at the same place.
    """
    fd = os.open(target, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not share(source, fd):
            what = f"files in {target.parent} can't share extents, as they could where the store lay before"
            raise errors.Conflict(what=f"{what}; run 'snapengine config reflinks auto', then try again")
    finally:
        os.close(fd)


def share(source: int, target: int) -> bool:
    """Let the open file target hold, on the same extents, what source holds; False where their file system can't."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as e:
        if e.errno not in _NOT_HERE:
            raise
        return False
    return True
