"""Forge qcow2 images byte by byte: valid ones, and ones that lie in exactly one field."""

import os
import struct
from pathlib import Path

from snapengine import qcow2

CLUSTER = 4096
SIZE = 1 << 20

BACKING_FORMAT = 0xE2792ACA
BITMAPS = 0x23852875
ENCRYPTION = 0x0537BE77
DATA_FILE_NAME = 0x44415441
END = 0

_FIELDS = {  # name: offset, struct code, value in a valid image
    "magic": (0, "4s", b"QFI\xfb"),
    "version": (4, "I", 3),
    "backing_offset": (8, "Q", 0),
    "backing_length": (16, "I", 0),
    "cluster_bits": (20, "I", 12),
    "size": (24, "Q", SIZE),
    "crypt_method": (32, "I", 0),
    "l1_entries": (36, "I", 1),
    "l1_offset": (40, "Q", 3 * CLUSTER),
    "refcount_table_offset": (48, "Q", CLUSTER),
    "refcount_table_clusters": (56, "I", 1),
    "internal_snapshots": (60, "I", 0),
    "snapshots_offset": (64, "Q", 0),
    "incompatible": (72, "Q", 0),
    "compatible": (80, "Q", 0),
    "autoclear": (88, "Q", 0),
    "refcount_order": (96, "I", 4),
    "header_length": (100, "I", 112),
    "compression_type": (104, "B", 0),
}
FIELDS = {name: (offset, struct.calcsize(">" + code)) for name, (offset, code, _) in _FIELDS.items()}


def extension(kind: int, data: bytes = b"", length: int | None = None) -> bytes:
    """Return a header extension, padded; length lies about the length of data."""
    head = struct.pack(">II", kind, len(data) if length is None else length)
    return head + data + bytes(-len(data) % 8)


def backing_format(name: str) -> bytes:
    """Return the extension that names the format of the backing file."""
    return extension(BACKING_FORMAT, name.encode())


def bitmaps(count: int = 1, size: int = 32, offset: int = 4 * CLUSTER, reserved: int = 0) -> bytes:
    """Return the bitmaps extension; by default for one bitmap in the directory at cluster 4."""
    return extension(BITMAPS, struct.pack(">IIQQ", count, reserved, size, offset))


def bitmap(
    name: bytes = b"b",
    *,
    table_offset: int = 5 * CLUSTER,
    table_entries: int = 1,
    flags: int = 2,
    kind: int = 1,
    granularity_bits: int = 16,
    name_size: int | None = None,
    extra: int = 0,
) -> bytes:
    """Return an entry of the bitmap directory, padded; by default an enabled bitmap whose table is at cluster 5."""
    size = len(name) if name_size is None else name_size
    entry = struct.pack(">QIIBBHI", table_offset, table_entries, flags, kind, granularity_bits, size, extra) + name
    return entry + bytes(-len(entry) % 8)


def header(*, extensions: bytes | None = None, backing: bytes | None = None, **fields: int | bytes) -> bytes:
    """
    Return a header, its extensions and its backing name; fields override those of a valid image.

    extensions is the whole extension area, by default an end marker. backing is put right behind it.
    """
    area = extension(END) if extensions is None else extensions
    values = {name: value for name, (_, _, value) in _FIELDS.items()}
    length = fields.get("header_length", 72 if fields.get("version") == 2 else 112)
    assert isinstance(length, int)
    if backing is not None:
        values |= {"backing_offset": length + len(area), "backing_length": len(backing)}
    values |= fields
    head = bytearray(max(length, 112))  # a length that lies must not cut off the field that holds it
    for name, (offset, code, _) in _FIELDS.items():
        struct.pack_into(">" + code, head, offset, values[name])
    return bytes(head[: max(length, 72)]) + area + (backing or b"")


def image(
    path: Path,
    *,
    blobs: dict[int, bytes] | None = None,
    length: int = 8 * CLUSTER,
    extensions: bytes | None = None,
    backing: bytes | None = None,
    **fields: int | bytes,
) -> Path:
    """
    Write an image to path and return it: header, refcount table and block, L1 table, then blobs at their offsets.

    length is that of the file, sparse beyond what is written. The clusters of the first three tables, and those
    that blobs are written to, have a reference count of 1.
    """
    used = {0, 1, 2, 3} | {offset // CLUSTER for offset in blobs or {}}
    with path.open("wb") as f:
        f.truncate(length)
        f.write(header(extensions=extensions, backing=backing, **fields))
        for offset, data in {
            CLUSTER: struct.pack(">Q", 2 * CLUSTER),
            2 * CLUSTER: b"".join(struct.pack(">H", n in used) for n in range(max(used) + 1)),
            **(blobs or {}),
        }.items():
            f.seek(offset)
            f.write(data)
        f.truncate(length)
    return path


def set_refcount(image: Path, cluster: int, count: int) -> None:
    """Say in the refcounts of image, which is made longer where it ends before, that cluster is used count times."""
    with open(image, "r+b") as f:
        header = qcow2.read_header(f.fileno())
        f.truncate(max(os.path.getsize(image), (cluster + 1) * header.cluster_size))
        f.seek(header.refcount_table_offset)
        (block,) = struct.unpack(">Q", f.read(8))
        f.seek(block + 2 * cluster)
        f.write(struct.pack(">H", count))
