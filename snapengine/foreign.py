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
