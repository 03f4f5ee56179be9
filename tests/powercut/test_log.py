"""The reader of the log of a disk's writes."""

import struct

import pytest

from tests.powercut import log
from tests.powercut.log import SECTOR, Entry

FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
A, B = b"a" * SECTOR, b"b" * SECTOR


def written(*entries: tuple[int, int, int, bytes], magic: int = 0x6A736677736872, count: int | None = None) -> bytes:
    """Return a log of entries, each a first sector, a number of them, flags, and data."""
    number = len(entries) if count is None else count
    parts = [struct.pack("<QQQI", magic, 1, number, SECTOR).ljust(SECTOR, b"\0")]
    for first, sectors, flags, data in entries:
        parts.append(struct.pack("<QQQQ", first, sectors, flags, len(data) if flags & MARK else 0))
        parts[-1] = (parts[-1] + (data if flags & MARK else b"")).ljust(SECTOR, b"\0")
        parts.append(b"" if flags & MARK else data)
    return b"".join(parts)


def test_entries_come_in_order_with_their_data_and_flags() -> None:
    whole = written((8, 2, 0, A + B), (0, 0, FLUSH, b""), (1, 1, FUA, B), (4, 3, DISCARD, b""))

    assert log.read(whole) == (
        Entry(8, 2, A + B),
        Entry(0, 0, b"", flush=True),
        Entry(1, 1, B, forced=True),
        Entry(4, 3, None),
    )


def test_a_mark_is_left_out_and_what_follows_it_is_found() -> None:
    assert log.read(written((0, 0, MARK, b"here"), (1, 1, 0, A))) == (Entry(1, 1, A),)


def test_what_was_told_by_a_moment_is_known_by_the_length_of_the_log_then() -> None:
    whole = written((8, 2, 0, A + B), (0, 0, FLUSH, b""), (1, 1, 0, B))

    ends = [SECTOR, 4 * SECTOR, 5 * SECTOR, 7 * SECTOR]
    assert [log.ending_by(whole, end) for end in ends] == [0, 1, 2, 3]
    assert [log.ending_by(whole, end - 1) for end in ends] == [0, 0, 1, 2]


def test_what_lies_behind_the_last_entry_counts_for_nothing() -> None:
    assert log.read(written((1, 1, 0, A), (2, 1, 0, B), count=1)) == (Entry(1, 1, A),)


@pytest.mark.parametrize(
    "whole, why",
    [
        (b"", "no superblock"),
        (written(magic=1), "magic 0x1"),
        (written((1, 1, 0, A))[:-1], "data of entry 0 of 1 are cut off"),
        (written((1, 1, 0, A), count=2), "entry 1 of 2 is cut off"),
        (written((1, 1, 32, A)), "flags 0x20"),
    ],
    ids=["empty", "another magic", "data cut off", "an entry missing", "an unknown flag"],
)
def test_a_log_that_is_damaged_is_refused(whole: bytes, why: str) -> None:
    with pytest.raises(log.Damaged, match=why):
        log.read(whole)
