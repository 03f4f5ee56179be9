"""
Choose what a disk holds after a power cut, out of what it was told.

All that it was told before the last flush is there. Of what it was told since, any part may be: each sector of each
write by itself, in any order. A sector is never half there.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from tests.powercut.log import SECTOR, Entry

KINDS = ("flushed", "prefix", "dropped", "torn")
_LATER = 0.2  # of the cuts, how many come after the verb's end


class Piece(NamedTuple):
    """Sectors of an entry, counted from its first one."""

    entry: int
    first: int
    sectors: int


class Cut(NamedTuple):
    """
    A power cut after issued entries; kind is one of KINDS.

    safe: so many were flushed before it. kept: what else reached the disk.

        flushed     nothing else
        prefix      all up to some moment: the cut comes there, and the disk has no cache
        dropped     some writes, whole, not others, which may be older
        torn        some writes, and of some of these some sectors
    """

    kind: str
    issued: int
    safe: int
    kept: tuple[Piece, ...] = ()


class Told(NamedTuple):
    """
    What a disk was told: entries, of them [started:ended] during a verb.

    joined says of a sector that it is never torn from the one before it in a write, since the file system does not
    promise to bear that.
    """

    entries: Sequence[Entry]
    started: int
    ended: int
    joined: Callable[[int], bool] = lambda sector: False


def choose(told: Told, number: int, chance: random.Random) -> list[Cut]:
    """
    Return at most number different cuts, by chance.

    The first is the very moment after the verb's end, with nothing kept of what was not flushed.
    """
    cuts = {flushed(told.entries, told.ended): None}
    safe = {safe_at(told.entries, at): at for at in range(told.started, len(told.entries) + 1)}
    moments = chance.sample([*safe.values()], len(safe))
    for _ in range(20 * number):  # some come twice
        if len(cuts) >= number:
            break
        if moments and len(cuts) % 3 == 0:
            cuts[flushed(told.entries, moments.pop())] = None
        else:
            cuts[_random(told, chance)] = None
    return list(cuts)[:number]


def flushed(entries: Sequence[Entry], issued: int) -> Cut:
    """Return the cut after which nothing is there of what was not flushed."""
    return Cut("flushed", issued, safe_at(entries, issued))


def safe_at(entries: Sequence[Entry], issued: int) -> int:
    """Return how many of the first entries are safe once issued were issued: those up to the last flush."""
    return next((at for at in range(issued, 0, -1) if entries[at - 1].flush), 0)


def _random(told: Told, chance: random.Random) -> Cut:
    entries = told.entries
    low, high = (told.ended, len(entries)) if chance.random() < _LATER else (told.started, told.ended)
    issued = chance.randint(low, high)
    safe, kind = safe_at(entries, issued), chance.choice(KINDS[1:])
    pieces = [Piece(at, 0, entries[at].sectors) for at in range(safe, issued) if entries[at].sectors]
    if kind != "prefix":
        likely = chance.random()
        pieces = [piece for piece in pieces if entries[piece.entry].forced or chance.random() < likely]
    if kind == "torn":
        pieces = [part for piece in pieces for part in _torn(piece, entries[piece.entry], told.joined, chance)]
    return Cut(kind, issued, safe, tuple(pieces))


def _torn(piece: Piece, entry: Entry, joined: Callable[[int], bool], chance: random.Random) -> list[Piece]:
    """Return what is there of a write: all, the beginning, the end, or some of it."""
    if entry.forced:
        return [piece]
    edges = [0, *(at for at in range(1, piece.sectors) if not joined(entry.first + at)), piece.sectors]
    parts = [Piece(piece.entry, start, end - start) for start, end in zip(edges, edges[1:])]
    middle = chance.randrange(len(parts))
    some = [part for part in parts if chance.random() < 0.5]
    return chance.choice((parts, parts[:middle], parts[middle:], some))


def written(entries: Sequence[Entry], cut: Cut) -> Iterator[tuple[int, bytes]]:
    """Give, in order, what reached the disk, each with the byte where it goes."""
    whole = (Piece(at, 0, entries[at].sectors) for at in range(cut.safe))
    for piece in (*whole, *cut.kept):
        entry = entries[piece.entry]
        length, start = piece.sectors * SECTOR, piece.first * SECTOR
        if length:
            data = bytes(length) if entry.data is None else entry.data[start : start + length]
            yield entry.first * SECTOR + start, data
