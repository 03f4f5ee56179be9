"""Deleting snapshots: all that stays reads the same, whatever stood on what, in each direction."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import errors
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


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("which", [(0, 1), (1, 2), (0, 2), (1, 2, 3), (0, 3), (0, 1, 2), (0, 1, 2, 3)], ids=str)
def test_several_snapshots_of_a_chain_can_go_at_once(
    oracle: Oracle, which: tuple[int, ...], direction: Direction
) -> None:
    _, made = chain(oracle)
    oracle.delete(*(made[number] for number in which), direction=direction)
    oracle.check()


class Branches(NamedTuple):
    """
    Snapshots of one volume: b and c stand on a, d on c, e on d; the volume stands on e.

    Trash item i stands on b, j on d; each image has data of its own.
    """

    volume: str
    a: str
    b: str
    c: str
    d: str
    e: str
    i: str
    j: str


def branches(oracle: Oracle) -> Branches:
    volume = oracle.volume()
    spots = itertools.count()

    def write() -> None:
        oracle.write(volume, next(spots) * CLUSTER // 2, CLUSTER)

    def create(name: str) -> str:
        write()
        return oracle.create(volume, name).uuid

    def revert(snapshot: str) -> str:
        write()
        item = oracle.revert(snapshot)
        assert item is not None
        return item

    a = create("a")
    b = create("b")
    i = revert(a)
    c, d = create("c"), create("d")
    j = revert(d)
    e = create("e")
    write()
    return Branches(volume, a, b, c, d, e, i, j)


@pytest.mark.parametrize("direction", ["auto", "pull"])
@pytest.mark.parametrize("which", [*"abcde", "ab", "ac", "bd", "cd", "ad", "acd", "ace", "abcde"])
def test_branch_points_and_origins_can_go(oracle: Oracle, which: str, direction: Direction) -> None:
    found = branches(oracle)
    oracle.delete(*(getattr(found, name) for name in which), direction=direction)
    oracle.check()
    oracle.write(found.volume, 12 * CLUSTER)
    oracle.create(found.volume, "next")
    oracle.check()


@pytest.mark.parametrize("which", "abcde")
def test_a_snapshot_goes_with_all_that_stands_on_it(oracle: Oracle, which: str) -> None:
    found = branches(oracle)
    oracle.delete(getattr(found, which), descendants=True)
    oracle.check()
    oracle.create(found.volume, "next")
    oracle.check()


def test_children_of_an_origin_become_origins_and_the_live_one_keeps_the_tree(oracle: Oracle) -> None:
    found = branches(oracle)
    tree = oracle.engine.get_snapshot(found.a).tree_uuid
    oracle.delete(found.a)
    b, c, e = (oracle.engine.get_snapshot(uuid) for uuid in (found.b, found.c, found.e))
    assert (c.tree_uuid, e.tree_uuid, e.latest) == (tree, tree, True)
    assert b.tree_uuid != tree and b.latest
    assert (b.parent_uuid, c.parent_uuid, b.distance, c.distance, e.distance) == (None, None, 1, 1, 3)


def test_the_parent_of_a_deleted_latest_becomes_the_latest(oracle: Oracle) -> None:
    found = branches(oracle)
    oracle.delete(found.e)
    assert oracle.engine.get_snapshot(found.d).latest
    assert oracle.create(found.volume, "next").parent_uuid == found.d


def test_a_commit_of_a_snapshot_with_several_children_is_refused_and_nothing_happens(oracle: Oracle) -> None:
    found = branches(oracle)
    with pytest.raises(errors.Conflict, match="several images stand on"):
        oracle.engine.delete_snapshots((found.a,), direction="commit")
    oracle.check()


@pytest.mark.parametrize("which", ["ab", "abc"], ids=["from the latest", "twice"])
def test_an_undo_leaves_no_trace_of_the_latest_snapshot(oracle: Oracle, which: str) -> None:
    volume, made = chain(oracle)
    for _ in which[1:]:
        oracle.undo(volume)
        oracle.check()
    assert oracle.create(volume, "next").parent_uuid == made[-len(which)]


def test_an_undo_of_the_only_snapshot_leaves_a_volume_that_stands_on_nothing(oracle: Oracle) -> None:
    volume, _ = chain(oracle, 1)
    oracle.undo(volume)
    oracle.check()
    with pytest.raises(errors.Conflict, match="stands on no snapshot"):
        oracle.engine.undo_snapshot(volume)


def test_an_undo_is_refused_where_something_else_stands_on_the_snapshot(oracle: Oracle) -> None:
    found = branches(oracle)
    oracle.revert(found.c)
    with pytest.raises(errors.Conflict, match="d stands on it"):
        oracle.engine.undo_snapshot(found.volume)
    oracle.revert(found.e)
    oracle.write(found.volume)
    oracle.revert(found.e)
    with pytest.raises(errors.Conflict, match="trash item"):
        oracle.engine.undo_snapshot(found.volume)
    oracle.check()


def test_a_branch_under_a_deleted_parent_can_still_be_reverted_to(oracle: Oracle) -> None:
    volume, (s1, s2, s3) = chain(oracle, 3)
    oracle.revert(s2)
    oracle.write(volume, 8 * CLUSTER)
    oracle.create(volume, "s4")
    oracle.delete(s2)
    oracle.delete(s1)
    oracle.check()
    oracle.revert(s3)
    oracle.check()
