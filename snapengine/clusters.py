"""
Read which clusters the L2 tables of a qcow2 image name, in runs. Nothing in the tables is believed.

Offsets and rules are those of the qcow2 specification (docs/interop/qcow2.txt in QEMU: "Cluster mapping", "Extended
L2 Entries"); errors as in qcow2.py. No table is read twice and none beyond the file, and all of them together are no
longer than what the file really holds lets one believe, so that bounds what a hostile image costs.
"""

import os
import re
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from snapengine import errors, qcow2, units
from snapengine.qcow2 import Header

SUBCLUSTERS = 32  # in a cluster of an image with extended L2 entries
WHOLE = 2**SUBCLUSTERS - 1  # all of them

_COMPRESSED, _ZERO = 1 << 62, 1
_OFFSET = 0x00FFFFFFFFFFFE00  # bits 9-55 of an L1 or L2 entry
_RESERVED_L1 = 0x7F000000000001FF
_RESERVED = 0x3F000000000001FE  # of an L2 entry that is not compressed; bit 0 as well with extended L2 entries
_ALWAYS, _SQUEEZED = units.GIB, 64  # bytes of tables that are always read; how far a file system may compress them
_ZEROS = re.compile(rb"\0*")  # ten times as fast as to search for what is none


class Image(NamedTuple):
    """
    An open image as its tables are read; length is that of the file, cluster that of one, path for errors only.

    whole: a file that ends within data that its tables name is refused, and not only one that ends before.
    """

    fd: int
    header: Header
    length: int
    cluster: int
    path: Path | str
    whole: bool = False

    def refused(self, check: str, why: str) -> errors.Refused:
        """Return the error that refuses the image; check is the name of the reason."""
        return errors.Refused(path=self.path, why=why, check=check)


class Run(NamedTuple):
    """
    Neighbouring clusters of one kind, so many of them from the guest's offset start on.

    host is where the first lies in the file, the others follow it; 0 where the image keeps no room for them. bits say
    what their subclusters are: allocated the lower 32, zero the upper ones; of an image without subclusters all are
    the same. Of compressed clusters host and bits are 0, see stored.
    """

    start: int
    clusters: int
    host: int
    bits: int
    compressed: bool


class Stored(NamedTuple):
    """Where a compressed cluster's data lies in the file: its first byte, and how many it may have at most."""

    host: int
    length: int


def opened(fd: int, header: Header, path: Path | str = "") -> Image:
    """Return the image open at fd, whose header has passed the inspector."""
    return Image(fd, header, os.fstat(fd).st_size, header.cluster_size, path)


def require_whole(fd: int, header: Header, path: Path | str) -> None:
    """
    Refuse the image open at fd where its file ends within data that a guest sees, or before.

    QEMU never leaves data so: it fills each cluster that it takes, with extended L2 entries each subcluster. What
    compressed data has lost of its last 512 bytes does not show. Errors as for runs.
    """
    for _ in runs(opened(fd, header, path)._replace(whole=True)):
        pass


def runs(image: Image) -> Iterator[Run]:
    """
    Give the runs of clusters that the image holds itself, in order; they may go on behind the virtual size.

    Raises errors.Refused for tables that no QEMU writes: entries that point outside the file or between clusters,
    that have reserved bits, an L2 table that is used twice.
    """
    for base, data in _tables(image):
        words = _words(data)
        width = 2 if image.header.extended_l2 else 1
        at = _next(data, 0, width)
        while at + width <= len(words):
            entry, start = words[at], base + at // width * image.cluster
            if entry & _COMPRESSED:
                end = at + width
                _stored(image, entry)
                yield Run(start, 1, 0, 0, True)
            else:
                end = _end(image, words, at, width)
                bits = words[at + 1] if width == 2 else WHOLE << (SUBCLUSTERS if entry & _ZERO else 0)
                run = Run(start, (end - at) // width, entry & _OFFSET, bits, False)
                _check(image, run, entry)
                if run.host or bits >> SUBCLUSTERS:
                    yield run
            at = end if end < len(words) and words[end] else _next(data, end, width)


def stored(image: Image, offset: int) -> Stored:
    """Return where the compressed cluster that holds the guest's offset is stored; Refused for one that is not."""
    header = image.header
    at = header.l1_offset + 8 * (offset // header.l1_coverage)
    table = _l2_offset(image, *(_words(qcow2.read(image.fd, 8, at, image.path)) or (0,)))
    width = 16 if header.extended_l2 else 8
    at = table + width * (offset % header.l1_coverage >> header.cluster_bits)
    entry = _words(qcow2.read(image.fd, 8, at, image.path))
    if not entry or not entry[0] & _COMPRESSED:
        raise image.refused("not-compressed", f"its cluster at {offset} is no longer compressed")
    return _stored(image, entry[0])


def _tables(image: Image) -> Iterator[tuple[int, bytes]]:
    """Give each L2 table's content, and the guest's offset where it begins."""
    header = image.header
    seen: set[int] = set()
    room = max(_ALWAYS, units.allocated(os.fstat(image.fd)) * _SQUEEZED)
    for number, entry in enumerate(_l1(image)):
        if not entry & (_OFFSET | _RESERVED_L1):
            continue
        offset = _l2_offset(image, entry)
        if offset in seen:
            raise image.refused("l2-twice", f"its L2 table at {offset} is used twice")
        seen.add(offset)
        if len(seen) * image.cluster > room:
            raise image.refused("l2-holes", "its L2 tables are longer than all that its file holds")
        yield number * header.l1_coverage, qcow2.read(image.fd, header.cluster_size, offset, image.path)


def _l1(image: Image) -> "array[int]":
    """Return as many entries of the L1 table as the virtual size needs."""
    header = image.header
    if header.l1_entries * 8 > qcow2.MAX_L1_BYTES:
        raise image.refused("l1-size", "its L1 table is over 32 MiB")
    needed = min(header.l1_entries, -(-header.size // header.l1_coverage))
    return _words(qcow2.read(image.fd, needed * 8, header.l1_offset, image.path))


def _l2_offset(image: Image, entry: int) -> int:
    offset = entry & _OFFSET
    if entry & _RESERVED_L1:
        raise image.refused("l1-entry", f"its L1 table has an entry with reserved bits, {entry:#x}")
    if offset % image.cluster:
        raise image.refused("l2-unaligned", f"its L2 table at {offset} is not aligned")
    if not 0 < offset < image.length:
        raise image.refused("l2-outside", f"its L2 table at {offset} lies outside the file; was it cut off?")
    return offset


def _words(data: bytes) -> "array[int]":
    """Return the 64-bit big-endian numbers in data; what is left over at the end of a file is no entry."""
    words = array("Q", data[: len(data) // 8 * 8])
    if sys.byteorder == "little":
        words.byteswap()
    return words


def _next(data: bytes, at: int, width: int) -> int:
    """Return the number of the first word, from at on, of an entry that is not zero; that of the last one if none."""
    match = _ZEROS.match(data, at * 8)
    end = match.end() if match else at * 8
    return end // (8 * width) * width


def _end(image: Image, words: "array[int]", at: int, width: int) -> int:
    """Return where the run of entries that begins at at ends: the same, each a cluster further in the file."""
    expected = words[at]
    step = image.cluster if expected & _OFFSET else 0
    end, last = at + width, len(words) - width
    if width == 1:
        while end <= last and words[end] == (expected := expected + step):
            end += 1
    else:
        bits = words[at + 1]
        while end <= last and words[end] == (expected := expected + step) and words[end + 1] == bits:
            end += 2
    return end


def _check(image: Image, run: Run, entry: int) -> None:
    """Refuse a run, not compressed, that no QEMU writes; entry is the first of its."""
    header, host = image.header, run.host
    if entry & _RESERVED or (entry & _ZERO and (header.version < 3 or header.extended_l2)):
        raise image.refused("l2-entry", f"an L2 table has an entry with reserved bits, {entry:#x}")
    if host % image.cluster:
        raise image.refused("cluster-unaligned", f"its cluster at {host} is not aligned")
    last = (run.clusters - 1) * image.cluster  # where the last cluster begins in the run
    if host and host + last + _needed(image, run.bits, header.size - run.start - last) > image.length:
        raise image.refused("cluster-outside", f"its clusters from {host} on lie outside the file; was it cut off?")
    if header.extended_l2 and run.bits & WHOLE & (run.bits >> SUBCLUSTERS if host else WHOLE):
        raise image.refused("l2-subclusters", f"an L2 table has impossible subclusters, {run.bits:#x}")


def _needed(image: Image, bits: int, seen: int) -> int:
    """Return how many bytes of a cluster, of which a guest sees seen at most, must be in the file."""
    last: int = (bits & WHOLE).bit_length() - 1  # the last subcluster that holds data
    if not image.whole or last < 0:
        return max(last, 0) * (image.cluster // SUBCLUSTERS) + 1 if image.header.extended_l2 else 1
    return max(min((last + 1) * image.cluster // SUBCLUSTERS, seen), 1)


def _stored(image: Image, entry: int) -> Stored:
    """Return what the entry of a compressed cluster says ("Compressed Clusters Descriptor")."""
    bits = 62 - (image.header.cluster_bits - 8)
    host = entry & ((1 << bits) - 1)
    sectors = (entry & (_COMPRESSED - 1)) >> bits
    length = (sectors + 1) * units.SECTOR - host % units.SECTOR
    needed = length - units.SECTOR if image.whole else 0  # it may end anywhere in its last sector
    if not 0 < host < image.length or host + needed >= image.length:
        why = f"its compressed cluster at {host} lies outside the file; was it cut off?"
        raise image.refused("cluster-outside", why)
    return Stored(host, length)
