"""
Read the tables that a qcow2 header points to: the L1 table, the bitmap directory. Every read is bounded.

Offsets and rules are those of the qcow2 specification (docs/interop/qcow2.txt in QEMU); errors as in qcow2.py.
"""

import os
import struct
from pathlib import Path

import msgspec

from snapengine import errors, qcow2, units
from snapengine.qcow2 import Header

MAX_BITMAPS = 65535
MAX_BITMAP_DIRECTORY = 64 * units.MIB
MAX_BITMAP_NAME = 1023

_ZEROS = bytes(64 * units.KIB)
_OFFSET = 0x00FFFFFFFFFFFE00  # bits 9-55 of an L1 entry: where its L2 table starts
_BLOCK = 0xFFFFFFFFFFFFFE00  # bits 9-63 of an entry of the refcount table: where its block starts
_BITMAP = struct.Struct(">QIIBBHI")


class Bitmap(msgspec.Struct, frozen=True):
    """One entry of the bitmap directory ("Bitmap directory"); table_entries is the length of its bitmap table."""

    name: str
    granularity_bits: int
    in_use: bool
    auto: bool
    table_offset: int
    table_entries: int


def has_clusters(fd: int, header: Header, *, path: Path | str = "") -> bool:
    """
    Return whether any L1 entry points to an L2 table, so whether the image may hold data of its own.

    Reads the L1 table (32 MiB at most) in pieces of 64 KiB, up to the first such entry.
    """
    size = header.l1_entries * 8
    if size > qcow2.MAX_L1_BYTES:
        raise errors.Refused(path=path, why="its L1 table is over 32 MiB", check="l1-size")
    for start in range(0, size, len(_ZEROS)):
        piece = qcow2.read(fd, min(len(_ZEROS), size - start), header.l1_offset + start, path)
        entries = () if _ZEROS.startswith(piece) else struct.unpack_from(f">{len(piece) // 8}Q", piece)
        if any(entry & _OFFSET for entry in entries):
            return True
    return False


def is_cut_off(fd: int, header: Header, *, path: Path | str = "") -> bool:
    """
    Tell whether refcounts call a cluster used that lies behind the end of the file: so it may have been cut off.

    Only its L2 tables tell for certain: a killed tool leaves clusters that count as used and were never written. Reads
    the refcount table (64 KiB as a rule, 8 MiB at most) and one block of refcounts ("Refcounts").
    """
    length, cluster = os.fstat(fd).st_size, header.cluster_size
    number, entry = divmod(-(-length // cluster), cluster * 8 >> header.refcount_order)
    start, size = header.refcount_table_offset + number * 8, header.refcount_table_clusters * cluster - number * 8
    table = qcow2.read(fd, size, start, path) if size > 0 else b""
    at = int.from_bytes(table[:8], "big") & _BLOCK
    if not _is_zero(table[8:]) or at >= length:
        return True
    byte, bit = divmod(entry << header.refcount_order, 8)
    block = qcow2.read(fd, cluster - byte, at + byte, path) if at else b""
    return bool(block) and (block[0] >> bit > 0 or not _is_zero(block[1:]))  # small refcounts begin at the lowest bit


def _is_zero(data: bytes) -> bool:
    return _ZEROS.startswith(data) if len(data) <= len(_ZEROS) else data == bytes(len(data))


def has_bitmaps(header: Header) -> bool:
    """Tell whether the bitmaps that a header names count: it was not rewritten by what knows none."""
    return bool(header.bitmap_count and header.autoclear & qcow2.BITMAPS)


def active_bitmaps(fd: int, header: Header, *, path: Path | str = "") -> tuple[Bitmap, ...]:
    """Return the bitmaps that QEMU would record writes in: consistent, saved correctly, enabled."""
    return tuple(b for b in kept_bitmaps(fd, header, path=path) if b.auto and not b.in_use)


def kept_bitmaps(fd: int, header: Header, *, path: Path | str = "") -> tuple[Bitmap, ...]:
    """Return the bitmaps that count; where the header was rewritten without them, there are none."""
    return read_bitmaps(fd, header, path=path) if has_bitmaps(header) else ()


def read_bitmaps(fd: int, header: Header, *, path: Path | str = "") -> tuple[Bitmap, ...]:
    """
    Return the entries of the bitmap directory, () if the image has no bitmaps extension.

    Says nothing about whether they are consistent: see autoclear and active_bitmaps. Raises errors.Refused if the
    directory is not exactly as the extension and the specification (with QEMU's limits) say.
    """
    if not header.bitmap_count:
        return ()
    size = header.bitmap_directory_size
    if header.bitmap_count > MAX_BITMAPS or size > MAX_BITMAP_DIRECTORY:
        raise _bad_bitmaps(path, f"{header.bitmap_count} bitmaps in {size} bytes are too many")
    data = qcow2.read(fd, size, header.bitmap_directory_offset, path)
    bitmaps: list[Bitmap] = []
    start = 0
    while start + _BITMAP.size <= len(data) and len(bitmaps) <= header.bitmap_count:
        bitmap, start = _bitmap(data, start, path)
        bitmaps.append(bitmap)
    if start != size or len(bitmaps) != header.bitmap_count:
        raise _bad_bitmaps(path, f"the directory does not hold exactly {header.bitmap_count} bitmaps")
    return tuple(bitmaps)


def _bitmap(data: bytes, start: int, path: Path | str) -> tuple[Bitmap, int]:
    """Return the directory entry at start and where the next one starts ("Bitmap directory", QEMU's limits)."""
    table_offset, table_entries, flags, kind, granularity_bits, name_size, extra = _BITMAP.unpack_from(data, start)
    end = start + _BITMAP.size + name_size
    name = data[start + _BITMAP.size : end]
    if flags & ~3 or kind != 1 or extra or not 9 <= granularity_bits <= 31:
        raise _bad_bitmaps(path, f"entry at byte {start} has flags, a type, a granularity or data that QEMU refuses")
    if not 1 <= name_size <= MAX_BITMAP_NAME or end > len(data) or b"\0" in name:
        raise _bad_bitmaps(path, f"entry at byte {start} has no valid name")
    bitmap = Bitmap(qcow2.text(name), granularity_bits, bool(flags & 1), bool(flags & 2), table_offset, table_entries)
    return bitmap, units.round_up(end, 8)


def _bad_bitmaps(path: Path | str, why: str) -> errors.Refused:
    return errors.Refused(path=path, why=f"its bitmap directory is malformed: {why}", check="bitmap-directory")
