"""Deleting snapshots: all that stays reads the same, whatever stood on what, in each direction."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapengine.cost import Direction
from snapengine.engine import Engine
from tests import privileged
from tests.oracle import CLUSTER, Oracle

DIRECTIONS: tuple[Direction, ...] = ("auto", "pull", "commit")


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with privileged.xfs(tmp_path_factory.mktemp("delete")) as disk:
        yield disk


_names = itertools.count()


@pytest.fixture(params=["plain", "reflinks"])
def oracle(request: pytest.FixtureRequest, tmp_path: Path) -> Oracle:
    """Return an engine on a file system without reflinks, and on one with them."""
    if request.param == "plain":
        return Oracle(Engine.init(tmp_path / "storage"))
    disk: Path = request.getfixturevalue("xfs")
    return Oracle(Engine.init(disk / f"storage-{next(_names)}"))


def chain(oracle: Oracle, count: int = 4) -> tuple[str, list[str]]:
    """Return a volume and its snapshots, one on the other; each layer overlaps half of the one below."""
    volume = oracle.volume()
    made = []
    for number in range(count):
        oracle.write(volume, number * CLUSTER, 2 * CLUSTER)
        made.append(oracle.create(volume, f"s{number}").uuid)
    oracle.write(volume, count * CLUSTER, CLUSTER + 512)
    return volume, made


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("which", range(4))
def test_each_snapshot_of_a_chain_can_go(oracle: Oracle, which: int, direction: Direction) -> None:
    _, made = chain(oracle)
    oracle.delete(made[which], direction=direction)
    oracle.check()
