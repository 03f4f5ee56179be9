"""
Locks on bytes of a file (open file description locks, fcntl(2)): they end with the last descriptor of an open file.

Descriptors that were opened apart are several holders, also within one process.
"""

import fcntl
import os
import struct

_FLOCK = "hhqqi4x"  # struct flock


def share(fd: int, start: int) -> None:
    """Lock a byte together with others who share it; BlockingIOError where somebody has it alone."""
    _ask(fd, fcntl.F_OFD_SETLK, fcntl.F_RDLCK, start, 1)


def release(fd: int, start: int) -> None:
    """Give a byte back."""
    _ask(fd, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, start, 1)


def is_locked(fd: int, start: int, length: int = 1) -> bool:
    """Tell whether another open file has locked any of these bytes, shared or alone."""
    return _ask(fd, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, start, length) != fcntl.F_UNLCK


def _ask(fd: int, verb: int, kind: int, start: int, length: int) -> int:
    """Carry out a verb of fcntl(2) with a lock, and return the kind of lock that it answers."""
    told = fcntl.fcntl(fd, verb, struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0))
    return int(struct.unpack(_FLOCK, told)[0])
