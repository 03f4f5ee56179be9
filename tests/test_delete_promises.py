"""What went wrong elsewhere when snapshots were deleted, promise by promise."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import driver, durable, errors
from snapengine.cost import Direction
from snapengine.engine import Engine
from tests import check, images, prepared, privileged
from tests import qcow2_forge as forge
from tests import qemu
from tests.oracle import CLUSTER, MIB, Oracle
from tests.prepared import By, Stores


class Line(NamedTuple):
    """A volume with three snapshots, one on the other; leaf stands beside the third, on the second."""

    volume: str
    first: str
    second: str
    third: str
    leaf: str


def line(oracle: Oracle) -> Line:
    volume = oracle.volume("db", 4 * MIB)
    made = []
    for number, name in enumerate(("first", "second", "leaf")):
        oracle.write(volume, number * MIB, MIB)
        made.append(oracle.create(volume, name).uuid)
    first, second, leaf = made
    oracle.revert(second)
    oracle.write(volume, 2 * MIB, MIB)
    third = oracle.create(volume, "third").uuid
    oracle.write(volume, 3 * MIB, MIB)
    return Line(volume, first, second, third, leaf)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores[Line]:
    plain = tmp_path_factory.mktemp("plain")
    return Stores({"pull": plain, "commit": plain, "clone": plain}, line)


@pytest.fixture
def oracle(stores: Stores[Line]) -> Oracle:
    return stores.copy("pull")[0]


@pytest.fixture
def found(stores: Stores[Line], oracle: Oracle) -> Line:
    return stores.copy("pull")[1]


def checked(oracle: Oracle) -> None:
    check.full(oracle.engine, oracle.expected, deep=False)


def files(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name not in (".lock", "ballast")}


@contextmanager
def refused(oracle: Oracle, kind: type[errors.Error], why: str) -> Iterator[None]:
    before = files(oracle.engine.root)
    with pytest.raises(kind, match=why):
        yield
    assert files(oracle.engine.root) == before


def test_a_delete_of_one_whose_file_is_gone_already_succeeds_and_mends(oracle: Oracle, found: Line) -> None:
    oracle.engine.snapshot_path(found.leaf).unlink()
    oracle.delete(found.leaf)
    checked(oracle)


def test_a_delete_of_one_whose_record_is_gone_is_told_as_not_found(oracle: Oracle, found: Line) -> None:
    oracle.engine.snapshot_path(found.leaf).with_suffix(".json").unlink()
    with refused(oracle, errors.NotFound, found.leaf):
        oracle.engine.delete_snapshots((found.leaf,))


def test_what_something_stands_on_and_whose_file_is_gone_is_refused(oracle: Oracle, found: Line) -> None:
    oracle.engine.snapshot_path(found.second).unlink()
    with refused(oracle, errors.Corrupt, "is missing"):
        oracle.engine.delete_snapshots((found.second,))


@pytest.mark.parametrize("status", ["Creating", "Deleting"])
def test_any_record_in_any_state_can_be_deleted(oracle: Oracle, found: Line, status: str) -> None:
    for uuid in (found.leaf, found.third):
        path = oracle.engine.snapshot_path(uuid).with_suffix(".json")
        path.write_text(path.read_text().replace('"Ready"', f'"{status}"'))
    oracle.delete(found.leaf, found.third)
    checked(oracle)


def test_a_file_that_is_another_image_than_the_record_says_is_not_removed(oracle: Oracle, found: Line) -> None:
    leaf = oracle.engine.snapshot_path(found.leaf)
    shutil.copy(oracle.engine.snapshot_path(found.first), leaf)  # an origin, where the record says it stands on second
    with refused(oracle, errors.Refused, str(leaf)):
        oracle.engine.delete_snapshots((found.leaf,))


def test_the_file_of_another_snapshot_under_ones_name_is_not_merged(oracle: Oracle, found: Line) -> None:
    third = oracle.engine.snapshot_path(found.third)
    shutil.copy(oracle.engine.snapshot_path(found.second), third)
    with refused(oracle, errors.Refused, str(third)):
        oracle.engine.delete_snapshots((found.third,))


def test_a_link_to_a_file_elsewhere_is_not_followed_and_nothing_goes(
    oracle: Oracle, found: Line, tmp_path: Path
) -> None:
    leaf, outside = oracle.engine.snapshot_path(found.leaf), tmp_path / "precious.qcow2"
    leaf.rename(outside)
    leaf.symlink_to(outside)
    before = outside.read_bytes()
    with refused(oracle, errors.Error, str(leaf)):
        oracle.engine.delete_snapshots((found.leaf,))
    assert outside.read_bytes() == before


def test_a_record_whose_path_leads_elsewhere_removes_nothing_there(oracle: Oracle, found: Line, tmp_path: Path) -> None:
    image = oracle.engine.snapshot_path(found.leaf)
    outside = tmp_path / image.name
    shutil.copy(image, outside)
    record = image.with_suffix(".json")
    record.write_text(record.read_text().replace(str(image), str(outside)))
    oracle.delete(found.leaf)
    assert outside.exists()
    checked(oracle)


@pytest.mark.parametrize("lie", ["cut off", "counts as free"])
@pytest.mark.parametrize("bad", ["first to move", "last to move", "the trash item", "the active image"])
def test_one_of_several_images_whose_tables_lie_is_refused_before_any_other_moves(
    oracle: Oracle, found: Line, bad: str, lie: str
) -> None:
    """The trash item and the active image stand on one snapshot: which of them moves first, their uuids tell."""
    item = oracle.revert(found.third)
    oracle.write(found.volume)
    path, goes = {
        "first to move": (oracle.engine.snapshot_path(found.leaf), found.second),
        "last to move": (oracle.engine.snapshot_path(found.third), found.second),
        "the trash item": (oracle.engine.volume_path(found.volume).with_name(f"{item}.trash.qcow2"), found.third),
        "the active image": (oracle.engine.volume_path(found.volume), found.third),
    }[bad]
    if lie == "cut off":
        os.truncate(path, path.stat().st_size // 2)
    else:
        forge.set_refcount(path, path.stat().st_size // CLUSTER - 1, 0)
    directions: tuple[Direction, ...] = ("auto", "pull")
    for direction in directions:
        with refused(oracle, errors.Error, str(path)):
            oracle.engine.delete_snapshots((goes,), direction=direction)


def test_an_image_in_use_is_refused_before_any_other_moves(oracle: Oracle, found: Line) -> None:
    for uuid in (found.leaf, found.third):
        with qemu.locked(oracle.engine.snapshot_path(uuid)), refused(oracle, errors.InUse, uuid):
            oracle.engine.delete_snapshots((found.second,))
    oracle.delete(found.second)
    checked(oracle)


def test_no_other_snapshot_is_touched_by_the_delete_of_the_newest(oracle: Oracle, found: Line) -> None:
    kept = [oracle.engine.snapshot_path(uuid) for uuid in (found.first, found.second, found.leaf)]
    before = [(path.stat().st_ino, path.read_bytes()) for path in kept]
    oracle.delete(found.third)
    assert [(path.stat().st_ino, path.read_bytes()) for path in kept] == before
    checked(oracle)


def test_a_pull_whose_tool_said_that_it_worked_and_copied_nothing_is_put_back(
    oracle: Oracle, found: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "pull", lambda path, backing, progress: driver.unsafe_rebase(path, backing))
    with pytest.raises(errors.Corrupt, match="would not read the same"):
        oracle.engine.delete_snapshots((found.third,), direction="pull")
    checked(oracle)
    monkeypatch.undo()
    oracle.delete(found.third, direction="pull")
    checked(oracle)


ROOM = (0, 64 * 1024, 512 * 1024)  # less than what moves: a MiB


@contextmanager
def small_disk(path: Path, stores: Stores[Line], by: By) -> Iterator[tuple[Path, Oracle, Line]]:
    """Have a copy of the store on a disk of 12 MiB; gives the disk too, to fill it."""
    made, found = stores.copy(by)
    with privileged.small_disk(path / "disk", 12 * 1024) as disk:
        yield disk, prepared.copied(made, disk / "storage"), found


@privileged.needs_root
@pytest.mark.parametrize("by", ["pull", "commit"])
def test_a_disk_that_is_full_is_told_before_anything_is_done(tmp_path: Path, stores: Stores[Line], by: By) -> None:
    with small_disk(tmp_path, stores, "pull") as (disk, oracle, found):
        for leave in ROOM:
            with privileged.filled(disk, leave), refused(oracle, errors.NoSpace, "no room"):
                oracle.engine.delete_snapshots((found.third,), direction=prepared.DIRECTIONS[by])
        checked(oracle)


@privileged.needs_root
def test_a_disk_that_fills_up_in_a_pull_loses_nothing_and_the_same_verb_works_once_there_is_room(
    tmp_path: Path, stores: Stores[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "require_room", lambda *_: None)
    with small_disk(tmp_path, stores, "pull") as (disk, oracle, found):
        for leave in ROOM:
            with privileged.filled(disk, leave), pytest.raises(errors.NoSpace):
                oracle.engine.delete_snapshots((found.third,), direction="pull")
            checked(oracle)
        prepared.delete(oracle, "pull", found.third)
        checked(oracle)


@privileged.needs_root
def test_a_disk_that_fills_up_in_a_clone_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shares what it needs, and mostly there is room for that; where there is none, the same verb works later."""
    monkeypatch.setattr(durable, "require_room", lambda *_: None)
    with privileged.xfs(tmp_path, 320) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        found = line(oracle)
        for uuid in (found.third, found.second):
            with privileged.filled(disk), suppress(errors.NoSpace):
                prepared.delete(oracle, "clone", uuid)
            checked(oracle)
            if uuid in oracle.expected:
                prepared.delete(oracle, "clone", uuid)
        checked(oracle)


@privileged.needs_root
def test_a_commit_that_meets_a_full_disk_goes_on_once_there_is_room(
    tmp_path: Path, stores: Stores[Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "require_room", lambda *_: None)
    with small_disk(tmp_path, stores, "commit") as (disk, oracle, found):
        with privileged.filled(disk, ROOM[1]), pytest.raises(errors.NoSpace):
            oracle.engine.delete_snapshots((found.third,), direction="commit")
        assert images.read(oracle.engine.volume_path(found.volume)) == oracle.expected[found.volume]
        del oracle.expected[found.third]
        assert [each.outcome for each in Engine.open(oracle.engine.root).recovered] == ["finished"]
        checked(oracle)
