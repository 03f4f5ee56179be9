"""A deleted volume keeps all it has and its place in the store's books, until it is recovered or expunged."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from snapengine.inventory import VolumeType
from tests import images, qemu
from tests.command_line import CommandLine
from tests.oracle import MIB, Oracle


def filled(oracle: Oracle, name: str = "db", type: VolumeType = "Root") -> str:
    """Return a volume with two snapshots, a trash item and something of its own."""
    volume = oracle.volume(name, MIB, type)
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, 2**17)
    oracle.create(volume, "second")
    oracle.write(volume, 2**18)
    oracle.revert(first)
    oracle.write(volume, 2**19)
    return volume


@pytest.mark.parametrize("type", ["Root", "Data"])
def test_a_volume_comes_back_as_it_was(oracle: Oracle, type: VolumeType) -> None:
    volume = filled(oracle, type=type)
    engine = oracle.engine
    before = engine.get_volume(volume), engine.list_snapshots(volume), engine.list_trash(), engine.volume_path(volume)

    oracle.delete_volumes(volume)
    assert (engine.list_volumes(), engine.list_snapshots()) == ((), ())
    assert [(v.uuid, v.type, v.status) for v in engine.list_volumes(deleted=True)] == [(volume, type, "Deleted")]
    oracle.check()
    oracle.recover_volume(volume)

    oracle.check()
    after = engine.get_volume(volume)
    assert (after.type, after.status, after.install_path) == (before[0].type, "Ready", before[0].install_path)
    assert (engine.list_snapshots(volume), engine.list_trash(), engine.volume_path(volume)) == before[1:]
    oracle.create(volume, "third")
    oracle.check()


def test_several_are_deleted_and_one_is_expunged(oracle: Oracle) -> None:
    one, two, three = filled(oracle, "one"), filled(oracle, "two", "Data"), filled(oracle, "three")

    oracle.delete_volumes(two, one, two)
    oracle.check()
    oracle.expunge_volume(one)
    oracle.check()

    assert [v.uuid for v in oracle.engine.list_volumes(deleted=True)] == [two]
    assert [v.uuid for v in oracle.engine.list_volumes()] == [three]


def test_what_a_deleted_volume_holds_is_out_of_reach_and_its_uuids_stay_reserved(oracle: Oracle) -> None:
    volume = filled(oracle)
    engine, snapshot = oracle.engine, oracle.engine.list_snapshots(volume)[0].uuid
    oracle.delete_volumes(volume)

    for verb in (
        lambda: engine.get_volume(volume),
        lambda: engine.create_snapshot(volume, "x"),
        lambda: engine.revert(snapshot),
        lambda: engine.get_snapshot(snapshot),
        lambda: engine.delete_volumes((volume,)),
    ):
        with pytest.raises(errors.NotFound):
            verb()
    oracle.check()
    given = "0123456789ab4def8123456789abcdef"
    other = oracle.volume("other", uuid=given)
    oracle.delete_volumes(other)
    with pytest.raises(errors.Invalid, match="is in use"):
        engine.create_volume("again", MIB, uuid=given)
    oracle.check()


def test_all_are_refused_where_one_may_not_be_deleted(oracle: Oracle) -> None:
    free, attached = filled(oracle, "free"), filled(oracle, "attached")
    oracle.engine.attach_volume(attached, "vm-1")

    with pytest.raises(errors.Conflict, match="is attached to vm-1; detach it first"):
        oracle.engine.delete_volumes((free, attached))
    with pytest.raises(errors.Conflict, match="is attached to vm-1"):
        oracle.engine.preview_delete_volumes((free, attached))
    oracle.check()
    oracle.engine.detach_volume(attached)
    oracle.delete_volumes(free, attached)
    oracle.check()


def test_a_volume_that_a_vm_has_open_is_not_deleted(oracle: Oracle) -> None:
    volume = filled(oracle)

    with qemu.running(oracle.engine.volume_path(volume)), pytest.raises(errors.InUse, match="shut the VM down first"):
        oracle.engine.delete_volumes((volume,))

    oracle.check()


def test_a_deleted_volume_that_a_vm_has_open_is_neither_recovered_nor_expunged(oracle: Oracle) -> None:
    volume = filled(oracle)
    oracle.delete_volumes(volume)
    (found,) = oracle.engine.list_volumes(deleted=True)

    with qemu.running(Path(found.install_path)):
        with pytest.raises(errors.InUse):
            oracle.engine.expunge_volume(volume)
        with pytest.raises(errors.InUse):
            oracle.engine.recover_volume(volume)

    oracle.check()


def test_a_linked_clone_protects_its_source_and_a_deleted_one_does_too(oracle: Oracle) -> None:
    volume = filled(oracle)
    clone = oracle.clone(oracle.engine.list_snapshots(volume)[0].uuid, "clone", linked=True)

    for _ in range(2):
        with pytest.raises(errors.Conflict, match="base of linked clones: clone"):
            oracle.engine.delete_volumes((volume,))
        oracle.check()
        if oracle.engine.list_volumes(deleted=True) == ():
            oracle.delete_volumes(clone)
    oracle.recover_volume(clone)
    oracle.check()
    oracle.delete_volumes(clone)
    oracle.expunge_volume(clone)
    oracle.delete_volumes(volume)
    oracle.check()


def test_a_volume_is_not_recovered_onto_another_one(oracle: Oracle) -> None:
    volume = filled(oracle)
    directory = oracle.engine.volume_path(volume).parent.parent
    oracle.delete_volumes(volume)
    directory.mkdir()

    with pytest.raises(errors.Conflict, match="is there already"):
        oracle.engine.recover_volume(volume)

    directory.rmdir()
    oracle.recover_volume(volume)
    oracle.check()


def test_a_volume_with_a_damaged_record_can_still_be_expunged(oracle: Oracle) -> None:
    volume = filled(oracle)
    oracle.delete_volumes(volume)
    (record,) = oracle.engine.root.glob(f"trash/acct-*/vol-{volume}/snapshots/{volume}.json")
    whole = record.read_bytes()
    record.write_text("{")
    assert "record-damaged" in {problem.kind for problem in oracle.engine.verify()}

    with pytest.raises(errors.Corrupt):
        oracle.engine.recover_volume(volume)
    CommandLine(oracle.engine.root).text("volume", "expunge", volume, "--yes")

    assert whole and not record.parent.parent.exists()
    oracle.expected.clear()
    oracle.check()


def test_a_moved_store_knows_its_deleted_volumes(oracle: Oracle, tmp_path: Path) -> None:
    volume = filled(oracle)
    oracle.delete_volumes(volume)
    oracle.engine.root.rename(tmp_path / "moved")

    moved = Oracle(Engine.open(tmp_path / "moved"))
    moved.expected = oracle.expected
    moved.check()
    moved.recover_volume(volume)
    moved.check()


def test_the_trash_lists_restores_and_purges_deleted_volumes(oracle: Oracle) -> None:
    run = CommandLine(oracle.engine.root)
    volume, kept = filled(oracle), filled(oracle, "kept")
    item = oracle.engine.list_trash()[0]
    oracle.delete_volumes(volume)

    listed = {i["uuid"]: i for i in run.json("trash", "list")["inventories"]}
    assert {i["kind"] for i in listed.values()} == {"Volume", "ActiveImage"} and item.uuid not in listed
    used = sum(p.stat().st_blocks * 512 for p in oracle.engine.root.glob(f"trash/*/vol-{volume}/snapshots/*"))
    assert (listed[volume]["size"], listed[volume]["volumeUuid"]) == (used, volume)
    assert "snapshotUuid" not in listed[volume] and "db" in run.text("trash", "list")
    status = run.json("status")
    assert (status["deletedVolumes"], status["volumes"], status["trashItems"]) == (1, 1, 2)

    assert "is a deleted volume" in run.error(4, "trash", "restore", "db", "--as-snapshot")
    assert run.json("trash", "restore", "db") == {}
    oracle.check()
    oracle.delete_volumes(volume)
    plan = run.json("trash", "purge", volume, "--dry-run")
    assert [(s["verb"], Path(s["image"]).name) for s in plan["plan"]] == [("purge", f"vol-{volume}")]
    assert plan["frees"] == used
    assert run.json("trash", "purge", "--older-than", "1h", "--yes") == {"inventories": []}
    oracle.check()
    oracle.purge()
    oracle.check()
    assert [v.uuid for v in oracle.engine.list_volumes()] == [kept]


def test_the_command_line_deletes_recovers_and_expunges(oracle: Oracle) -> None:
    run = CommandLine(oracle.engine.root)
    volume, other = filled(oracle), filled(oracle, "other")

    plan = run.json("volume", "delete", "db", "other", "--dry-run")
    assert "(other)\n" in run.text("volume", "delete", "db", "other", "--dry-run")
    assert [(s["verb"], Path(s["image"]).name) for s in plan["plan"]] == [
        ("trash", f"vol-{volume}"), ("trash", f"vol-{other}"),
    ]  # fmt: skip
    assert "give --yes" in run.error(2, "volume", "delete", "db")
    assert "unknown" in run.error(3, "volume", "delete", "db", "unknown", "--yes")
    oracle.check()
    assert run.json("volume", "delete", "db", "db", "other", "--yes") == {}
    oracle.check()
    assert [v["name"] for v in run.json("volume", "list", "--deleted")["inventories"]] == ["db", "other"]
    assert run.json("volume", "list") == {"inventories": []}
    assert f"volume recover {volume}" in run.error(3, "volume", "show", "db")
    assert run.json("volume", "recover", volume[:6])["status"] == "Ready"
    assert "is not deleted" in run.error(4, "volume", "recover", "db")
    assert "is not deleted" in run.error(4, "volume", "expunge", "db", "--yes")
    assert "volume list --deleted" in run.error(3, "volume", "expunge", "nothing", "--yes")
    assert "give --yes" in run.error(2, "volume", "expunge", "other")
    assert run.json("volume", "expunge", "other", "--dry-run")["plan"][0]["verb"] == "expunge"
    assert "(other)\n" in run.text("volume", "expunge", "other", "--dry-run")
    oracle.check()
    assert run.json("volume", "expunge", "other", "--yes") == {}
    assert [v.uuid for v in oracle.engine.list_volumes()] == [volume]


def test_a_group_with_a_deleted_volume_is_whole_again_once_that_is_back(oracle: Oracle) -> None:
    one, two = filled(oracle, "one"), filled(oracle, "two")
    group = oracle.create_group("both", one, two).uuid
    oracle.delete_volumes(two)
    oracle.check()

    (said,) = oracle.engine.groups_available((group,))
    assert not said.available
    with pytest.raises(errors.Conflict, match="recover or expunge it first"):
        oracle.engine.ungroup(group)

    oracle.recover_volume(two)
    oracle.revert_group(group)
    oracle.check()


@pytest.mark.parametrize("how", ["copied", "moved", "trash"])
def test_a_volume_directory_anywhere_opens_with_plain_qemu_img(oracle: Oracle, tmp_path: Path, how: str) -> None:
    volume = filled(oracle)
    directory = oracle.engine.volume_path(volume).parent
    held = {path.name: images.sha(oracle.expected[path.name[:32]]) for path in directory.glob("*.qcow2")}
    where = tmp_path / "elsewhere"
    if how == "copied":
        shutil.copytree(directory.parent, where)
    elif how == "moved":
        directory.parent.rename(where)
    else:
        oracle.delete_volumes(volume)
        (where,) = oracle.engine.root.glob(f"trash/acct-*/vol-{volume}")

    for name, content in held.items():
        path = where / "snapshots" / name
        info = subprocess.check_output(["qemu-img", "info", "--backing-chain", "--output", "json", str(path)])
        assert all(Path(layer["filename"]).parent == path.parent for layer in json.loads(info))
        assert images.sha(images.read(path)) == content


def test_a_volume_directory_that_is_put_back_from_a_copy_is_whole(oracle: Oracle, tmp_path: Path) -> None:
    volume = filled(oracle)
    directory = oracle.engine.volume_path(volume).parent.parent
    shutil.copytree(directory, tmp_path / "backup")
    oracle.delete_volumes(volume)
    oracle.engine.expunge_volume(volume)

    shutil.copytree(tmp_path / "backup", directory)

    oracle.check()
    oracle.create(volume, "next")
    oracle.check()


def test_snapshots_of_deleted_volumes_count_for_the_quota(oracle: Oracle) -> None:
    oracle.engine.create_account("web")
    volumes = [oracle.engine.create_volume(name, MIB, account="web").uuid for name in ("one", "two")]
    oracle.expected |= {uuid: bytes(MIB) for uuid in volumes}
    oracle.engine.set_quota("web", 1)
    oracle.create(volumes[0], "a")
    oracle.delete_volumes(volumes[0])

    with pytest.raises(errors.OverQuota):
        oracle.engine.create_snapshot(volumes[1], "b")
    oracle.recover_volume(volumes[0])
    oracle.delete_volumes(volumes[0])
    oracle.expunge_volume(volumes[0])
    oracle.create(volumes[1], "b")
    oracle.check()
