"""What is merged down around the host's page cache, and that it holds the same."""

import os
from pathlib import Path

import pytest

from snapengine import caching, chain
from tests import check, privileged
from tests.oracle import CLUSTER, MIB, Oracle

ODD = 8 * MIB + 3 * 512


def layered(oracle: Oracle, snapshots: int, length: int) -> tuple[str, list[str]]:
    """Return a volume of an odd size and so many snapshots; each layer has pieces of this length, up to its end."""
    volume = oracle.volume("disk", ODD)
    found = []
    for number in range(snapshots):
        oracle.write(volume, number * CLUSTER, length)
        found.append(oracle.create(volume, f"s{number}").uuid)
    oracle.write(volume, 4 * MIB, length)
    oracle.write(volume, ODD - 512, 512)
    return volume, found


@pytest.mark.parametrize("length, answer", [(3 * MIB, True), (CLUSTER, False)], ids=["large", "small"])
def test_the_cache_is_needless_for_large_pieces_only(oracle: Oracle, length: int, answer: bool) -> None:
    path = oracle.engine.volume_path(layered(oracle, 1, length)[0])

    assert caching.is_needless(path, [chain.layer(path)]) is answer


@pytest.mark.root
def test_where_nothing_can_go_around_the_cache_all_goes_through_it(oracle: Oracle, tmp_path: Path) -> None:
    volume, _ = layered(oracle, 1, 3 * MIB)
    with privileged.ramfs(tmp_path / "ramfs") as disk:
        (disk / "target").touch()

        assert not caching.is_needless(disk / "target", [chain.layer(oracle.engine.volume_path(volume))])


@pytest.mark.parametrize("doomed", [1, 2], ids=["one layer", "several layers"])
@pytest.mark.parametrize("length", [CLUSTER, 3 * MIB, 3 * MIB + 512], ids=["small", "large", "large and not aligned"])
def test_what_is_merged_down_holds_the_same_whichever_way_it_goes(
    oracle: Oracle, doomed: int, length: int
) -> None:  # fmt: skip
    _, snapshots = layered(oracle, 3, length)

    oracle.delete(*snapshots[-doomed:], direction="commit")

    check.full(oracle.engine, oracle.expected)
    assert len(oracle.engine.list_snapshots()) == 3 - doomed


def test_the_probe_follows_no_symlink(oracle: Oracle, tmp_path: Path) -> None:
    volume, _ = layered(oracle, 1, 3 * MIB)
    path = oracle.engine.volume_path(volume)
    os.symlink(path, tmp_path / "link")

    assert not caching.is_needless(tmp_path / "link", [chain.layer(path)])
