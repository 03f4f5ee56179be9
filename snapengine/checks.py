"""
The one table of what is wrong with a qcow2 image: each row has a name that never changes and a test of its own.

What can't be asked because the header can't be parsed the reader refuses itself ("magic", "header-short", "version",
"cluster-bits"). What L2 tables say is looked at where they are read (clusters); refcounts are `qemu-img check`'s work.
"""

import os
import struct
from collections.abc import Callable
from itertools import pairwise

import msgspec

from snapengine import errors, qcow2, tables, units

_KNOWN = qcow2.DIRTY | qcow2.CORRUPT | qcow2.DATA_FILE | qcow2.COMPRESSION | qcow2.EXTENDED_L2
_METHODS = {1: "AES", 2: "LUKS"}
_MAX_OFFSET = 2**63 - 1
_MAX_BITMAP = 512 * units.MIB
_MAX_BITMAP_TABLES = 8 * units.MIB
_BITMAP_RESERVED = 0xFF000000000001FE
MAX_SIZE = 2**61  # what an L1 table of 32 MiB can map with clusters of 2 MiB


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the caller knows of an image before anything in it is believed; sizes are bytes.

    backing is the exact backing name, None for no backing file; any_backing allows any bare name, and none. Only a
    name equal to backing may hold a path (the base of a linked clone). device is the st_dev the file must be on.
    """

    backing: str | None = None
    any_backing: bool = False
    backing_format: str = "qcow2"
    device: int | None = None
    max_size: int = MAX_SIZE
    allow_version_2: bool = False


class Facts(msgspec.Struct, frozen=True):
    """What the checks look at; status is that of the open file."""

    fd: int
    status: os.stat_result
    header: qcow2.Header
    expected: Expected

    @property
    def backing(self) -> str:
        """The backing name as a message may show it."""
        return _shown(self.header.backing_name)

    @property
    def expected_backing(self) -> str:
        """The expected backing name as a message may show it."""
        return _shown(self.expected.backing)

    @property
    def backing_format(self) -> str:
        """The backing file's format as a message may show it."""
        return _shown(self.header.backing_format)

    @property
    def encryption(self) -> str:
        """What the specification calls the encryption method."""
        return _METHODS.get(self.header.crypt_method, f"method {self.header.crypt_method}")


class Check(msgspec.Struct, frozen=True):
    """One row of the table: wrong is true of a bad image; why is a template over the facts (f) and the header (h)."""

    name: str
    why: str
    wrong: Callable[[Facts, qcow2.Header], bool]

    def reason(self, facts: Facts) -> str | None:
        """Return why the image must be refused, None if this row has nothing against it."""
        return self.why.format(f=facts, h=facts.header) if self.wrong(facts, facts.header) else None


def _shown(name: str | None) -> str:
    """Return a name that a stranger wrote as one short line without control characters."""
    return "none" if name is None else ascii(name if len(name) <= 80 else name[:80] + "...")


def _outside(f: Facts, offset: int, length: int) -> bool:
    return offset + length > f.status.st_size


def _overlap(f: Facts, h: qcow2.Header) -> bool:
    """The header's cluster and the tables that the header points to lie in clusters of their own."""
    regions = (
        (0, h.cluster_size),
        (h.refcount_table_offset, h.refcount_table_clusters * h.cluster_size),
        (h.l1_offset, h.l1_entries * 8),
        (h.bitmap_directory_offset, h.bitmap_directory_size if h.autoclear & qcow2.BITMAPS else 0),
    )
    used = sorted((start, start + units.round_up(size, h.cluster_size)) for start, size in regions if size)
    return any(end > start for (_, end), (start, _) in pairwise(used))


def _twice(f: Facts, h: qcow2.Header) -> bool:
    kinds = [e.type for e in h.extensions if e.type != qcow2.BACKING_FORMAT]
    return len(kinds) != len(set(kinds))


def _bitmaps_extension(f: Facts, h: qcow2.Header) -> bool:
    """It has 24 bytes, and when it counts: is there, names one bitmap or more, and its reserved bytes are zeros."""
    found = [e.data for e in h.extensions if e.type == qcow2.BITMAPS_EXTENSION]
    if any(len(data) != 24 for data in found):
        return True
    return bool(h.autoclear & qcow2.BITMAPS) and not any(any(data[:4]) and not any(data[4:8]) for data in found)


def _bitmaps(f: Facts) -> tuple[tables.Bitmap, ...]:
    return tables.read_bitmaps(f.fd, f.header) if f.header.autoclear & qcow2.BITMAPS else ()


def _bitmap_directory(f: Facts, h: qcow2.Header) -> bool:
    try:
        bitmaps = _bitmaps(f)
    except errors.Refused:
        return True
    return len({bitmap.name for bitmap in bitmaps}) != len(bitmaps)


def _bitmap_tables(f: Facts, h: qcow2.Header) -> bool:
    try:
        bitmaps = _bitmaps(f)
    except errors.Refused:
        return False
    too_long = sum(b.table_entries for b in bitmaps) * 8 > _MAX_BITMAP_TABLES
    return too_long or any(_bitmap_table(f, h, b) for b in bitmaps)


def _bitmap_table(f: Facts, h: qcow2.Header, b: tables.Bitmap) -> bool:
    """A table is aligned, in the file and exactly as long as the virtual size needs (section "Bitmap table")."""
    length = b.table_entries * 8
    if not length or b.table_entries * h.cluster_size > _MAX_BITMAP or _outside(f, b.table_offset, length):
        return True
    if not b.table_offset or b.table_offset % h.cluster_size:
        return True
    if b.in_use:
        return False
    size = units.round_up(-(-h.size >> b.granularity_bits), 64) // 8
    table = os.pread(f.fd, length, b.table_offset)
    if len(table) != length or b.table_entries != -(-size // h.cluster_size):
        return True
    entries = struct.unpack(f">{b.table_entries}Q", table)
    return any(e & _BITMAP_RESERVED or e > 1 and (e & 1 or e % h.cluster_size) for e in entries)


def _backing_outside(f: Facts, h: qcow2.Header) -> bool:
    """"Header extensions": the name is stored between the end of the extensions and that of the first cluster."""
    end, size = h.backing_offset + h.backing_length, f.status.st_size
    return h.backing_offset != 0 and not h.header_length <= h.backing_offset <= end <= min(h.cluster_size, size)


def _path(f: Facts, h: qcow2.Header) -> bool:
    """A bare name stays in its directory; the path of a linked clone's base must be the recorded one."""
    name = h.backing_name or ""
    return name != f.expected.backing and (name == "." or any(part in name for part in ("/", "\\", "..")))


CHECKS = (
    Check("device", "it lies on another device than its volume",
          lambda f, h: f.expected.device not in (None, f.status.st_dev)),
    Check("version-2", "it is qcow2 version 2; upgrade it with 'qemu-img amend -o compat=1.1' first",
          lambda f, h: h.version == 2 and not f.expected.allow_version_2),
    Check("header-length", "its header length of {h.header_length} bytes is impossible",
          lambda f, h: h.version > 2 and not (104 <= h.header_length <= h.cluster_size and h.header_length % 8 == 0)),
    Check("features", "it uses incompatible features that nobody knows: bits {h.incompatible:#x}",
          lambda f, h: bool(h.incompatible & ~_KNOWN)),
    Check("data-file", "it keeps its data in an external file; convert both into one image first",
          lambda f, h: bool(h.incompatible & qcow2.DATA_FILE)),
    Check("data-file-name", "it names an external data file",
          lambda f, h: h.data_file_name is not None),
    Check("data-file-raw", "it claims to have a raw external data file",
          lambda f, h: bool(h.autoclear & qcow2.RAW_DATA_FILE)),
    Check("corrupt-bit", "QEMU has marked it corrupt; restore it, or repair it with 'qemu-img check -r all' first",
          lambda f, h: bool(h.incompatible & qcow2.CORRUPT)),
    Check("dirty-bit", "it was not closed cleanly; repair it with 'qemu-img check -r all' first",
          lambda f, h: bool(h.incompatible & qcow2.DIRTY)),
    Check("compression", "its compression type {h.compression_type} is unknown, or its feature bit says otherwise",
          lambda f, h: h.compression_type > 1 or bool(h.compression_type) != bool(h.incompatible & qcow2.COMPRESSION)),
    Check("extended-l2", "it has extended L2 entries, which need clusters of 16 KiB, not of {h.cluster_size} bytes",
          lambda f, h: h.extended_l2 and h.cluster_bits < 14),
    Check("encryption", "it is encrypted ({f.encryption}); decrypt it with 'qemu-img convert' first",
          lambda f, h: h.crypt_method != 0),
    Check("encryption-header", "it has an encryption header but is not encrypted",
          lambda f, h: h.crypt_method == 0 and any(e.type == qcow2.ENCRYPTION for e in h.extensions)),
    Check("extensions", "its header extensions are not well-formed: {h.extensions_fault}",
          lambda f, h: h.extensions_fault is not None),
    Check("extension-twice", "it has two header extensions of the same type", _twice),
    Check("size-unaligned", "its virtual size of {h.size} bytes is no multiple of 512",
          lambda f, h: h.size % units.SECTOR != 0),
    Check("size-limit", "its virtual size of {h.size} bytes is over the limit of {f.expected.max_size}",
          lambda f, h: h.size > f.expected.max_size),
    Check("internal-snapshots", "it holds internal snapshots ({h.internal_snapshots}); remove them with "
          "'qemu-img snapshot -d' or convert the image first",
          lambda f, h: h.internal_snapshots != 0),
    Check("snapshot-table", "its snapshot table at {h.snapshots_offset} is not aligned",
          lambda f, h: h.snapshots_offset % h.cluster_size != 0 or h.snapshots_offset > _MAX_OFFSET),
    Check("refcount-order", "its refcounts have 2^{h.refcount_order} bits, at most 2^6 are possible",
          lambda f, h: h.refcount_order > 6),
    Check("refcount-table-size", "its refcount table of {h.refcount_table_clusters} clusters is empty or over 8 MiB",
          lambda f, h: not 1 <= h.refcount_table_clusters <= 8 * units.MIB >> h.cluster_bits),
    Check("refcount-table-unaligned", "its refcount table at {h.refcount_table_offset} is not aligned",
          lambda f, h: h.refcount_table_offset % h.cluster_size != 0),
    Check("refcount-table-outside", "its refcount table lies outside the file; was it cut off?",
          lambda f, h: _outside(f, h.refcount_table_offset, h.refcount_table_clusters * h.cluster_size)),
    Check("l1-size", "its L1 table of {h.l1_entries} entries is over 32 MiB",
          lambda f, h: h.l1_entries * 8 > qcow2.MAX_L1_BYTES),
    Check("l1-small", "its L1 table of {h.l1_entries} entries is too small for a virtual size of {h.size} bytes",
          lambda f, h: h.l1_entries * h.l1_coverage < h.size),
    Check("l1-unaligned", "its L1 table at {h.l1_offset} is not aligned",
          lambda f, h: h.l1_offset % h.cluster_size != 0),
    Check("l1-outside", "its L1 table lies outside the file; was it cut off?",
          lambda f, h: _outside(f, h.l1_offset, h.l1_entries * 8)),
    Check("overlap", "its header, refcount table, L1 table or bitmap directory overlap", _overlap),
    Check("bitmaps-extension", "its bitmaps extension is missing or not well-formed", _bitmaps_extension),
    Check("bitmap-directory-unaligned", "its bitmap directory at {h.bitmap_directory_offset} is not aligned",
          lambda f, h: bool(h.autoclear & qcow2.BITMAPS) and h.bitmap_directory_offset % h.cluster_size != 0),
    Check("bitmap-directory", "its bitmap directory is malformed or lies outside the file", _bitmap_directory),
    Check("bitmap-table", "the table of a bitmap is malformed or lies outside the file", _bitmap_tables),
    Check("backing-length", "its backing file name has {h.backing_length} bytes, not 1 to 1023",
          lambda f, h: h.backing_offset != 0 and not 1 <= h.backing_length <= 1023),
    Check("backing-outside", "its backing file name does not lie behind the header in the first cluster",
          _backing_outside),
    Check("backing-control", "its backing file name {f.backing} holds control characters or is no text",
          lambda f, h: not (h.backing_name or "").isprintable()),
    Check("backing-protocol", "its backing file name {f.backing} names a protocol or a device, not a file",
          lambda f, h: ":" in (h.backing_name or "")),
    Check("backing-path", "its backing file name {f.backing} leads to another directory", _path),
    Check("backing-name", "its backing file is {f.backing}, the records say {f.expected_backing}",
          lambda f, h: not f.expected.any_backing and h.backing_name != f.expected.backing),
    Check("backing-format-missing", "it does not name its backing file's format; set it with 'qemu-img rebase -u -F'",
          lambda f, h: h.backing_name is not None and not h.backing_formats),
    Check("backing-format-twice", "it names the format of its backing file several times",
          lambda f, h: len(h.backing_formats) > 1),
    Check("backing-format", "it says that its backing file is {f.backing_format}, not {f.expected.backing_format}",
          lambda f, h: h.backing_name is not None and h.backing_format not in (None, f.expected.backing_format)),
)
