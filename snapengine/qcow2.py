"""
Read the headers of qcow2 images. Every read is bounded and nothing is believed.

Offsets and rules are those of the qcow2 specification (docs/interop/qcow2.txt in QEMU). What can be parsed but is
wrong is left to the inspector; what can't be parsed raises errors.Refused, and no other error leaves this module.
"""

import os
import struct
from pathlib import Path

import msgspec

from snapengine import errors, units

MAGIC = b"QFI\xfb"
MIN_CLUSTER_BITS, MAX_CLUSTER_BITS = 9, 21

DIRTY, CORRUPT, DATA_FILE, COMPRESSION, EXTENDED_L2 = 1, 2, 4, 8, 16  # bits of incompatible
LAZY_REFCOUNTS = 1  # bit of compatible
BITMAPS, RAW_DATA_FILE = 1, 2  # bits of autoclear

BACKING_FORMAT = 0xE2792ACA  # types of header extensions
BITMAPS_EXTENSION = 0x23852875
ENCRYPTION = 0x0537BE77
DATA_FILE_NAME = 0x44415441

MAX_EXTENSIONS = 64
MAX_L1_BYTES = 32 * units.MIB

_USUAL = 4096  # a header with its extensions and backing name seldom needs more
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_VERSION_3 = struct.Struct(">QQQII")
_VERSION_2 = (0, 0, 0, 4, 72)  # no features, refcounts of 16 bits, header length
_EXTENSION = struct.Struct(">II")
_BITMAPS = struct.Struct(">IIQQ")


class Extension(msgspec.Struct, frozen=True):
    """One header extension: its type and its data without the padding."""

    type: int
    data: bytes


class Header(msgspec.Struct, frozen=True):
    """
    What the first cluster of an image says; up to header_length in the file's order, with version 2's defaults.

    Sizes and offsets are bytes. backing_name is None if the image has no backing file. extensions_fault tells why
    the walk over the header extensions did not end at an end marker; extensions holds those that were read before.
    """

    version: int
    backing_offset: int
    backing_length: int
    cluster_bits: int
    size: int
    crypt_method: int
    l1_entries: int
    l1_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int
    internal_snapshots: int
    snapshots_offset: int
    incompatible: int
    compatible: int
    autoclear: int
    refcount_order: int
    header_length: int
    compression_type: int
    backing_name: str | None
    backing_formats: tuple[str, ...]
    data_file_name: str | None
    bitmap_count: int
    bitmap_directory_size: int
    bitmap_directory_offset: int
    extensions: tuple[Extension, ...]
    extensions_fault: str | None

    @property
    def cluster_size(self) -> int:
        """Bytes in a cluster."""
        return 1 << self.cluster_bits

    @property
    def backing_format(self) -> str | None:
        """The format that the header names for its backing file; the last one if it names several, as QEMU does."""
        return self.backing_formats[-1] if self.backing_formats else None

    @property
    def extended_l2(self) -> bool:
        """Whether clusters have subclusters ("Extended L2 Entries")."""
        return bool(self.incompatible & EXTENDED_L2)

    @property
    def lazy_refcounts(self) -> bool:
        """Whether QEMU may put off writing refcounts ("Lazy refcounts bit")."""
        return bool(self.compatible & LAZY_REFCOUNTS)

    @property
    def compression(self) -> str:
        """What QEMU calls the method by which clusters are compressed ("compression type")."""
        return "zstd" if self.compression_type else "zlib"

    @property
    def l1_coverage(self) -> int:
        """Bytes of the virtual disk that one L1 entry maps; an L2 table is one cluster of 8 or 16 byte entries."""
        return 1 << (2 * self.cluster_bits - (4 if self.extended_l2 else 3))


def is_qcow2(fd: int) -> bool:
    """Return whether the file starts with qcow2's magic; qcow version 1 has the same magic and is told apart."""
    head = read(fd, 8, 0, "")
    return head[:4] == MAGIC and int.from_bytes(head[4:], "big") in (2, 3)


def read_header(fd: int, *, path: Path | str = "") -> Header:
    """
    Return the header of the qcow2 image open at fd; path is for the error only.

    One read of 4 KiB, and one of the first cluster (2 MiB at most) where extensions or the backing name go beyond.
    Raises errors.Refused if this is no qcow2 header of version 2 or 3, or has no usable cluster size.
    """
    data = read(fd, _USUAL, 0, path)
    header = _parse(data, path)
    more = header.extensions_fault is not None or header.backing_offset + header.backing_length > _USUAL
    if more and len(data) == _USUAL < header.cluster_size:
        return _parse(read(fd, header.cluster_size, 0, path), path)
    return header


def read(fd: int, length: int, offset: int, path: Path | str) -> bytes:
    """Return up to length bytes at offset; fewer at the end of the file, where QEMU reads zeros."""
    if offset + length > 2**63 - 1:
        raise errors.Refused(path=path, why=f"it points to offset {offset}, beyond any file", check="outside")
    try:
        return os.pread(fd, length, offset)
    except OSError as e:
        raise errors.Refused(path=path, why=f"it can't be read: {e.strerror}", check="unreadable") from e


def _parse(data: bytes, path: Path | str) -> Header:
    """Make a Header from the start of a file; see "Header" and "Additional fields"."""
    _require_header(data, path)
    fixed = _HEADER.unpack_from(data)[1:]
    version, backing_offset, backing_length, cluster_bits = fixed[:4]
    features = _VERSION_3.unpack_from(data, _HEADER.size) if version == 3 else _VERSION_2
    header_length, first_cluster = features[4], 1 << cluster_bits
    extensions, fault = _walk(data, header_length, min(backing_offset or first_cluster, first_cluster))
    bitmap_count, directory_size, directory_offset = _bitmaps_extension(extensions)
    return Header(
        **dict(zip(Header.__struct_fields__, fixed + features)),
        compression_type=data[104] if header_length > 104 and len(data) > 104 else 0,
        backing_name=text(data[backing_offset : backing_offset + backing_length]) if backing_offset else None,
        backing_formats=tuple(text(e.data) for e in extensions if e.type == BACKING_FORMAT),
        data_file_name=next((text(e.data) for e in extensions if e.type == DATA_FILE_NAME), None),
        bitmap_count=bitmap_count,
        bitmap_directory_size=directory_size,
        bitmap_directory_offset=directory_offset,
        extensions=extensions,
        extensions_fault=fault,
    )


def _require_header(data: bytes, path: Path | str) -> None:
    """Refuse what can't be parsed: fields lie elsewhere, or nobody can tell where the header ends."""
    if data[:4] != MAGIC:
        raise errors.Refused(path=path, why="it is not a qcow2 image", check="magic")
    if len(data) < _HEADER.size:
        raise errors.Refused(path=path, why=f"its header ends after {len(data)} bytes", check="header-short")
    version, cluster_bits = int.from_bytes(data[4:8], "big"), int.from_bytes(data[20:24], "big")
    if version not in (2, 3):
        raise errors.Refused(path=path, why=f"qcow2 version {version} is unknown, only 2 and 3 are", check="version")
    if version == 3 and len(data) < _HEADER.size + _VERSION_3.size:
        raise errors.Refused(path=path, why=f"its header ends after {len(data)} bytes", check="header-short")
    if not MIN_CLUSTER_BITS <= cluster_bits <= MAX_CLUSTER_BITS:
        why = f"its cluster size is 2^{cluster_bits} bytes, not 2^{MIN_CLUSTER_BITS} to 2^{MAX_CLUSTER_BITS}"
        raise errors.Refused(path=path, why=why, check="cluster-bits")


def _walk(data: bytes, start: int, end: int) -> tuple[tuple[Extension, ...], str | None]:
    """
    Return the header extensions between start and end, and why the walk was not well-formed, None if it was.

    "Header extensions": 8 bytes of type and length, the data, padding to 8. As in QEMU the area ends where the
    backing name starts, and an area of no bytes holds no extension.
    """
    found: list[Extension] = []
    fault = "they have no end marker" if start < end else None
    while start + _EXTENSION.size <= end:
        if start + _EXTENSION.size > len(data):
            return tuple(found), "they run past the end of the file"
        kind, length = _EXTENSION.unpack_from(data, start)
        start += _EXTENSION.size
        if length > end - start:
            return tuple(found), f"the one of type {kind:#x} runs past the end of their area"
        if kind == 0:
            return tuple(found), None
        if length > len(data) - start:
            return tuple(found), "they run past the end of the file"
        if len(found) == MAX_EXTENSIONS:
            return tuple(found), f"there are more than {MAX_EXTENSIONS}"
        found.append(Extension(kind, data[start : start + length]))
        start += units.round_up(length, 8)
    return tuple(found), fault


def _bitmaps_extension(extensions: tuple[Extension, ...]) -> tuple[int, int, int]:
    """Return count, directory size and directory offset of "Bitmaps extension", zeros where it is absent or short."""
    for extension in extensions:
        if extension.type == BITMAPS_EXTENSION and len(extension.data) == _BITMAPS.size:
            count, _, size, offset = _BITMAPS.unpack(extension.data)
            return count, size, offset
    return 0, 0, 0


def text(data: bytes) -> str:
    """Return bytes of a header as text from which the same bytes can be made again."""
    return data.decode("utf-8", "surrogateescape")
