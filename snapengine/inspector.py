"""
Decide whether a tool may be allowed to open an image: nothing that guests or strangers wrote is believed.

What is asked of a qcow2 image stands in checks.py, what of other formats in foreign.py.
"""

import errno
import os
import stat
import time
from pathlib import Path

from snapengine import errors, qcow2
from snapengine.checks import CHECKS, Expected, Facts

PATIENCE = 0.5  # seconds


def open_image(path: Path | str, dir_fd: int | None = None) -> int:
    """
    Return a read-only descriptor of the regular file at path; the caller closes it.

    Follows no symbolic link in the last component. Raises errors.Refused for anything but a regular file, which is not
    even opened then: some devices do something when they are. Raises errors.Busy where another process keeps a lease on
    it, as an operation does over one rename; other errors pass as they are.
    """
    require_regular(os.stat(path, dir_fd=dir_fd, follow_symlinks=False), path)
    try:
        fd = _open(path, dir_fd)
    except BlockingIOError as e:
        raise errors.Busy(what=f"another operation is just replacing {path}; try again") from e
    except OSError as e:
        if e.errno not in _IRREGULAR:
            raise
        raise errors.Refused(path=path, why=f"it is a {_IRREGULAR[e.errno]}", check="not-regular") from e
    try:
        require_regular(os.fstat(fd), path)
    except errors.Refused:
        os.close(fd)
        raise
    return fd


def _open(path: Path | str, dir_fd: int | None) -> int:
    """Open path; a lease on it, which an operation holds over one rename, is waited for up to PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=dir_fd)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def inspect(fd: int, path: Path, expected: Expected) -> qcow2.Header:
    """
    Return the header of the qcow2 image open at fd if no row of CHECKS has anything against it.

    path is only named in the error. Raises errors.Refused, its check the name of the first row that fails. Inspect
    again, and compare inode and mtime, before a commit point: whoever may write the file can change it in between.
    """
    status = os.fstat(fd)
    require_regular(status, path)
    facts = Facts(fd, status, qcow2.read_header(fd, path=path), expected)
    for check in CHECKS:
        if check.wrong(facts, facts.header):
            raise errors.Refused(path=path, why=check.reason(facts), check=check.name)
    return facts.header


_IRREGULAR = {errno.ELOOP: "symbolic link", errno.ENXIO: "socket or a device", errno.ENODEV: "device"}
_KINDS = {
    stat.S_IFDIR: "directory",
    stat.S_IFIFO: "FIFO",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "block device",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFSOCK: "socket",
}


def require_regular(status: os.stat_result, path: Path | str) -> None:
    """Raise errors.Refused unless status, of an open file, is a regular file's; path is for the error only."""
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        why = f"it is a {_KINDS.get(kind, 'special file')}, not a regular file"
        raise errors.Refused(path=path, why=why, check="not-regular")
