"""Deletes where the layers have different sizes: grown volumes with dirty bitmaps, images that were shrunk by hand."""

from collections.abc import Iterator
from typing import NamedTuple

import pytest

from snapengine import records
from tests import check, prepared, privileged
from tests.oracle import CLUSTER, MIB, Oracle
from tests.prepared import By, Stores
from tests.test_delete_bitmaps import assert_marks, bitmap, marks

BY = pytest.mark.parametrize("by", ["pull", "commit", "clone"])


class Grown(NamedTuple):
    """A volume that grew after its first snapshot and after its second; each layer has the bitmap backup."""

    volume: str
    first: str
    second: str
    third: str


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores[Grown]]:
    plain = tmp_path_factory.mktemp("plain")
    with privileged.xfs(tmp_path_factory.mktemp("sizes")) as xfs:
        yield Stores({"pull": plain, "commit": plain, "clone": xfs}, grown)


def grown(oracle: Oracle) -> Grown:
    volume = oracle.volume(size=MIB)
    bitmap(oracle.engine.volume_path(volume), "--add", "backup")
    made = []
    for number, name in enumerate(("first", "second", "third")):
        oracle.write(volume, number * 2 * CLUSTER)
        oracle.write(volume, len(oracle.expected[volume]) - CLUSTER)
        made.append(oracle.create(volume, name).uuid)
        oracle.resize(volume, (number + 2) * MIB)
    oracle.write(volume, 7 * CLUSTER)
    oracle.write(volume, 4 * MIB - CLUSTER)
    return Grown(volume, *made)


def broken(oracle: Oracle, volume: str) -> tuple[str, ...]:
    return records.read_volume(oracle.engine.volume_path(volume).parent).broken_bitmaps


@BY
@pytest.mark.parametrize("which", ["1", "2", "3", "12", "23", "123"])
def test_snapshots_with_bitmaps_of_other_sizes_are_deleted_and_no_byte_is_lost(
    stores: Stores[Grown], which: str, by: By
) -> None:
    oracle, found = stores.copy(by)
    prepared.delete(oracle, by, *(found[int(number)] for number in which))
    check.full(oracle.engine, oracle.expected, deep=False)


@pytest.mark.parametrize("by", ["commit", "clone"])
def test_a_bitmap_of_the_lowest_grows_with_it_and_goes_on(stores: Stores[Grown], by: By) -> None:
    oracle, found = stores.copy(by)
    prepared.delete(oracle, by, found.first)
    assert_marks(oracle.engine.snapshot_path(found.second), {"backup": {0, 2, 15}}, {2})
    assert broken(oracle, found.volume) == ()


@pytest.mark.parametrize(("which", "by"), [("1", "pull"), ("12", "pull"), ("23", "commit"), ("23", "clone")])
def test_a_bitmap_that_no_tool_can_join_ends_and_is_noted_as_broken(
    stores: Stores[Grown], which: str, by: By
) -> None:
    oracle, found = stores.copy(by)
    above = "volume" if "3" in which else "third" if "2" in which else "second"
    prepared.delete(oracle, by, *(found[int(number)] for number in which))
    taken_in = oracle.engine.volume_path(found.volume).with_stem(getattr(found, above))
    assert marks(taken_in) == {}
    assert broken(oracle, found.volume) == ("backup",)
    if above == "third":
        assert set(marks(oracle.engine.volume_path(found.volume))) == {"backup"}
