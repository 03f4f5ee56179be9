"""Deleting snapshots: all that stays reads the same, whatever stood on what, by each way."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import errors
from tests import check, prepared
from tests.oracle import CLUSTER, Oracle
from tests.prepared import BY, By, Stores


class Branches(NamedTuple):
    """
    Snapshots of one volume: b and c stand on a, d on c, e on d; the volume stands on e.

    Trash item i stands on b, j on d; each image has data of its own, and most overlap the one below.
    """

    volume: str
    a: str
    b: str
    c: str
    d: str
    e: str
    i: str
    j: str


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[By, Path]]:
    with prepared.disks(tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="module")
def chains(disks: dict[By, Path]) -> Stores[list[str]]:
    """Return stores of a volume and, of these things the first, its snapshots."""
    return Stores(disks, chain)


@pytest.fixture(scope="module")
def forests(disks: dict[By, Path]) -> Stores[Branches]:
    return Stores(disks, branches)


def chain(oracle: Oracle) -> list[str]:
    """Make a volume and four snapshots, one on the other; each layer overlaps half of the one below."""
    made = [volume := oracle.volume()]
    for number in range(4):
        oracle.write(volume, number * CLUSTER, 2 * CLUSTER)
        made.append(oracle.create(volume, f"s{number}").uuid)
    oracle.write(volume, 4 * CLUSTER, CLUSTER + 512)
    return made


def branches(oracle: Oracle) -> Branches:
    volume = oracle.volume()
    spots = itertools.count()

    def write() -> None:
        oracle.write(volume, next(spots) * CLUSTER, CLUSTER + CLUSTER // 2)

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


def checked(oracle: Oracle) -> None:
    """Do the full check; the engine's own `verify --deep` would only run qemu-img check once more."""
    check.full(oracle.engine, oracle.expected, deep=False)


@BY
@pytest.mark.parametrize("which", [*"1234", "12", "23", "13", "234", "14", "123", "1234"])
def test_snapshots_of_a_chain_can_go_one_by_one_and_several_at_once(
    chains: Stores[list[str]], which: str, by: By
) -> None:
    oracle, made = chains.copy(by)
    prepared.delete(oracle, by, *(made[int(number)] for number in which))
    checked(oracle)


ONLY_CHILDREN = [*"bce", "ce"]  # of which no two stand on the same, so that each can be committed


@pytest.mark.parametrize(
    ("which", "by"),
    [
        *itertools.product([*"abcde", "ab", "ac", "bd", "cd", "ad", "acd", "ace", "abcde"], ["pull", "clone"]),
        *itertools.product(ONLY_CHILDREN, ["commit"]),
    ],
)
def test_branch_points_and_origins_can_go(forests: Stores[Branches], which: str, by: By) -> None:
    oracle, found = forests.copy(by)
    prepared.delete(oracle, by, *(getattr(found, name) for name in which))
    oracle.write(found.volume, 12 * CLUSTER)
    oracle.create(found.volume, "next")
    checked(oracle)


@pytest.mark.parametrize(
    ("which", "by"), [*itertools.product("abcde", ["pull"]), *itertools.product("acde", ["commit", "clone"])]
)
def test_a_snapshot_goes_with_all_that_stands_on_it(forests: Stores[Branches], which: str, by: By) -> None:
    oracle, found = forests.copy(by)
    prepared.delete(oracle, by, getattr(found, which), descendants=True)
    oracle.create(found.volume, "next")
    checked(oracle)


def test_what_is_verified_deeply_has_no_problem_after_several_deletes(forests: Stores[Branches]) -> None:
    oracle, found = forests.copy("clone")
    oracle.delete(found.c)
    oracle.delete(found.b, found.e)
    oracle.check()


def test_children_of_an_origin_become_origins_and_the_live_one_keeps_the_tree(forests: Stores[Branches]) -> None:
    oracle, found = forests.copy("pull")
    tree = oracle.engine.get_snapshot(found.a).tree_uuid
    oracle.delete(found.a)
    b, c, e = (oracle.engine.get_snapshot(uuid) for uuid in (found.b, found.c, found.e))
    assert (c.tree_uuid, e.tree_uuid, e.latest) == (tree, tree, True)
    assert b.tree_uuid != tree and b.latest
    assert (b.parent_uuid, c.parent_uuid, b.distance, c.distance, e.distance) == (None, None, 1, 1, 3)


def test_the_parent_of_a_deleted_latest_becomes_the_latest(forests: Stores[Branches]) -> None:
    oracle, found = forests.copy("pull")
    oracle.delete(found.e)
    assert oracle.engine.get_snapshot(found.d).latest
    assert oracle.create(found.volume, "next").parent_uuid == found.d


def test_a_commit_of_a_snapshot_with_several_children_is_refused_and_nothing_happens(
    forests: Stores[Branches]
) -> None:
    oracle, found = forests.copy("commit")
    name = f"{oracle.engine.get_volume(found.volume).name}/{oracle.engine.get_snapshot(found.a).name} ({found.a})"
    with pytest.raises(errors.Conflict) as refused:
        oracle.engine.delete_snapshots((found.a,), direction="commit")
    why = f"several images stand on snapshot {name}, so it can't be committed; use '--direction pull'"
    assert str(refused.value) == why
    checked(oracle)


def test_undos_leave_no_trace_of_the_latest_snapshots(chains: Stores[list[str]]) -> None:
    oracle, made = chains.copy("pull")
    oracle.undo(made[0])
    checked(oracle)
    oracle.undo(made[0])
    assert oracle.create(made[0], "next").parent_uuid == made[2]
    checked(oracle)


def test_an_undo_of_the_only_snapshot_leaves_a_volume_that_stands_on_nothing(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    oracle.create(volume, "only")
    oracle.write(volume, CLUSTER)
    oracle.undo(volume)
    checked(oracle)
    with pytest.raises(errors.Conflict, match="stands on no snapshot"):
        oracle.engine.undo_snapshot(volume)


def test_an_undo_is_refused_where_something_else_stands_on_the_snapshot(forests: Stores[Branches]) -> None:
    oracle, found = forests.copy("pull")
    oracle.revert(found.c)
    with pytest.raises(errors.Conflict, match=rf"d \({found.d}\) stands on it; 'snapengine snapshot delete {found.c}'"):
        oracle.engine.undo_snapshot(found.volume)
    oracle.revert(found.e)
    oracle.write(found.volume)
    oracle.revert(found.e)
    with pytest.raises(errors.Conflict, match="trash item"):
        oracle.engine.undo_snapshot(found.volume)
    checked(oracle)


def test_a_branch_under_a_deleted_parent_can_still_be_reverted_to(chains: Stores[list[str]]) -> None:
    oracle, (volume, s1, s2, s3, _) = chains.copy("pull")
    oracle.revert(s2)
    oracle.write(volume, 8 * CLUSTER)
    oracle.create(volume, "s4")
    oracle.delete(s2)
    oracle.delete(s1)
    oracle.revert(s3)
    checked(oracle)
