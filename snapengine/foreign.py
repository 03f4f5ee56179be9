"""
Tell the formats of foreign images by their magic, and decide whether a tool may be allowed to convert one.

A format is believed only when it fits: a guest can write any first sector, and make whoever guesses read host files.
"""

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path

from snapengine import errors, inspector, qcow2, units

_HEAD = 4096
_MAGICS = (
    (0, b"QFI\xfb\0\0\0\1", "qcow"),
    (0, qcow2.MAGIC, "qcow2"),
    (0, b"QED\0", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"conectix", "vpc"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0, b"WithoutFreeSpace", "parallels"),
    (0, b"WithouFreSpacExt", "parallels"),
    (0, b"Bochs Virtual HD Image", "bochs"),
    (0, b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop", "cloop"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)
_TAIL_MAGICS = ((b"conectix", "vpc"), (b"koly", "dmg"))
_VMDK_TEXT = re.compile(rb"\s*# Disk DescriptorFile|(?:#[^\n]*\n|\s)*version=\d", re.I)
_VMDK_HEADER = struct.Struct("<4sIIQQQQ")
_VMDK_TABLES = struct.Struct("<IQQ")  # behind that: entries of a grain table, the redundant directory, the directory
_VMDK_COMPRESSED = 1 << 16
_MAX_DIRECTORY, _MAX_ENTRIES, _MAX_SECTOR = 32 * units.MIB, 512, 2**53  # QEMU reads no more entries
_VMDK_CREATE_TYPE = re.compile(r'^\s*createType\s*=\s*"(.*)"\s*$', re.I | re.M)
_VMDK_EXTENT_LINE = re.compile(r"^\s*(?:RW|RDONLY|NOACCESS)\b.*$", re.I | re.M)
_VMDK_EXTENT = re.compile(r'\s*(?:RW|RDONLY)\s+\d+\s+SPARSE\s+"[^"/\\:]+"\s*', re.I)


def looks_like(fd: int) -> str | None:
    """
    Return the image format, in QEMU's words, whose magic the file bears; None if it bears no known one.

    A raw disk that does is refused unless the user says that it is raw: its guest can write any first sector, and
    make whoever guesses formats read host files for it.
    """
    head = os.pread(fd, _HEAD, 0)
    for offset, magic, name in _MAGICS:
        if head.startswith(magic, offset):
            return name
    if _VMDK_TEXT.match(head):
        return "vmdk"
    tail = _tail(fd)
    return next((name for magic, name in _TAIL_MAGICS if tail.startswith(magic)), None)


def inspect(fd: int, path: Path, format: str) -> None:
    """
    Return if the file open at fd may be converted from format (vmdk, vdi, vhdx, vpc or raw) by a tool.

    Its magic must be that of the format and of no other, raw having none, and it must be whole by itself: no
    parent, no extents in other files (CVE-2022-47951). Raises errors.Refused; errors.Invalid for other formats.
    """
    if format not in _FOREIGN:
        raise errors.Invalid(what=f"format '{format}' can't be imported; {', '.join(_FOREIGN)} and qcow2 can")
    inspector.require_regular(os.fstat(fd), path)
    found = looks_like(fd)
    if (found or "raw") != format:
        why = f"it looks like {found}, not {format}" if found else f"it bears no magic of {format}"
        why += "; name its true format"
        raise errors.Refused(path=path, why=why, check="format")
    fault = _FOREIGN[format](fd)
    if fault is not None:
        raise errors.Refused(path=path, why=fault, check=format)


def _tail(fd: int) -> bytes:
    """Return the last sector, counted as QEMU does: sizes are rounded up to sectors."""
    size = units.round_up(os.fstat(fd).st_size)
    return os.pread(fd, units.SECTOR, max(size - units.SECTOR, 0))


def _vmdk(fd: int) -> str | None:
    """
    Return what is wrong with a sparse VMDK file.

    The descriptor is looked for where QEMU looks for a parent's name (20 sectors from sector 1) and as far as the
    header says; a header without capacity would make QEMU open the extents that the descriptor names.
    """
    head = os.pread(fd, _HEAD, 0)
    if not head.startswith(b"KDMV") or len(head) < units.SECTOR:
        return "it is a VMDK descriptor that names other files, or an ESX file; export it as streamOptimized"
    _, version, _, capacity, _, start, sectors = _VMDK_HEADER.unpack_from(head)
    if not 1 <= version <= 3 or capacity == 0 or start != 1 or not 1 <= sectors <= 2047:
        return "its VMDK header is malformed"
    text = os.pread(fd, max(sectors, 20) * units.SECTOR, units.SECTOR).partition(b"\0")[0].decode("latin-1")
    create_types = _VMDK_CREATE_TYPE.findall(text)
    if create_types not in (["monolithicSparse"], ["streamOptimized"]):
        return f"its VMDK type {create_types} is neither monolithicSparse nor streamOptimized"
    if "parentfilenamehint" in text.lower():
        return "it is a delta of another VMDK image; export the whole disk"
    extents = _VMDK_EXTENT_LINE.findall(text)
    if len(extents) != 1 or not _VMDK_EXTENT.fullmatch(extents[0]):
        return "its VMDK descriptor does not name exactly one sparse extent by a bare name"
    return None


def require_grains(fd: int, path: Path) -> None:
    """
    Refuse a sparse VMDK that inspect() has passed, and that a tool reads, where its file ends within a grain.

    A tool reads what is missing there as zeros. Compressed grains are left to it: it can't unpack a part of one.
    """
    head, length = os.pread(fd, units.SECTOR, 0), os.fstat(fd).st_size
    _, _, flags, capacity, grain, _, _ = _VMDK_HEADER.unpack_from(head)
    entries, _, start = _VMDK_TABLES.unpack_from(head, _VMDK_HEADER.size)
    if flags & _VMDK_COMPRESSED or not grain or not 0 < entries <= _MAX_ENTRIES:
        return
    count, last = -(-capacity // (grain * entries)), (capacity - 1) // grain
    directory = _numbers(fd, start, count) if count * 4 <= min(length, _MAX_DIRECTORY) else ()
    ends, seen = [0], set[int]()
    for number, at in enumerate(directory):
        if at and at not in seen and len(seen) * entries * 4 < length:
            seen.add(at)
            table = [*_numbers(fd, at, entries)]
            if number == last // entries and len(table) > last % entries:
                final = table.pop(last % entries)
                ends.append(final + capacity - last * grain if final > 1 else 0)  # 1 stands for zeros
            highest = max(table, default=0)
            ends.append(highest + grain if highest > 1 else 0)
    if max(ends) * units.SECTOR > length:
        raise errors.Refused(path=path, why="its grains lie outside the file; was it cut off?", check="vmdk")


def _numbers(fd: int, sector: int, count: int) -> tuple[int, ...]:
    data = os.pread(fd, count * 4, sector * units.SECTOR) if sector < _MAX_SECTOR else b""
    return struct.unpack(f"<{len(data) // 4}I", data[: len(data) // 4 * 4])


def _vdi(fd: int) -> str | None:
    head = os.pread(fd, _HEAD, 0)
    if len(head) < units.SECTOR or int.from_bytes(head[0x4C:0x50], "little") not in (1, 2):
        return "it is neither a dynamic nor a fixed VDI image"
    if any(head[0x1A8:0x1C8]):
        return "it is a VDI image with a parent; export the whole disk"
    start, block, allocated = (int.from_bytes(head[at : at + 4], "little") for at in (0x158, 0x178, 0x184))
    cut = start + block * allocated > os.fstat(fd).st_size  # qemu-img would read the rest as zeros
    return "its blocks lie outside the file; was it cut off?" if cut else None


def _vpc(fd: int) -> str | None:
    """The first sector is a copy of the footer in a dynamic image (type 3); a fixed one (2) has it at its end."""
    head = os.pread(fd, units.SECTOR, 0)
    footer, kind = (head, 3) if head.startswith(b"conectix") else (_tail(fd), 2)
    if int.from_bytes(footer[60:64], "big") != kind:
        return "it is neither a dynamic nor a fixed VHD image; a differencing one has a parent"
    return None


_FOREIGN: dict[str, Callable[[int], str | None]] = {
    "vmdk": _vmdk,
    "vdi": _vdi,
    "vhdx": lambda fd: None,
    "vpc": _vpc,
    "raw": lambda fd: None,
}
