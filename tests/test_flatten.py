"""Flatten: the same bytes on nothing, the history as it was, bitmaps that go along, and what is asked on the way."""

import subprocess
from pathlib import Path

import pytest

from snapengine import inventory, qcow2, tables
from snapengine.engine import Engine
from snapengine.inventory import VolumeRecord
from tests import images
from tests.command_line import CommandLine
from tests.oracle import CLUSTER, MIB, Oracle


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(Engine.init(tmp_path / "storage"))


def bitmap(path: Path) -> None:
    subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", "-g", "64k", path, "backup"], check=True)


def test_a_flattened_volume_stands_on_nothing_and_its_history_stays(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, CLUSTER)

    assert oracle.flatten(volume) is not None

    oracle.check()
    assert len(oracle.engine.volume_chain(volume)) == 1
    assert [tree.current for tree in oracle.engine.snapshot_trees(volume)] == [False]
    oracle.write(volume, 2 * CLUSTER)
    assert oracle.create(volume, "next").parent_uuid is None
    oracle.revert(first)
    oracle.check()


def test_flattening_a_standalone_volume_changes_nothing(oracle: Oracle) -> None:
    volume = oracle.volume()
    before = oracle.engine.get_volume(volume)

    assert oracle.engine.preview_flatten(volume).plan == ()
    assert oracle.engine.flatten_volume(volume) == before


def test_an_active_bitmap_goes_along_with_all_that_its_namesakes_recorded(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.create(volume, "before the bitmap")
    bitmap(oracle.engine.volume_path(volume))
    oracle.write(volume, CLUSTER)
    oracle.create(volume, "with it")
    oracle.write(volume, 4 * CLUSTER)

    oracle.flatten(volume)

    path = oracle.engine.volume_path(volume)
    (found,) = images.Images().facts(path).info.bitmaps
    assert (found.name, found.flags) == ("backup", ["auto"])
    assert dirty(path) == [CLUSTER, 4 * CLUSTER]
    oracle.check()


def test_a_bitmap_that_is_switched_off_goes_along_and_stays_so(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.create(volume, "before the bitmap")
    path = oracle.engine.volume_path(volume)
    bitmap(path)
    oracle.write(volume, CLUSTER)
    subprocess.run(["qemu-img", "bitmap", "--disable", "-f", "qcow2", path, "backup"], check=True)
    oracle.write(volume, 4 * CLUSTER)

    oracle.flatten(volume)

    (found,) = images.Images().facts(path).info.bitmaps
    assert (found.name, found.flags) == ("backup", [])
    assert dirty(path) == [CLUSTER]
    assert broken(path) == ()
    oracle.check()


def test_a_bitmap_that_a_killed_qemu_left_in_use_in_a_layer_ends_and_is_noted_as_broken(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.create(volume, "before the bitmap")
    bitmap(oracle.engine.volume_path(volume))
    oracle.write(volume, CLUSTER)
    frozen = oracle.engine.snapshot_path(oracle.create(volume, "with it").uuid)
    images.leave_bitmaps_in_use(frozen)
    oracle.write(volume, 4 * CLUSTER)

    oracle.flatten(volume)

    assert images.Images().facts(oracle.engine.volume_path(volume)).info.bitmaps == []
    assert broken(oracle.engine.volume_path(volume)) == ("backup",)
    oracle.check()


def broken(path: Path) -> tuple[str, ...]:
    """Return the bitmaps that the record of the volume whose active image is at path calls broken."""
    return inventory.decode(path.with_suffix(".json").read_bytes(), VolumeRecord, path).broken_bitmaps


def dirty(path: Path) -> list[int]:
    """Return where the image's one bitmap says that something was written, in steps of 64 KiB; up to 64 of them."""
    with open(path, "rb") as f:
        (found,) = tables.kept_bitmaps(f.fileno(), qcow2.read_header(f.fileno()))
        f.seek(found.table_offset)
        f.seek(int.from_bytes(f.read(8), "big"))
        bits = int.from_bytes(f.read(8), "little")
    return [bit * CLUSTER for bit in range(64) if bits >> bit & 1]


def test_flatten_on_the_command_line_says_what_it_moves_and_asks(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "storage")
    run.json("init")
    oracle = Oracle(Engine.open(tmp_path / "storage"))
    volume = oracle.volume("db")
    oracle.write(volume)
    oracle.create(volume, "s")
    oracle.write(volume)

    plan = run.json("volume", "flatten", "db", "--dry-run")
    assert [step["verb"] for step in plan["plan"]] == ["trash", "flatten"]
    assert CLUSTER <= plan["bytes"] <= MIB
    assert "--yes" in run.error(2, "volume", "flatten", "db")
    assert run.json("volume", "clone", "db/s", "test", "--linked")["name"] == "test"
    assert "clone test" in run.text("snapshot", "tree", "db")

    assert run.json("volume", "flatten", "db", "--yes")["uuid"] == volume
    assert run.json("volume", "flatten", "test", "--yes")["name"] == "test"
    assert "clone test" not in run.text("snapshot", "tree", "db")
    assert run.json("config", "reflinks", "off") == {"reflinks": False, "setting": "off"}
    assert run.json("status")["reflinks"] is False
