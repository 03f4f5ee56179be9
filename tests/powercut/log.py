"""
Read the log of a disk's writes: the format of the kernel's dm-log-writes, which QEMU's blklogwrites writes too.

A superblock of one sector, then the entries in the order in which the disk had them: a header of one sector, then the
data, unless it is a flush, a discard or a mark (Documentation/admin-guide/device-mapper/log-writes.rst). Little endian.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

SECTOR = 512  # bytes, of the log and of the disk; what a disk writes whole or not at all

_MAGIC, _VERSION = 0x6A736677736872, 1
_SUPER = struct.Struct("<QQQI")  # magic, version, number of entries, bytes of a sector
_HEADER = struct.Struct("<QQQQ")  # first sector, number of sectors, flags, bytes of a mark's text
_FLUSH, _FUA, _DISCARD, _MARK, _METADATA = 1, 2, 4, 8, 16


class Damaged(Exception):
    """The log is none, or is cut off."""


class Entry(NamedTuple):
    """
    Something that the disk was told: sectors from first on.

    data is what was written there; of a discard, after which they read zero, it is None. flush: what was written
    before is safe from now on. forced: so is this write itself.
    """

    first: int
    sectors: int
    data: bytes | None
    flush: bool = False
    forced: bool = False


def read(log: bytes) -> tuple[Entry, ...]:
    """Return the entries of a log; marks are left out. Raises Damaged."""
    return tuple(entry for entry, _ in _entries(log, _count(log)))


def ending_by(log: bytes, length: int) -> int:
    """Return how many of the entries of a log had been written when the log was length bytes long."""
    return sum(end <= length for _, end in _entries(log, _count(log)))


def _count(log: bytes) -> int:
    if len(log) < SECTOR:
        raise Damaged("there is no superblock")
    magic, version, count, sector = _SUPER.unpack_from(log)
    if (magic, version, sector) != (_MAGIC, _VERSION, SECTOR):
        raise Damaged(f"magic {magic:#x}, version {version} or sectors of {sector} bytes are not what is read here")
    return int(count)


def _entries(log: bytes, count: int) -> Iterator[tuple[Entry, int]]:
    """Give each entry, and where in the log it ends."""
    at = SECTOR
    for number in range(count):
        if len(log) < at + SECTOR:
            raise Damaged(f"entry {number} of {count} is cut off")
        first, sectors, flags, _ = _HEADER.unpack_from(log, at)
        if flags & ~(_FLUSH | _FUA | _DISCARD | _MARK | _METADATA):
            raise Damaged(f"entry {number} has the flags {flags:#x}")
        at += SECTOR
        data = None
        if not flags & (_DISCARD | _MARK):
            data, at = log[at : at + sectors * SECTOR], at + sectors * SECTOR
            if len(log) < at:
                raise Damaged(f"the data of entry {number} of {count} are cut off")
        if not flags & _MARK:
            yield Entry(first, sectors, data, bool(flags & _FLUSH), bool(flags & _FUA)), at
