"""Snapshots proved by their content: what each one holds, after every verb."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from snapengine.inventory import VolumeType
from tests import check, images
from tests.oracle import MIB, Oracle

# CONTRACT.md, section 1: every key of an inventory, but the two that are left out when there is none.
KEYS = {
    "uuid", "name", "type", "volumeUuid", "treeUuid", "primaryStorageUuid", "primaryStorageInstallPath", "volumeType",
    "format", "latest", "size", "state", "status", "createDate", "lastOpDate", "backupStorageRefs", "distance",
}  # fmt: skip
OF_THE_RECORD = {"schemaVersion", "generation"}


@pytest.mark.parametrize("kind", ["Root", "Data"])
@pytest.mark.parametrize("vm", [None, "web"], ids=["detached", "attached"])
def test_three_snapshots_and_reverts_to_each_hold_what_was_written(
    oracle: Oracle, kind: VolumeType, vm: str | None
) -> None:
    volume = oracle.volume(type=kind)
    if vm is not None:
        oracle.engine.attach_volume(volume, vm)
    snapshots: list[str] = []
    for name in ("one", "two", "three"):
        oracle.write(volume, offset=len(snapshots) * 4096, length=8192)
        snapshots.append(oracle.create(volume, name).uuid)
        oracle.check()
    for snapshot in snapshots:
        oracle.write(volume)
        oracle.revert(snapshot)
        oracle.check()


def test_reverting_twice_to_one_snapshot_works(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    snapshot = oracle.create(volume, "base").uuid
    for _ in range(3):
        oracle.write(volume)
        assert oracle.revert(snapshot) is not None
        assert oracle.revert(snapshot) is None
        oracle.check()


def test_the_next_snapshot_after_a_revert_is_a_branch_of_its_target(oracle: Oracle) -> None:
    volume = oracle.volume()
    first = oracle.create(volume, "first")
    second = oracle.create(volume, "second")
    oracle.revert(first.uuid)
    branch = oracle.create(volume, "branch")

    assert second.parent_uuid == branch.parent_uuid == first.uuid
    assert branch.tree_uuid == first.tree_uuid and branch.latest and branch.distance == 2
    assert not oracle.engine.get_snapshot(second.uuid).latest
    oracle.check()


def test_the_inventory_beside_the_image_has_the_keys_and_forms_of_the_contract(engine: Engine) -> None:
    volume = engine.create_volume("db", MIB, "Root")
    engine.create_snapshot(volume.uuid, "first")
    made = engine.create_snapshot(
        volume.uuid, "second", description="why", system_tags=("a::b",), user_tags=("mine",)
    )

    path = engine.snapshot_path(made.uuid)
    record = json.loads(path.with_suffix(".json").read_text())
    assert set(record) == KEYS | OF_THE_RECORD | {"parentUuid", "description", "systemTags", "userTags"}
    assert list(record) == sorted(record)
    assert record["primaryStorageInstallPath"] == str(path)
    assert path.parent == engine.root / f"rootVolumes/acct-{ACCOUNT}/vol-{volume.uuid}/snapshots"
    assert record["type"] == "Hypervisor" and record["volumeType"] == "Root" and record["format"] == "qcow2"
    assert record["size"] == path.stat().st_blocks * 512
    assert record["state"] == "Enabled" and record["status"] == "Ready" and record["latest"] is True
    assert record["backupStorageRefs"] == [] and record["distance"] == 2
    assert record["systemTags"] == ["a::b"] and record["userTags"] == ["mine"]


def test_the_first_inventory_has_neither_parent_nor_description(engine: Engine) -> None:
    made = engine.create_snapshot(engine.create_volume("db", MIB).uuid, "first")
    record = json.loads(engine.snapshot_path(made.uuid).with_suffix(".json").read_text())

    assert set(record) == KEYS | OF_THE_RECORD


ACCOUNT = "36c27e8ff05c4780bf6d2fa65700f22e"


def test_a_given_uuid_becomes_the_snapshots_and_can_be_given_once(engine: Engine) -> None:
    volume = engine.create_volume("db", MIB).uuid
    given = "ec8f396d8a5d48ce8bd949d469c0be62"
    assert engine.create_snapshot(volume, "a", uuid=given).uuid == given

    other = engine.create_volume("other", MIB).uuid
    for taken in (given, volume):
        with pytest.raises(errors.Invalid, match="in use"):
            engine.create_snapshot(other, "b", uuid=taken)
    with pytest.raises(errors.Invalid, match="in use"):
        engine.create_volume("c", MIB, uuid=given)
    assert engine.list_snapshots(other) == () and engine.verify(deep=True) == ()


def test_update_changes_only_what_is_given(engine: Engine) -> None:
    made = engine.create_snapshot(engine.create_volume("db", MIB).uuid, "old", description="why")

    renamed = engine.update_snapshot(made.uuid, name="new")
    assert (renamed.name, renamed.description) == ("new", "why")
    described = engine.update_snapshot(made.uuid, description="because")
    assert (described.name, described.description) == ("new", "because")
    assert engine.get_snapshot(made.uuid) == described


@pytest.mark.parametrize("distance", [2, 3])
def test_at_the_depth_limit_a_full_snapshot_opens_a_new_current_tree(oracle: Oracle, distance: int) -> None:
    oracle.engine.set_depth_limit(distance)
    volume = oracle.volume()
    made = []
    for count in range(2 * distance + 1):
        oracle.write(volume, offset=count * 131072, length=6000)
        made.append(oracle.create(volume, str(count)))
        oracle.check()

    assert [s.distance for s in made] == [1 + count % distance for count in range(2 * distance + 1)]
    assert len({s.tree_uuid for s in made}) == 3
    full = made[distance]
    assert full.parent_uuid is None
    assert full.size == oracle.engine.snapshot_path(full.uuid).stat().st_blocks * 512
    trees = oracle.engine.snapshot_trees(volume)
    assert [tree.current for tree in trees] == [False, False, True]


def test_limits_change_in_mid_life_and_a_volumes_own_wins(oracle: Oracle) -> None:
    """Scenario 7."""
    volume = oracle.volume()
    for count in range(4):
        oracle.create(volume, str(count))
    oracle.engine.set_depth_limit(2)
    assert oracle.create(volume, "lowered").distance == 1
    oracle.engine.add_tag(volume, "volumeMaxIncrementalSnapshotNum::5")
    assert [oracle.create(volume, str(count)).distance for count in range(5)] == [2, 3, 4, 5, 1]
    oracle.engine.remove_tag(volume, "volumeMaxIncrementalSnapshotNum::5")
    assert [oracle.create(volume, str(count)).distance for count in range(2)] == [2, 1]
    oracle.engine.set_depth_limit(64)
    check.full(oracle.engine, oracle.expected, depth=64)


def test_depth_three_with_more_than_sixteen_branches_and_reverts_across_trees(oracle: Oracle) -> None:
    """Scenario 6, without delete."""
    oracle.engine.set_depth_limit(3)
    volume = oracle.volume()
    made: list[str] = []
    for count in range(20):
        if made and count % 2:
            oracle.revert(made[(count * 7) % len(made)])
        oracle.write(volume, offset=(count % 16) * 65536, length=4096)
        made.append(oracle.create(volume, str(count)).uuid)
    oracle.check()
    for snapshot in made[::3]:
        oracle.revert(snapshot)
        oracle.check()


def test_a_hundred_creates_in_sequence_make_one_straight_line(oracle: Oracle) -> None:
    oracle.engine.set_depth_limit(119)
    volume = oracle.volume()
    oracle.write(volume)
    made = [oracle.create(volume, str(count)) for count in range(100)]

    assert [s.parent_uuid for s in made] == [None, *(s.uuid for s in made[:-1])]
    assert [s.distance for s in oracle.engine.list_snapshots(volume)] == list(range(1, 101))
    assert oracle.engine.verify() == ()
    for path in (oracle.engine.volume_path(volume), oracle.engine.snapshot_path(made[50].uuid)):
        assert images.read(path) == oracle.expected[volume]


@pytest.mark.parametrize(
    "options",
    ["cluster_size=512", "cluster_size=2M", "extended_l2=on,cluster_size=128k", "lazy_refcounts=on", "refcount_bits=1",
     "compression_type=zstd"],
)  # fmt: skip
def test_layers_of_other_shapes_keep_their_content(oracle: Oracle, tmp_path: Path, options: str) -> None:
    """Scenario 11, what concerns create and revert: an operator has replaced the active image by one of his own."""
    volume = oracle.volume(size=3 * MIB + 512)
    path = oracle.engine.volume_path(volume)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, str(3 * MIB + 512)], check=True)
    oracle.write(volume, offset=3 * MIB, length=512)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, offset=1000, length=3000)
    oracle.create(volume, "second")
    oracle.check()
    oracle.revert(first)
    oracle.check()


def test_zeroed_and_discarded_ranges_stay_what_they_are(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume, length=MIB)
    first = oracle.create(volume, "full").uuid
    path = oracle.engine.volume_path(volume)
    for command, start in (("write -z", 0), ("discard", 131072)):
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", f"{command} {start} 64k", path], check=True, stdout=-3)
        held = oracle.expected[volume]
        oracle.expected[volume] = held[:start] + bytes(65536) + held[start + 65536 :]
    oracle.create(volume, "holes")
    oracle.check()
    oracle.revert(first)
    oracle.check()


def test_a_moved_store_opens_at_its_new_place_and_writes_its_paths_anew(oracle: Oracle, tmp_path: Path) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    snapshot = oracle.create(volume, "before").uuid
    shutil.move(oracle.engine.root, tmp_path / "moved here")

    moved = Oracle(Engine.open(tmp_path / "moved here"))
    moved.expected = oracle.expected
    assert moved.engine.snapshot_path(snapshot).is_relative_to(tmp_path / "moved here")
    moved.write(volume)
    with pytest.raises(errors.NotFound):
        moved.engine.revert("0" * 32)
    moved.create(volume, "after")
    moved.check()
    record = json.loads((moved.engine.root / "primary-storage.json").read_text())
    assert record["root"] == str(tmp_path / "moved here")


def test_two_copies_of_one_store_work_side_by_side(oracle: Oracle, tmp_path: Path) -> None:
    volume = oracle.volume()
    oracle.create(volume, "both")
    shutil.copytree(oracle.engine.root, tmp_path / "copy")
    copy = Oracle(Engine.open(tmp_path / "copy"))
    copy.expected = dict(oracle.expected)
    copy.write(volume)
    copy.create(volume, "only here")
    oracle.check()
    oracle.write(volume, offset=65536)
    oracle.check()
    copy.check()


def test_a_volumes_directory_copied_elsewhere_opens_with_its_whole_chain(oracle: Oracle, tmp_path: Path) -> None:
    volume = oracle.volume()
    for name in ("a", "b"):
        oracle.write(volume)
        oracle.create(volume, name)
    path = oracle.engine.volume_path(volume)
    shutil.copytree(path.parent, tmp_path / "elsewhere")
    for uuid, content in oracle.expected.items():
        raw, image = tmp_path / "raw", tmp_path / "elsewhere" / f"{uuid}.qcow2"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", image, raw], check=True)
        assert raw.read_bytes() == content


def test_snapshots_of_different_sizes_revert_with_their_size(oracle: Oracle) -> None:
    volume = oracle.volume()
    small = oracle.create(volume, "small").uuid
    path = oracle.engine.volume_path(volume)
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", path, str(2 * MIB)], check=True)
    oracle.expected[volume] += bytes(MIB)
    oracle.write(volume, offset=2 * MIB - 4096, length=4096)
    large = oracle.create(volume, "large").uuid

    for snapshot, size in ((small, MIB), (large, 2 * MIB), (small, MIB)):
        oracle.revert(snapshot)
        assert oracle.engine.get_volume(volume).size == size
        oracle.check()


def test_a_volume_that_somebody_grew_is_recorded_with_its_new_size(oracle: Oracle) -> None:
    volume = oracle.volume()
    path = oracle.engine.volume_path(volume)
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", path, str(2 * MIB)], check=True)
    oracle.expected[volume] += bytes(MIB)
    oracle.create(volume, "grown")
    assert oracle.engine.get_volume(volume).size == 2 * MIB
    oracle.check()


def test_the_overlay_of_an_image_without_bitmaps_is_no_larger_than_before(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.create(volume, "a")
    bare = oracle.engine.root / "bare.qcow2"
    layers = ["-f", "qcow2", "-F", "qcow2", "-b", "x.qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-u", *layers, bare, str(MIB)], check=True)
    assert os.path.getsize(oracle.engine.volume_path(volume)) == bare.stat().st_size
