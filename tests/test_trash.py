"""The trash: what a revert replaced is kept, comes back exactly, and goes only when told to."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from tests.oracle import MIB, Oracle


def test_a_revert_keeps_what_the_volume_held_and_restore_brings_it_back(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    snapshot = oracle.create(volume, "base").uuid
    oracle.write(volume, offset=4096)
    item = oracle.revert(snapshot)
    assert item is not None
    oracle.check()

    oracle.write(volume, offset=131072)
    kept = oracle.restore(item)
    assert kept is not None
    oracle.check()
    oracle.restore(kept)
    oracle.check()


def test_an_empty_active_image_leaves_nothing_in_the_trash(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    snapshot = oracle.create(volume, "base").uuid

    assert oracle.revert(snapshot) is None
    assert oracle.engine.list_trash() == ()


def test_an_item_becomes_a_snapshot_on_the_one_it_stands_on(oracle: Oracle) -> None:
    volume = oracle.volume()
    base = oracle.create(volume, "base")
    later = oracle.create(volume, "later")
    oracle.write(volume)
    item = oracle.revert(base.uuid)
    assert item is not None

    branch = oracle.restore_as_snapshot(item, "kept")
    assert (branch.parent_uuid, branch.tree_uuid, branch.latest) == (later.uuid, base.tree_uuid, False)
    oracle.check()
    oracle.revert(branch.uuid)
    oracle.check()


def test_an_item_across_trees_is_restored_into_its_own(oracle: Oracle) -> None:
    oracle.engine.set_depth_limit(2)
    volume = oracle.volume()
    made = []
    for count in range(3):
        oracle.write(volume, offset=count * 65536)
        made.append(oracle.create(volume, str(count)))
    oracle.write(volume)
    item = oracle.revert(made[0].uuid)
    assert item is not None and made[2].tree_uuid != made[0].tree_uuid
    oracle.restore(item)

    current = [tree.uuid for tree in oracle.engine.snapshot_trees(volume) if tree.current]
    assert current == [made[2].tree_uuid]
    oracle.check()


def test_restore_brings_back_the_size_too(oracle: Oracle) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "small").uuid
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", oracle.engine.volume_path(volume), "2M"], check=True)
    oracle.expected[volume] += bytes(MIB)
    oracle.write(volume, offset=MIB)
    item = oracle.revert(snapshot)
    assert item is not None and oracle.engine.get_volume(volume).size == MIB
    oracle.restore(item)
    assert oracle.engine.get_volume(volume).size == 2 * MIB
    oracle.check()


def fill(oracle: Oracle, count: int) -> list[str]:
    """Return the uuids of count trash items of one volume, oldest first."""
    volume = oracle.volume()
    snapshot = oracle.create(volume, "base").uuid
    items = []
    for _ in range(count):
        oracle.write(volume)
        items.append(oracle.revert(snapshot) or "")
    return items


def test_purge_removes_just_what_is_named(oracle: Oracle) -> None:
    first, second, third = fill(oracle, 3)
    gone = oracle.engine.purge_trash(oracle.engine.select_trash((second,)))

    assert [item.uuid for item in gone] == [second]
    del oracle.expected[second]
    oracle.check()
    assert {item.uuid for item in oracle.engine.list_trash()} == {first, third}


def test_purging_what_is_gone_already_is_fine(oracle: Oracle) -> None:
    fill(oracle, 2)
    items = oracle.engine.list_trash()
    assert len(oracle.engine.purge_trash(items)) == 2
    assert oracle.engine.purge_trash(items) == ()


def test_selecting_by_age_and_by_total_size(oracle: Oracle) -> None:
    fill(oracle, 3)
    items = oracle.engine.list_trash()
    total = sum(item.size for item in items)

    assert oracle.engine.select_trash() == items
    assert oracle.engine.select_trash(older_than=3600) == ()
    assert oracle.engine.select_trash(down_to=total) == ()
    assert oracle.engine.select_trash(down_to=total - 1) == items[:1]
    assert oracle.engine.select_trash(down_to=0) == items


def test_an_item_of_before_the_clock_was_put_back_is_purged_all_the_same(oracle: Oracle) -> None:
    (item,) = fill(oracle, 1)
    (path,) = oracle.engine.root.rglob(f"{item}.trash.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "createDate": "Jan 1, 2999 1:00:00 AM"}))

    assert oracle.engine.select_trash(older_than=0) == ()
    assert [found.uuid for found in oracle.engine.select_trash()] == [item]
    assert [found.uuid for found in oracle.engine.select_trash((item,))] == [item]


def test_items_of_one_second_stand_in_the_order_in_which_they_came(oracle: Oracle) -> None:
    snapshots = []
    for name in ("a", "b"):
        volume = oracle.volume(name)
        snapshots.append(oracle.create(volume, "base"))
    made = []
    for count in range(8):
        snapshot = snapshots[count % 2]
        oracle.write(snapshot.volume_uuid)
        made.append(oracle.revert(snapshot.uuid))

    assert [item.uuid for item in oracle.engine.list_trash()] == made
    total = sum(item.size for item in oracle.engine.list_trash())
    assert [item.uuid for item in oracle.engine.select_trash(down_to=total - 1)] == made[:1]


def test_snapshots_of_one_second_stand_in_the_order_in_which_they_came_across_trees(oracle: Oracle) -> None:
    oracle.engine.set_depth_limit(2)
    volume = oracle.volume()
    made = [oracle.create(volume, name).uuid for name in "fedcba"]

    assert [snapshot.uuid for snapshot in oracle.engine.list_snapshots(volume)] == made
    assert [snapshot.uuid for snapshot in oracle.engine.list_snapshots()] == made


def test_unknown_items_are_not_found(engine: Engine) -> None:
    unknown = "0" * 32
    for verb in (
        lambda: engine.select_trash((unknown,)),
        lambda: engine.restore_trash(unknown),
        lambda: engine.restore_trash_as_snapshot(unknown, "x"),
    ):
        with pytest.raises(errors.NotFound, match="trash list"):
            verb()


def test_an_item_whose_image_was_exchanged_is_not_restored(oracle: Oracle, tmp_path: Path) -> None:
    (item,) = fill(oracle, 1)
    volume = oracle.engine.list_trash()[0].volume_uuid
    image = oracle.engine.volume_path(volume).with_name(f"{item}.trash.qcow2")
    image.unlink()
    layers = ["-f", "qcow2", "-F", "raw", "-b", "/etc/passwd"]
    subprocess.run(["qemu-img", "create", "-q", "-u", *layers, image, "1M"], check=True)
    before = oracle.engine.volume_chain(volume)

    with pytest.raises(errors.Refused, match="backing"):
        oracle.engine.restore_trash(item)
    assert oracle.engine.volume_chain(volume) == before


@contextmanager
def opened_for_writing(image: Path) -> Iterator[None]:
    """Have a QEMU tool keep an image open for the block."""
    with subprocess.Popen(["qemu-io", "-f", "qcow2", image], stdin=-1, stdout=-1) as user:
        assert user.stdin is not None and user.stdout is not None
        user.stdin.write(b"length\n")
        user.stdin.flush()
        user.stdout.readline()
        yield
        user.stdin.close()
        user.stdout.read()


def test_an_item_that_something_has_open_is_neither_frozen_nor_purged(oracle: Oracle) -> None:
    (uuid,) = fill(oracle, 1)
    (item,) = oracle.engine.list_trash()
    image = oracle.engine.volume_path(item.volume_uuid).with_name(f"{uuid}.trash.qcow2")
    with opened_for_writing(image):
        for verb in (
            lambda: oracle.engine.restore_trash_as_snapshot(uuid, "kept"),
            lambda: oracle.engine.purge_trash((item,)),
            lambda: oracle.engine.restore_trash(uuid),
        ):
            with pytest.raises(errors.InUse, match="qemu-io"):
                verb()
    oracle.check()


def test_an_item_on_a_snapshot_at_the_depth_limit_becomes_no_snapshot(oracle: Oracle) -> None:
    volume = oracle.volume()
    first = oracle.create(volume, "1").uuid
    oracle.create(volume, "2")
    oracle.write(volume)
    item = oracle.revert(first)
    assert item is not None
    oracle.engine.set_depth_limit(2)

    with pytest.raises(errors.Conflict, match="depth limit"):
        oracle.engine.restore_trash_as_snapshot(item, "3")
    oracle.check()


@pytest.mark.parametrize("verb", ["revert", "restore"])
def test_a_dirty_bitmap_that_ends_is_noted_as_broken(oracle: Oracle, verb: str) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "base").uuid
    oracle.write(volume)
    item = oracle.revert(snapshot)
    path = oracle.engine.volume_path(volume)
    subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", path, "backup"], check=True)
    if verb == "revert":
        oracle.revert(snapshot)
    else:
        oracle.restore(item or "")
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["brokenBitmaps"] == ["backup"]


def test_an_item_whose_image_is_a_link_to_itself_or_a_directory_is_refused_for_that(oracle: Oracle) -> None:
    (item,) = fill(oracle, 1)
    volume = oracle.engine.list_trash()[0].volume_uuid
    image = oracle.engine.volume_path(volume).with_name(f"{item}.trash.qcow2")
    image.unlink()
    image.symlink_to(image.name)
    with pytest.raises(errors.Refused, match="it is a symbolic link"):
        oracle.engine.restore_trash(item)
    image.unlink()
    image.mkdir()
    with pytest.raises(errors.Refused, match="directory"):
        oracle.engine.restore_trash_as_snapshot(item, "back")
