"""What a disk may hold after a power cut: all that was flushed, and any part of the rest."""

import random

from tests.powercut import cuts
from tests.powercut.cuts import KINDS, Cut, Piece, Told
from tests.powercut.log import SECTOR, Entry

FLUSH = Entry(0, 0, b"", flush=True)
MANY = 400


def write(first: int, *letters: str, forced: bool = False) -> Entry:
    """Return a write of a sector for each letter, full of it."""
    return Entry(first, len(letters), b"".join(letter.encode() * SECTOR for letter in letters), forced=forced)


def disk(told: Told, cut: Cut) -> str:
    """Return what a disk of eight sectors holds after a cut, a letter a sector; a dot where nothing was written."""
    image = bytearray(b"." * 8 * SECTOR)
    for offset, data in cuts.written(told.entries, cut):
        image[offset : offset + len(data)] = data
    sectors = [image[at : at + SECTOR] for at in range(0, len(image), SECTOR)]
    assert all(len(set(sector)) == 1 for sector in sectors), "a sector is half there"
    return "".join(chr(sector[0]).replace("\0", "0") for sector in sectors)


def drawn(told: Told, seed: int = 1) -> list[Cut]:
    """Return many cuts."""
    return cuts.choose(told, MANY, random.Random(seed))


TOLD = Told((write(0, "a", "b"), FLUSH, write(2, "c"), write(4, "d", "e", "f", "g"), write(2, "h"), FLUSH), 0, 6)


def test_what_was_flushed_before_a_cut_is_always_there() -> None:
    for cut in drawn(TOLD):
        assert cut.safe == max((at + 1 for at in range(cut.issued) if TOLD.entries[at].flush), default=0)
        assert disk(TOLD, cut).startswith("ab") or cut.safe == 0


def test_nothing_is_there_that_was_not_issued() -> None:
    for cut in drawn(TOLD):
        assert all(cut.safe <= piece.entry < cut.issued for piece in cut.kept)


def test_of_what_was_not_flushed_anything_may_be_there() -> None:
    found = {disk(TOLD, cut) for cut in drawn(TOLD)}

    assert {"abh.defg", "ab......", "abc.....", "abc.defg", "........"} <= found
    assert "abh....." in found, "a later write may be there without the one before it"
    assert {"abc.d...", "abc....g", "abh.d.f."} & found, "a write may be torn"


def test_every_kind_of_cut_comes() -> None:
    assert {cut.kind for cut in drawn(TOLD)} == set(KINDS)


def test_what_is_joined_is_not_torn() -> None:
    pairs = Told(TOLD.entries, 0, 6, joined=lambda sector: sector % 2 == 1)

    assert {disk(pairs, cut)[4:] for cut in drawn(pairs)} == {"....", "de..", "..fg", "defg"}


def test_the_first_cut_is_the_moment_after_the_verb_has_ended() -> None:
    told = Told(TOLD.entries, 1, 4)

    assert cuts.choose(told, 5, random.Random(2))[0] == Cut("flushed", issued=4, safe=2)


def test_no_cut_comes_before_the_verb_began() -> None:
    assert {cut.issued for cut in drawn(Told(TOLD.entries, 3, 5))} == {3, 4, 5, 6}


def test_a_write_that_was_forced_is_not_lost() -> None:
    told = Told((write(0, "a", "b"), write(2, "c", "d", forced=True), write(4, "e")), 0, 3)
    cached = {disk(told, cut) for cut in drawn(told) if cut.issued == 3 and cut.kind in ("dropped", "torn")}

    assert len(cached) > 3
    assert all(there[2:4] == "cd" for there in cached)


def test_a_discard_reads_as_zeros() -> None:
    told = Told((write(0, "a", "b"), Entry(1, 1, None), FLUSH), 0, 3)

    assert disk(told, cuts.flushed(told.entries, 3)) == "a0......"


def test_a_seed_draws_the_same_cuts_again() -> None:
    assert drawn(TOLD, 3) == drawn(TOLD, 3) != drawn(TOLD, 4)


def test_cuts_are_all_different_and_no_more_than_asked_for() -> None:
    assert len(set(drawn(TOLD))) == len(drawn(TOLD)) <= MANY
    assert len(cuts.choose(TOLD, 4, random.Random(5))) == 4


def test_pieces_are_written_where_they_belong() -> None:
    cut = Cut("torn", 4, 2, (Piece(3, 1, 2),))

    assert disk(TOLD, cut) == "ab...ef."
