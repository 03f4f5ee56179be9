"""Images whose headers and records disagree on what they stand on: nothing goes from under them, none is passed off."""

import subprocess
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from tests import prepared
from tests.prepared import Prepared


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("template") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


def _rename_backing(image: Path, *backing: str) -> None:
    subprocess.run(["qemu-img", "rebase", "-u", *backing, image.name], cwd=image.parent, check=True)


def test_a_snapshot_stays_under_one_whose_record_was_lost(store: Prepared) -> None:
    store.oracle.purge()
    store.record(store.second).unlink()
    engine = store.engine
    for refused in (engine.delete_snapshots, engine.preview_delete):
        with pytest.raises(errors.Corrupt, match=rf"{store.second}.qcow2 stands on it, and no record says so; run"):
            refused((store.first,))
    for undo in (engine.undo_snapshot, engine.preview_undo):
        with pytest.raises(errors.Corrupt, match="no record says so"):
            undo(store.volume)
    (told,) = engine.verify()
    assert told.kind == "record-missing" and "rebuild" in told.repair

    Engine.rebuild(store.root)
    assert engine.verify(deep=True) == ()
    store.oracle.check()
    store.oracle.delete(store.first)
    store.oracle.check()


def test_a_snapshot_stays_under_one_whose_record_tells_another_parent(store: Prepared) -> None:
    third = store.oracle.create(store.volume, "third").uuid
    header = store.image(third).read_bytes()
    _rename_backing(store.image(third), "-F", "qcow2", "-b", store.image(store.second).name)
    for refused in (store.engine.delete_snapshots, store.engine.preview_delete):
        with pytest.raises(errors.Corrupt, match=rf"{third}.qcow2 stands on it, and no record says so"):
            refused((store.second,))
    (told,) = store.engine.verify()
    assert told.kind == "wrong-backing" and "'qemu-img rebase -u' puts that back first" in told.repair
    store.image(third).write_bytes(header)
    store.oracle.delete(store.second)
    store.oracle.check()


def test_one_snapshot_that_stays_keeps_no_other_from_being_deleted(store: Prepared) -> None:
    store.oracle.purge()
    store.oracle.revert(store.second)
    third = store.oracle.create(store.volume, "third").uuid
    store.oracle.revert(store.second)
    store.record(third).unlink()
    failed = store.oracle.delete_some(store.first, store.second)
    assert [*failed] == [store.second] and "no record says so" in failed[store.second]
    Engine.rebuild(store.root)
    store.oracle.check()


def test_what_stands_on_another_image_than_its_record_says_is_not_taken_for_what_was_frozen(
    store: Prepared, tmp_path: Path
) -> None:
    """The header of an image between leads to one that is there and whole: nothing but the record tells."""
    engine, oracle = store.engine, store.oracle
    oracle.revert(store.second)
    oracle.write(store.volume)
    top = oracle.create(store.volume, "top").uuid
    oracle.write(store.volume)
    kept = oracle.revert(top)
    assert kept is not None
    header = store.image(store.second).read_bytes()
    _rename_backing(store.image(store.second), "-b", "")
    before = engine.list_trash()
    told = rf"image .*{store.second}.qcow2 stands on nothing, the record says {store.first}.qcow2; run 'snap"
    for refused in (engine.revert, engine.preview_revert):
        with pytest.raises(errors.Corrupt, match=told):
            refused(top)
    for linked in (True, False):
        with pytest.raises(errors.Corrupt, match=told):
            engine.clone_volume(top, "copy", linked=linked)
    with pytest.raises(errors.Corrupt, match=told):
        engine.export_snapshot(top, tmp_path / "out.qcow2")
    with pytest.raises(errors.Corrupt, match=told):
        engine.flatten_volume(store.volume)
    with pytest.raises(errors.Corrupt, match=told):
        engine.preview_flatten(store.volume)
    with pytest.raises(errors.Corrupt, match=told):
        engine.restore_trash(kept)
    engine.set_depth_limit(2)
    with pytest.raises(errors.Corrupt, match=told):
        engine.create_snapshot(store.volume, "full")
    engine.set_depth_limit(64)
    assert engine.list_trash() == before and not (tmp_path / "out.qcow2").exists()

    store.image(store.second).write_bytes(header)
    oracle.restore(kept)
    oracle.check()


def test_a_trash_item_that_was_cut_off_is_not_restored(store: Prepared) -> None:
    image = store.image(store.item)
    whole = image.read_bytes()
    with image.open("r+b") as f:
        f.truncate(len(whole) - 70_000)
    with pytest.raises(errors.Refused, match="was it cut off"):
        store.engine.restore_trash(store.item)
    image.write_bytes(whole)
    store.oracle.restore(store.item)
    store.oracle.check()
