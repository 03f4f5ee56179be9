"""Deletes where the layers have different sizes: grown volumes with dirty bitmaps, images that were shrunk by hand."""

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import errors, records
from snapengine.engine import Engine
from snapengine.units import TIB
from tests import check, prepared, privileged
from tests.oracle import CLUSTER, MIB, Oracle, poke
from tests.prepared import BY, By, Stores
from tests.test_delete_bitmaps import assert_marks, bitmap, marks
from tests.test_delete_promises import refused


class Grown(NamedTuple):
    """A volume that grew after its first snapshot and after its second; each layer has the bitmap backup."""

    volume: str
    first: str
    second: str
    third: str


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores[Grown]]:
    with prepared.disks(tmp_path_factory) as disks:
        yield Stores(disks, grown)


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


HOLLOW = 32 * TIB  # that an image claims: qemu-img rebase takes more than an hour to read them all


class Hollow(NamedTuple):
    """A volume that claims HOLLOW, reverted to its only snapshot; item is what that left. Each holds a cluster."""

    path: Path
    snapshot: str
    item: Path


@pytest.fixture
def hollow(engine: Engine) -> Hollow:
    volume = engine.create_volume("hollow", HOLLOW).uuid
    path = engine.volume_path(volume)
    poke(path, 1)
    snapshot = engine.create_snapshot(volume, "oldest").uuid
    poke(path, 7, 4 * MIB)
    engine.revert(snapshot)
    poke(path, 8, 5 * MIB)
    (item,) = engine.list_trash()
    return Hollow(path, snapshot, path.with_name(f"{item.uuid}.trash.qcow2"))


def test_what_claims_much_and_holds_little_moves_off_the_oldest_snapshot_in_no_time(
    engine: Engine, hollow: Hollow
) -> None:
    plan = engine.preview_delete((hollow.snapshot,))
    assert [step.verb for step in plan.plan if step.verb != "delete"] == ["clone", "clone"]
    told: list[float] = []
    engine.delete_snapshots((hollow.snapshot,), progress=told.append)

    assert told == sorted(told) and told[-1] == 1.0
    for image, own in ((hollow.path, (5 * MIB, 8)), (hollow.item, (4 * MIB, 7))):
        assert reads(image, 0, 1)
        assert reads(image, *own)
    assert engine.verify(deep=True) == ()


def test_what_only_a_pull_without_an_end_could_move_is_refused_at_once(engine: Engine, hollow: Hollow) -> None:
    with hollow.item.open("r+b") as f:
        os.pwrite(f.fileno(), struct.pack(">Q", HOLLOW // 2), 24)  # the size in the header: qemu-img takes minutes

    for delete in (engine.preview_delete, engine.delete_snapshots):
        with pytest.raises(errors.Conflict, match=f"{hollow.item.name} is smaller .* 16 TiB, that a pull would not"):
            delete((hollow.snapshot,))

    assert reads(hollow.item, 4 * MIB, 7) and reads(hollow.path, 5 * MIB, 8)
    engine.purge_trash(engine.select_trash())
    engine.delete_snapshots((hollow.snapshot,))
    assert reads(hollow.path, 0, 1)


def reads(image: Path, offset: int, pattern: int) -> bool:
    """Tell whether a guest sees a cluster of pattern at offset, and zeros behind it."""
    command = f"read -P {pattern} {offset} {CLUSTER}", f"read -P 0 {offset + CLUSTER} {CLUSTER}"
    words = [word for each in command for word in ("-c", each)]
    done = subprocess.run(["qemu-io", "-r", "-f", "qcow2", *words, str(image)], capture_output=True, timeout=60)
    return done.returncode == 0 and b"Pattern verification failed" not in done.stdout


def broken(oracle: Oracle, volume: str) -> tuple[str, ...]:
    return records.read_volume(oracle.engine.volume_path(volume).parent).broken_bitmaps


@BY
@pytest.mark.parametrize("which", ["1", "3", "12", "123"])
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


SHRINK = ("qemu-img", "resize", "-q", "--shrink", "-f", "qcow2")

SHORT = MIB + 512


class Short(NamedTuple):
    """A volume with snapshots one on the other; short was shrunk by hand, long and upper are as large as the volume."""

    volume: str
    lowest: str
    long: str
    short: str
    upper: str


@pytest.fixture(scope="module")
def shorts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores[Short]]:
    with prepared.disks(tmp_path_factory) as disks:
        yield Stores(disks, short)


def short(oracle: Oracle) -> Short:
    volume = oracle.volume(size=2 * MIB)
    made = []
    for number, name in enumerate(("lowest", "long", "short", "upper")):
        oracle.write(volume, number * CLUSTER, 2 * MIB - 8 * CLUSTER if name == "long" else CLUSTER)
        if name == "lowest":
            oracle.write(volume, 2 * MIB - 2 * CLUSTER, 2 * CLUSTER)
        made.append(oracle.create(volume, name).uuid)
        if name == "short":
            subprocess.run([*SHRINK, str(oracle.engine.snapshot_path(made[-1])), str(SHORT)], check=True)
            oracle.expected[made[-1]] = oracle.expected[volume][:SHORT]
            oracle.expected[volume] = oracle.expected[made[-1]] + bytes(2 * MIB - SHORT)
    oracle.write(volume, MIB + 2 * CLUSTER, 512)
    return Short(volume, *made)


@BY
@pytest.mark.parametrize("which", ["2", "3", "23", "34", "123", "234"])
def test_what_a_short_snapshot_hides_by_its_end_stays_hidden(shorts: Stores[Short], which: str, by: By) -> None:
    oracle, found = shorts.copy(by)
    gone = [found[int(number)] for number in which]
    try:
        oracle.delete(*gone, direction=prepared.DIRECTIONS[by])
    except errors.Conflict as e:
        assert by == "commit" and " is smaller, so it can't be committed; use '--direction pull'" in str(e)
        check.full(oracle.engine, oracle.expected, deep=False)
        oracle.delete(*gone, direction="pull")
    check.full(oracle.engine, oracle.expected, deep=False)


def scattered(directory: Path, held: int = 0) -> Path:
    """
    Make a chain of an image with clusters of 2 MiB and one of 64 KiB that has one cluster in each of those.

    The lower one holds the first held bytes.
    """
    line = ["qemu-img", "create", "-q", "-f", "qcow2", "-o"]
    subprocess.run([*line, "cluster_size=2M", "base.qcow2", "32M"], check=True, cwd=directory)
    top = ["cluster_size=64k", "-F", "qcow2", "-b", "base.qcow2", "top.qcow2"]
    subprocess.run([*line, *top], check=True, cwd=directory)
    if held:
        poke(directory / "base.qcow2", 5, 0, held)
    for number in range(16):
        poke(directory / "top.qcow2", 7, number * 2 * MIB, CLUSTER)
    return directory / "top.qcow2"


@privileged.needs_root
def test_a_commit_into_larger_clusters_is_refused_where_they_have_no_room(tmp_path: Path) -> None:
    top = scattered(tmp_path)
    with privileged.small_disk(tmp_path / "disk", 64 * 1024) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        volume = oracle.import_chain(top, "db")
        (base,) = (snapshot.uuid for snapshot in oracle.engine.list_snapshots(volume))
        oracle.write(volume, CLUSTER)
        with privileged.filled(disk, 16 * MIB), refused(oracle, errors.NoSpace, "no room"):
            oracle.engine.delete_snapshots((base,), direction="commit")
        oracle.delete(base, direction="commit")
        check.full(oracle.engine, oracle.expected, deep=False)


@privileged.needs_root
def test_a_delete_takes_a_way_for_which_there_is_room_where_there_is_none_for_the_quickest(tmp_path: Path) -> None:
    top = scattered(tmp_path, 12 * MIB)
    with privileged.small_disk(tmp_path / "disk", 96 * 1024) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        (base,) = (snapshot.uuid for snapshot in oracle.engine.list_snapshots(oracle.import_chain(top, "db")))
        assert [step.verb for step in oracle.engine.preview_delete((base,)).plan] == ["commit", "delete"]
        with privileged.filled(disk, 24 * MIB):
            assert [step.verb for step in oracle.engine.preview_delete((base,)).plan] == ["pull", "delete"]
            oracle.delete(base)
        check.full(oracle.engine, oracle.expected, deep=False)
