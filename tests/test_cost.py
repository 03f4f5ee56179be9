"""What joining layers costs, and which way is taken."""

import itertools
import random
from collections.abc import Mapping

import pytest

from snapengine import cost
from snapengine.cost import Cost, Direction, Way
from snapengine.extents import Extent, Kind
from snapengine.units import GIB, KIB, MIB, TIB

KINDS: dict[str, Kind] = {"d": "data", "z": "zero", "c": "compressed"}


def extents(text: str, unit: int = MIB) -> list[Extent]:
    """Return the extents of an image: each letter is a unit of the disk, a dot one that the image does not hold."""
    found, at = [], 0
    for letter, same in itertools.groupby(text):
        length = len([*same]) * unit
        if letter in KINDS:
            found.append(Extent(at, length, KINDS[letter], at if letter == "d" else None))
        at += length
    return found


def costs(child: str, *run: str, unit: int = MIB) -> dict[Way, Cost]:
    return cost.costs(extents(child, unit), [extents(layer, unit) for layer in run], 0, 0, alone=False)


# of each way MiB, extents and, of a pull, writes
COSTS: dict[str, tuple[list[str], Mapping[Way, tuple[int, int, int]]]] = {
    "covered": (["dddd", "dd.."], {"clone": (0, 1, 0), "rebase": (0, 0, 0), "pull": (0, 0, 0), "commit": (4, 1, 0)}),
    "the same": (["dd..", "dd.."], {"clone": (0, 1, 0), "rebase": (0, 0, 0), "pull": (0, 0, 0), "commit": (2, 1, 0)}),
    "disjoint": (["d...", ".ddd"], {"clone": (0, 1, 0), "pull": (3, 1, 2), "commit": (1, 1, 0)}),
    "overlapping": (["ddd.", ".ddd"], {"clone": (0, 1, 0), "pull": (1, 1, 1), "commit": (3, 1, 0)}),
    "scattered": (["d.d.d.", ".d.d.d"], {"clone": (0, 3, 0), "pull": (3, 3, 3), "commit": (3, 3, 0)}),
    "an empty child": (["....", "dddd"], {"clone": (0, 0, 0), "pull": (4, 1, 2), "commit": (0, 0, 0)}),
    "an empty layer": (["d...", "...."], {"clone": (0, 1, 0), "rebase": (0, 0, 0), "pull": (0, 0, 0),
                                          "commit": (1, 1, 0)}),
    "nothing at all": (["....", "...."], {"clone": (0, 0, 0), "rebase": (0, 0, 0), "pull": (0, 0, 0),
                                          "commit": (0, 0, 0)}),
    "zeros hide what lies below": (["zz..", "dd.."], {"clone": (0, 1, 0), "rebase": (0, 0, 0), "pull": (0, 0, 0),
                                                      "commit": (0, 0, 0)}),
    "zeros must not be lost, and cost nothing": (["d...", ".zzz"], {"clone": (0, 1, 0), "pull": (0, 0, 0),
                                                                    "commit": (1, 1, 0)}),
    "zeros beside data": (["d...", ".zdd"], {"clone": (0, 1, 0), "pull": (2, 1, 1), "commit": (1, 1, 0)}),
    "compressed is data": (["c...", ".ccd"], {"clone": (0, 1, 0), "pull": (3, 1, 2), "commit": (1, 1, 0)}),
    "two layers": (["d...", ".d..", "..d."], {"clone": (0, 2, 0), "pull": (2, 1, 1), "commit": (2, 1, 0)}),
    "two layers, the lowest is where it is": (["d...", "....", ".ddd"], {
        "clone": (0, 1, 0), "pull": (3, 1, 2), "commit": (1, 1, 0),
    }),
    "two layers, covered by one": (["....", "dddd", "dddd"], {"clone": (0, 1, 0), "pull": (4, 1, 2),
                                                              "commit": (4, 1, 0)}),
}  # fmt: skip


@pytest.mark.parametrize("row", COSTS.values(), ids=COSTS.keys())
def test_costs(row: tuple[list[str], Mapping[Way, tuple[int, int, int]]]) -> None:
    (child, *run), expected = row
    found = costs(child, *run)
    assert {way: (each.bytes // MIB, each.extents, each.writes) for way, each in found.items()} == expected
    assert [each.way for each in found.values()] == list(found)


def test_a_layer_that_is_larger_than_its_child_is_missed_behind_its_end() -> None:
    assert "rebase" not in costs("dd", "dddd")


def test_more_bytes_and_more_extents_take_longer() -> None:
    for way in ("pull", "commit"):
        assert costs("d" * 64, "d" * 63 + "." + "d" * 64)[way].seconds > costs("dd", "d.dd")[way].seconds
    assert costs("d." * 64, ".d" * 64)["clone"].seconds > costs("d" * 64, ".d" * 64)["clone"].seconds


ALMOST_COVERED = costs("d" * 255 + ".", "d" * 256)
ALMOST_EMPTY = costs("d" + "." * 255, "d" * 256)
EMPTY = costs("." * 256, "d" * 256)
COVERED = costs("d" * 256, "d" * 256)
SMALL = costs("d.", ".d")
SCATTERED = costs("d." * 8192, ".d" * 8192, unit=4 * KIB)
ZEROS = costs("d.", "zz")
ALL = {"reflinks": True, "sole": True, "fitting": True}
PLAIN = {**ALL, "reflinks": False}

CHOICES: dict[str, tuple[dict[Way, Cost], Direction, dict[str, bool], Way]] = {
    "a covered one needs a header only": (COVERED, "auto", PLAIN, "rebase"),
    "a covered one, with reflinks": (COVERED, "auto", ALL, "rebase"),
    "a covered one, pulled": (COVERED, "pull", ALL, "rebase"),
    "a covered one, committed as asked": (COVERED, "commit", ALL, "commit"),
    "little is missing": (ALMOST_COVERED, "auto", PLAIN, "pull"),
    "little is missing, committed as asked": (ALMOST_COVERED, "commit", PLAIN, "commit"),
    "much is missing": (ALMOST_EMPTY, "auto", PLAIN, "commit"),
    "much is missing, pulled as asked": (ALMOST_EMPTY, "pull", PLAIN, "pull"),
    "much is missing, with reflinks": (ALMOST_EMPTY, "auto", ALL, "clone"),
    "much is missing, pulled as asked with reflinks": (ALMOST_EMPTY, "pull", ALL, "clone"),
    "nothing above": (EMPTY, "auto", PLAIN, "commit"),
    "where it hardly matters, what can be stopped": (SMALL, "auto", PLAIN, "pull"),
    "zeros": (ZEROS, "auto", PLAIN, "pull"),
    "others stand on it": (ALMOST_EMPTY, "auto", {**PLAIN, "sole": False}, "pull"),
    "others stand on it, with reflinks": (ALMOST_EMPTY, "auto", {**ALL, "sole": False}, "clone"),
    "smaller than what it takes in": (ALMOST_EMPTY, "auto", {**PLAIN, "fitting": False}, "pull"),
    "smaller, with reflinks": (ALMOST_EMPTY, "auto", {**ALL, "fitting": False}, "pull"),
    "scattered": (SCATTERED, "auto", PLAIN, "commit"),
    "scattered, others stand on it": (SCATTERED, "auto", {**PLAIN, "sole": False}, "pull"),
    "scattered, with reflinks: clone and commit cost the same": (SCATTERED, "auto", ALL, "clone"),
}


@pytest.mark.parametrize("row", CHOICES.values(), ids=CHOICES.keys())
def test_choose(row: tuple[dict[Way, Cost], Direction, dict[str, bool], Way]) -> None:
    found, direction, facts, expected = row
    chosen = cost.choose(found, direction, (), **facts)
    assert chosen.way == expected
    assert chosen == found[expected]


ROOM: dict[str, tuple[Direction, set[Way], Way]] = {
    "for all": ("auto", set(), "commit"),
    "for no commit": ("auto", {"commit"}, "pull"),
    "for a commit alone": ("auto", {"pull", "clone"}, "commit"),
    "for none": ("auto", {"pull", "clone", "commit"}, "commit"),
    "for no commit, which was asked for": ("commit", {"commit"}, "commit"),
    "for a commit, and a pull was asked for": ("pull", {"pull", "clone"}, "pull"),
}


@pytest.mark.parametrize("name", ROOM)
def test_where_there_is_room(name: str) -> None:
    direction, scarce, expected = ROOM[name]
    assert cost.choose(ALMOST_EMPTY, direction, scarce, **PLAIN).way == expected


def test_with_reflinks_a_pull_is_taken_where_there_is_no_room_for_a_clone() -> None:
    assert cost.choose(ALMOST_EMPTY, "auto", {"clone", "commit"}, **ALL).way == "pull"


@pytest.mark.parametrize("facts", [dict(zip(ALL, f, strict=True)) for f in itertools.product([True, False], repeat=3)])
@pytest.mark.parametrize("direction", ["auto", "pull"])
def test_the_way_is_always_one_that_is_allowed(direction: Direction, facts: dict[str, bool]) -> None:
    for found in (COVERED, ALMOST_COVERED, ALMOST_EMPTY, EMPTY, SMALL, SCATTERED, ZEROS):
        way = cost.choose(found, direction, (), **facts).way
        assert way in found
        assert way != "clone" or (facts["reflinks"] and facts["fitting"])
        assert way != "commit" or (direction == "auto" and facts["sole"] and facts["fitting"])


def hollow(size: int, *, alone: bool, copied: int = 64 * MIB) -> dict[Way, Cost]:
    """Return what it costs that an empty child of so many bytes takes in a layer that holds a MiB, without reflinks."""
    return cost.costs([], [extents("d")], size, copied, alone=alone)


@pytest.mark.parametrize(
    ("size", "alone", "facts", "expected"),
    [
        (4 * GIB, True, {"sole": False}, "pull"),
        (TIB, False, {"sole": False}, "pull"),
        (TIB, True, {}, "commit"),
        (TIB, True, {"sole": False}, "clone"),
        (1024 * TIB, False, {"sole": False}, "clone"),
        (TIB, True, {"sole": False, "fitting": False}, "pull"),
    ],
    ids=["a little", "over a layer", "commit", "onto nothing", "a PiB over a layer", "smaller than what it takes in"],
)
def test_where_a_pull_would_look_at_nothing_for_long_the_lowest_layer_is_copied(
    size: int, alone: bool, facts: dict[str, bool], expected: Way
) -> None:
    assert cost.choose(hollow(size, alone=alone), "auto", (), **PLAIN | facts).way == expected


def test_a_layer_whose_copy_takes_longer_is_pulled() -> None:
    found = hollow(100 * GIB, alone=True, copied=TIB)

    assert cost.choose(found, "pull", (), **PLAIN).way == "pull"


def test_a_clone_that_copies_takes_the_room_of_the_copy_too() -> None:
    layers = [extents("d.d."), extents("....")]
    alone, shared = (cost.room("clone", layers[0], layers[1:], [64 * KIB] * 2, copied) for copied in (MIB, 0))

    assert alone > MIB + 2 * 64 * KIB
    assert shared == 0


def test_a_commit_must_be_quicker_by_half() -> None:
    pull, slower, quicker = Cost("pull", 10**9, 1), Cost("commit", 10**9, 1), Cost("commit", 6 * 10**8, 1)
    assert slower.seconds < pull.seconds < 1.5 * slower.seconds
    assert cost.choose({"pull": pull, "commit": slower}, "auto", (), **PLAIN).way == "pull"
    assert cost.choose({"pull": pull, "commit": quicker}, "auto", (), **PLAIN).way == "commit"


def room(way: Way, child: str, *run: str, above: int = 64 * KIB, lowest: int = 64 * KIB, unit: int = 64 * KIB) -> int:
    sizes = [*[above] * len(run), lowest]
    return cost.room(way, extents(child, unit), [extents(layer, unit) for layer in run], sizes, 0)


TABLES = 2 * 64 * KIB  # one that names and one that counts
LARGE = 2 * MIB
LARGE_TABLES = 2 * LARGE


@pytest.mark.parametrize(
    ("way", "layers", "lowest", "expected"),
    [
        ("commit", ["d.d.", "...."], 64 * KIB, 128 * KIB + TABLES),
        ("commit", ["z.z.", "dddd"], 64 * KIB, 0),
        ("commit", ["d" + "." * 31 + "d", "."], LARGE, 2 * LARGE + LARGE_TABLES),
        ("commit", ["d.d", "."], LARGE, LARGE + LARGE_TABLES),
        ("commit", ["." * 31 + "z", "d" * 32], LARGE, LARGE + LARGE_TABLES),
        ("commit", ["z" * 32, "d" * 32], LARGE, 0),
        ("commit", ["...", "d..", "..d"], 64 * KIB, 64 * KIB + TABLES),
        ("clone", ["d.d.", "...."], 64 * KIB, 0),
        ("clone", ["c...", "...."], 64 * KIB, 64 * KIB + TABLES),
        ("clone", ["d.d.", "...."], LARGE, LARGE + LARGE_TABLES),
        ("pull", ["d...", ".d.d"], LARGE, 128 * KIB + TABLES),
        ("pull", ["d...", ".z.z"], LARGE, 0),
        ("rebase", ["dddd", ".d.d"], LARGE, 0),
    ],
)
def test_what_is_written_takes_whole_clusters_and_their_tables(
    way: Way, layers: list[str], lowest: int, expected: int
) -> None:
    assert room(way, *layers, lowest=lowest) == expected


def test_a_pull_into_large_clusters_takes_whole_ones_too() -> None:
    assert room("pull", "." * 33, "d" + "." * 31 + "d", above=LARGE) == 2 * LARGE + LARGE_TABLES


def test_what_is_smaller_than_a_block_of_the_disk_can_not_be_shared() -> None:
    assert room("clone", "d", ".", above=512, lowest=512, unit=512) > 512


@pytest.mark.parametrize("cluster", [512, 4 * KIB, 64 * KIB, 2 * MIB])
def test_no_way_takes_more_room_than_the_glance_tells(cluster: int) -> None:
    chance = random.Random(cluster)
    for _ in range(30):
        layers = ["".join(chance.choices("..dzc", k=chance.randrange(1, 40))) for _ in range(3)]
        unit = chance.choice([512, 4 * KIB, 64 * KIB, MIB])
        found = [extents(layer, unit) for layer in layers]
        sizes = [chance.choice([512, cluster]), 512, cluster]
        for way in cost.costs(found[0], found[1:], 0, 0, alone=False):
            for copied in (0, MIB):
                most = cost.most_room(found, max(sizes), copied)
                assert cost.room(way, found[0], found[1:], sizes, copied) <= most
