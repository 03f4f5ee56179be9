"""Clones of snapshots, full and linked: the same bytes, a volume of its own, and a source that is protected."""

from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from tests import check, images, privileged
from tests.oracle import CLUSTER, MIB, Oracle
from tests.privileged import needs_root


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    return Oracle(Engine.init(tmp_path / "storage"))


def source(oracle: Oracle) -> tuple[str, str]:
    """Return a volume with two snapshots and something of its own, and the second of them."""
    volume = oracle.volume("db")
    oracle.write(volume)
    oracle.create(volume, "first")
    oracle.write(volume, CLUSTER)
    second = oracle.create(volume, "second").uuid
    oracle.write(volume, 2 * CLUSTER)
    return volume, second


@pytest.mark.parametrize("linked", [False, True], ids=["full", "linked"])
def test_a_clone_begins_with_what_the_snapshot_froze_and_goes_its_own_way(oracle: Oracle, linked: bool) -> None:
    volume, second = source(oracle)

    clone = oracle.clone(second, "clone", linked=linked)
    oracle.check()
    oracle.write(clone, 3 * CLUSTER)
    oracle.write(volume, 4 * CLUSTER)

    oracle.check()
    assert (oracle.engine.get_volume(clone).type, oracle.engine.list_snapshots(clone)) == ("Data", ())


@pytest.mark.parametrize("linked", [False, True], ids=["full", "linked"])
def test_a_clone_inherits_no_tags_and_no_depth_limit(oracle: Oracle, linked: bool) -> None:
    volume, second = source(oracle)
    oracle.engine.add_tag(volume, "volumeMaxIncrementalSnapshotNum::2")
    oracle.engine.add_tag(second, "mine", user=True)

    clone = oracle.clone(second, "clone", linked=linked)

    assert oracle.engine.list_tags(clone) == ()


def test_a_clone_of_an_accounts_snapshot_belongs_to_that_account(oracle: Oracle) -> None:
    oracle.engine.create_account("ops")
    volume = oracle.engine.create_volume("db", MIB, account="ops").uuid
    snapshot = oracle.engine.create_snapshot(volume, "s").uuid

    clone = oracle.engine.clone_volume(snapshot, "clone", "Root")

    owner = oracle.engine.volume_path(volume).parents[2].name
    assert oracle.engine.volume_path(clone.uuid).parents[2].name == owner
    assert clone.type == "Root"


def test_a_linked_clone_names_its_base_up_to_the_root_and_down_again(oracle: Oracle) -> None:
    _, second = source(oracle)

    clone = oracle.clone(second, "clone", linked=True)

    base = oracle.engine.snapshot_path(second).relative_to(oracle.engine.root)
    backing = images.Images().facts(oracle.engine.volume_path(clone)).info.backing_filename
    assert backing == f"../../../../{base}"
    assert [link.uuid for link in oracle.engine.volume_chain(clone)][:2] == [clone, second]


def test_every_verb_on_a_linked_clone_knows_what_its_images_stand_on(oracle: Oracle) -> None:
    oracle.engine.set_depth_limit(2)
    _, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    oracle.write(clone, 3 * CLUSTER)
    one = oracle.create(clone, "one")
    assert one.distance == 1, "a base does not count"
    oracle.check()
    oracle.write(clone, 4 * CLUSTER)
    assert oracle.create(clone, "two").distance == 2
    oracle.write(clone, 5 * CLUSTER)
    full = oracle.create(clone, "full")
    assert (full.distance, full.parent_uuid) == (1, None)
    oracle.check()
    oracle.revert(one.uuid)
    oracle.check()


def test_a_trash_item_that_stands_on_the_base_can_be_restored_in_both_ways(oracle: Oracle) -> None:
    volume, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    oracle.write(clone, 3 * CLUSTER)
    item = oracle.flatten(clone)
    assert item is not None
    oracle.write(clone, 4 * CLUSTER)
    oracle.check()

    flat = oracle.restore(item)
    assert flat is not None
    oracle.check()
    linked = oracle.restore(flat)
    assert linked is not None
    oracle.check()

    assert oracle.restore_as_snapshot(linked, "kept").parent_uuid is None
    oracle.check()
    assert [found.uuid for found in oracle.engine.linked_clones(volume)] == [clone]


def test_a_clone_of_a_clone_stands_on_both(oracle: Oracle) -> None:
    _, second = source(oracle)
    below = oracle.clone(second, "below", linked=True)
    oracle.write(below, 3 * CLUSTER)
    middle = oracle.create(below, "middle").uuid
    above = oracle.clone(middle, "above", linked=True)
    oracle.write(above, 4 * CLUSTER)
    oracle.check()

    oracle.flatten(above)
    oracle.clone(middle, "full")

    oracle.check()
    assert len(oracle.engine.volume_chain(above)) == 1


def test_a_linked_clone_is_found_until_no_image_of_it_stands_on_the_snapshot(oracle: Oracle) -> None:
    volume, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    oracle.write(clone)
    oracle.clone(second, "a full one")
    assert [c.name for c in oracle.engine.linked_clones(volume)] == ["clone"]

    oracle.flatten(clone)
    assert oracle.engine.linked_clones(volume, second), "its former image in the trash stands on the snapshot"

    oracle.purge()
    assert oracle.engine.linked_clones(volume, second) == ()
    assert oracle.engine.linked_clones(volume) == ()


def test_the_base_of_a_linked_clone_can_not_be_undone(oracle: Oracle) -> None:
    volume, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    for verb in (oracle.engine.preview_undo, oracle.engine.undo_snapshot):
        with pytest.raises(errors.Conflict, match=f"base of linked clones: clone .{clone}.; flatten"):
            verb(volume)
    oracle.check()

    oracle.flatten(clone)
    oracle.purge()
    oracle.undo(volume)
    oracle.check()


def test_a_deleted_clone_still_protects_its_base(oracle: Oracle) -> None:
    volume, second = source(oracle)
    directory = oracle.engine.volume_path(oracle.clone(second, "clone", linked=True)).parents[1]
    deleted = oracle.engine.root / "trash" / directory.parent.name
    deleted.mkdir(parents=True)

    directory.rename(deleted / directory.name)

    assert [clone.name for clone in oracle.engine.linked_clones(volume, second)] == ["clone"]
    (image,) = deleted.glob("vol-*/snapshots/*.qcow2")
    assert images.Images().digest(image) == images.sha(oracle.expected[second])


def test_a_store_with_a_linked_clone_can_be_moved_whole(oracle: Oracle, tmp_path: Path) -> None:
    _, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    oracle.engine.root.rename(tmp_path / "moved")

    moved = Oracle(Engine.open(tmp_path / "moved"))
    moved.expected = oracle.expected
    for volume in moved.engine.list_volumes():
        moved.write(volume.uuid)
        moved.create(volume.uuid, "in the moved store")
    moved.flatten(clone)

    moved.check()


@needs_root
def test_on_xfs_clones_and_flattened_volumes_share_extents_and_stay_apart(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        volume, second = source(oracle)
        clone, linked = oracle.clone(second, "full"), oracle.clone(second, "linked", linked=True)
        for each in (volume, clone, linked):
            oracle.write(each, CLUSTER // 2, CLUSTER)
        oracle.flatten(volume)
        oracle.flatten(linked)
        oracle.write(volume, CLUSTER)
        oracle.check()


@pytest.mark.parametrize("base", ["/etc/", "../", "../../../../../", "x"])
def test_a_record_that_names_a_base_outside_is_not_followed(oracle: Oracle, base: str) -> None:
    _, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    record = oracle.engine.volume_path(clone).with_suffix(".json")
    record.write_text(record.read_text().replace('"base":"', f'"base":"{base}', 1))

    with pytest.raises((errors.Corrupt, errors.Refused)):
        oracle.engine.flatten_volume(clone)
    with pytest.raises((errors.Corrupt, errors.Refused)):
        oracle.engine.volume_chain(clone)
    assert {problem.object for problem in oracle.engine.verify()} == {clone}


def test_a_header_that_names_another_base_than_the_record_is_not_followed(oracle: Oracle) -> None:
    volume, second = source(oracle)
    first = next(s.uuid for s in oracle.engine.list_snapshots(volume) if s.name == "first")
    clone = oracle.clone(second, "clone", linked=True)
    record = oracle.engine.volume_path(clone).with_suffix(".json")
    record.write_text(record.read_text().replace(f"{second}.qcow2", f"{first}.qcow2"))

    with pytest.raises(errors.Refused, match="leads to another directory"):
        oracle.engine.flatten_volume(clone)
    with pytest.raises(errors.Refused, match="leads to another directory"):
        oracle.engine.create_snapshot(clone, "s")


def test_verify_tells_that_a_base_is_missing(oracle: Oracle) -> None:
    _, second = source(oracle)
    clone = oracle.clone(second, "clone", linked=True)
    path = oracle.engine.snapshot_path(second)
    path.rename(path.with_suffix(".away"))

    found = oracle.engine.verify((clone,))

    assert [(problem.kind, problem.path) for problem in found] == [("base-missing", str(path))]


@needs_root
def test_a_clone_for_which_there_is_no_room_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "small", 8192) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        volume = oracle.volume(size=8 * MIB)
        oracle.write(volume, 0, 5 * MIB)
        snapshot = oracle.create(volume, "s").uuid
        oracle.write(volume)
        with pytest.raises(errors.NoSpace, match="make room first"):
            oracle.clone(snapshot, "clone")
        with pytest.raises(errors.NoSpace, match="make room first"):
            oracle.flatten(volume)
        oracle.check()
        assert check.locks(disk) == []


def test_a_clone_whose_latest_snapshot_lost_its_record_is_told_so(oracle: Oracle) -> None:
    source = oracle.volume("source")
    clone = oracle.clone(oracle.create(source, "base").uuid, "clone", linked=True)
    lost = oracle.create(clone, "lost").uuid
    (oracle.engine.volume_path(clone).parent / f"{lost}.json").unlink()

    with pytest.raises(errors.Corrupt, match=f"snapshot {lost}, which has no record"):
        oracle.engine.create_snapshot(clone, "next")
