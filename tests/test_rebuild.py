"""Rebuild: records that are lost come back from the images, the rest is told, and what is sound stays as it is."""

import json
import os
import random
import shutil
import struct
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from snapengine import errors, notes, owners
from snapengine import store as store_
from snapengine.engine import Engine
from snapengine.rebuild import Rebuilt
from tests import prepared
from tests.command_line import CommandLine
from tests.oracle import CLUSTER, MIB, Oracle
from tests.prepared import Prepared

UNKNOWN = "9" * 32
NUMBERS = ("generation", "gone", "moved")  # what readers need while a verb is at work
PLACES = ("root", "installPath", "primaryStorageInstallPath", "status")  # of a store that was copied, or a deleted one


def rich(oracle: Oracle) -> None:
    """Fill a store with trees of every kind: a full snapshot, a branch, trash, clones, a group, a deleted volume."""
    oracle.engine.create_account("bob")
    oracle.engine.set_quota("bob", 7)
    oracle.engine.set_depth_limit(3)
    disk = oracle.volume("disk", type="Root")
    oracle.write(disk)
    first = oracle.create(disk, "first").uuid
    oracle.write(disk, CLUSTER)
    second = oracle.create(disk, "second").uuid
    oracle.engine.add_tag(second, "kept", user=True)
    oracle.engine.add_tag(disk, "volumeMaxIncrementalSnapshotNum::2")
    oracle.write(disk, 2 * CLUSTER)
    oracle.create(disk, "full")
    oracle.write(disk, 3 * CLUSTER)
    oracle.revert(first)
    oracle.write(disk, 4 * CLUSTER)
    oracle.create(disk, "branch")
    clone = oracle.clone(second, "clone", linked=True)
    oracle.write(clone, 5 * CLUSTER)
    oracle.create(clone, "on a clone")
    other = oracle.engine.create_volume("other", MIB, account="bob", description="of bob").uuid
    oracle.expected[other] = bytes(MIB)
    oracle.create_group("both", disk, clone)
    oracle.resize(disk, 2 * MIB)
    gone = oracle.volume("gone", type="Root")
    oracle.write(gone)
    oracle.create(gone, "of gone")
    oracle.delete_volumes(gone)
    oracle.engine.update_snapshot(first, name="renamed", description="told later")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    oracle = Oracle(Engine.init(tmp_path_factory.mktemp("rebuild") / "storage"))
    rich(oracle)
    oracle.check()
    return oracle


@pytest.fixture
def store(template: Oracle, tmp_path: Path) -> Oracle:
    return copied(template, tmp_path / "storage")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("rebuild") / "storage")


@pytest.fixture
def small(plain: Prepared, tmp_path: Path) -> Prepared:
    return plain.copied(tmp_path / "storage")


def copied(oracle: Oracle, root: Path) -> Oracle:
    """Return a copy of the store with its notes, whose records say that it lies at root."""
    copy = prepared.copied(oracle, root)
    for path in found(root):
        notes.keep(path)  # as the next verb on each volume does
    return copy


def records(root: Path) -> dict[str, Any]:
    """Return all records, by their path below root, without what follows from where they lie and when."""
    return {str(path.relative_to(root)): _plain(json.loads(path.read_text())) for path in found(root)}


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in (*NUMBERS, *PLACES)}


def found(root: Path) -> list[Path]:
    return sorted(root.rglob("*.json"))


def lose(root: Path) -> None:
    """Do what somebody did by `find ROOT -name '*.json' -delete`."""
    subprocess.run(["find", str(root), "-name", "*.json", "-delete"], check=True)


def forget(root: Path) -> None:
    """Take away all notes, as a copy does that leaves extended attributes out."""
    for path in (root, *root.rglob("*")):
        for name in os.listxattr(path):
            os.removexattr(path, name)


def whole(rebuilt: Rebuilt) -> Rebuilt:
    assert rebuilt.left == ()
    return rebuilt


def test_when_all_records_are_lost_every_one_comes_back_as_it_was(store: Oracle) -> None:
    root = store.engine.root
    before = records(root)
    lose(root)
    with pytest.raises(errors.Corrupt, match="is missing; 'snapengine rebuild' makes it again"):
        Engine.open(root)
    done = whole(Engine.rebuild(root))

    store.check()
    after = records(root)
    assert set(after) == set(before)
    assert after == before
    assert len(done.rebuilt) == len(before)
    assert Engine.rebuild(root).rebuilt == ()


def test_without_notes_all_but_names_comes_back_and_what_is_gone_is_told(store: Oracle) -> None:
    root = store.engine.root
    shapes = {s.uuid: (s.parent_uuid, s.distance) for s in store.engine.list_snapshots()}
    current = {s.uuid for s in store.engine.list_snapshots() if s.latest} & _standing(store)
    lose(root)
    forget(root)
    done = whole(Engine.rebuild(root))

    store.check()
    assert {s.uuid: (s.parent_uuid, s.distance) for s in store.engine.list_snapshots()} == shapes
    assert current == {s.uuid for s in store.engine.list_snapshots() if s.latest} & _standing(store)
    assert all(made.message.endswith("gone") for made in done.rebuilt)
    names = {v.name for v in store.engine.list_volumes()} | {s.name for s in store.engine.list_snapshots()}
    assert all(name.startswith("rebuilt-") for name in names)
    assert len({account.uuid for account in store.engine.list_accounts()}) == 2
    again = records(root)
    assert Engine.rebuild(root).rebuilt == ()
    assert records(root) == again


def _standing(store: Oracle) -> set[str]:
    """Return what the active images stand on."""
    chains = [store.engine.volume_chain(volume.uuid) for volume in store.engine.list_volumes()]
    return {chain[1].uuid for chain in chains if len(chain) > 1 and chain[1].uuid}


def test_a_sound_store_stays_as_it_is_bit_for_bit(store: Oracle) -> None:
    root = store.engine.root
    before = {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in found(root)}
    assert Engine.rebuild(root) == Rebuilt(rebuilt=(), left=())
    assert {path: (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in found(root)} == before


def test_a_dry_run_tells_the_same_and_changes_nothing(store: Oracle) -> None:
    root = store.engine.root
    lose(root)
    before = sorted(os.walk(root))
    told = Engine.rebuild(root, dry_run=True)
    assert sorted(os.walk(root)) == before
    assert Engine.rebuild(root) == told


@pytest.mark.parametrize("noted", [True, False], ids=["with notes", "without notes"])
@pytest.mark.parametrize("seed", range(3))
def test_whichever_records_are_lost_or_cut_off_the_store_is_whole_again(store: Oracle, seed: int, noted: bool) -> None:
    root, chance = store.engine.root, random.Random(seed)
    before = records(root)
    if not noted:
        forget(root)
    touched = [path for path in found(root) if chance.random() < 0.4]
    for path in touched:
        if chance.random() < 0.5 or path.parent.name == "groups":
            path.unlink()
        else:
            os.truncate(path, chance.randrange(path.stat().st_size))
    sound = {str(path.relative_to(root)) for path in found(root)} - {str(p.relative_to(root)) for p in touched}
    whole(Engine.rebuild(root))

    store.check()
    after = records(root)
    assert {path for path in before if not path.startswith("groups/")} <= set(after)
    named = sound if not noted else {path for path in before if not path.startswith("groups/")}
    assert {p: after[p].get("name") for p in named} == {p: before[p].get("name") for p in named}


CHANGES: dict[str, Callable[[Oracle, str, str], object]] = {
    "nothing": lambda o, first, second: None,
    "a copy in its place": lambda o, first, second: o.shrink(second),
    "another image by commit": lambda o, first, second: o.delete(first, direction="commit"),
    "written to": lambda o, first, second: o.delete(first, direction="pull"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_group_comes_back_with_all_that_it_was_called_whatever_its_members_are_called(
    oracle: Oracle, change: str
) -> None:
    """Of its two members one is lost with its note, the other's image is what became of it by some verb."""
    disk, other = oracle.volume("disk"), oracle.volume("other")
    oracle.write(disk)
    first = oracle.create(disk, "first").uuid
    oracle.write(disk, CLUSTER)
    oracle.zero(disk)
    group = oracle.engine.create_group("both", (disk, other), description="of a night").uuid
    second, lost = (ref.volume_snapshot_uuid for ref in oracle.engine.get_group(group).volume_snapshot_refs)
    oracle.expected |= {second: oracle.expected[disk], lost: oracle.expected[other]}
    oracle.engine.update_group(group, name="nightly", description="of every night")
    oracle.engine.update_snapshot(second, name="renamed")
    CHANGES[change](oracle, first, second)
    oracle.delete(lost)
    before = oracle.engine.get_group(group)
    lose(oracle.engine.root)
    whole(Engine.rebuild(oracle.engine.root))

    after = oracle.engine.get_group(group)
    assert (after.name, after.description) == ("nightly", "of every night")
    assert (after.create_date, after.last_op_date) == (before.create_date, before.last_op_date)
    assert [ref.volume_snapshot_name for ref in after.volume_snapshot_refs] == ["renamed"]
    oracle.check()


def test_of_a_group_that_was_renamed_while_a_volume_lay_in_the_trash_the_newer_name_comes_back(oracle: Oracle) -> None:
    volumes = [oracle.volume(name) for name in ("a", "b")]
    group = oracle.create_group("old", *volumes).uuid
    for volume, name in zip(volumes, ("older", "newest"), strict=True):
        oracle.delete_volumes(volume)
        time.sleep(name == "newest")  # a record's date tells seconds
        oracle.engine.update_group(group, name=name)
        oracle.recover_volume(volume)
    lose(oracle.engine.root)
    whole(Engine.rebuild(oracle.engine.root))
    assert oracle.engine.get_group(group).name == "newest"


def test_a_group_is_not_made_before_all_its_volumes_are_since_it_would_go_without_a_member(oracle: Oracle) -> None:
    volumes = [oracle.volume(name) for name in ("a", "b")]
    group = oracle.create_group("both", *volumes).uuid
    bad = oracle.engine.volume_path(volumes[0]).with_suffix(".json")
    kept = bad.read_text()
    lose(oracle.engine.root / "groups")
    bad.write_text(json.dumps(json.loads(kept) | {"schemaVersion": 2}))
    left = Engine.rebuild(oracle.engine.root).left
    assert [(p.kind, p.object) for p in left] == [("record-damaged", volumes[0]), ("record-damaged", group)]

    bad.write_text(kept)
    whole(Engine.rebuild(oracle.engine.root))
    assert {ref.volume_uuid for ref in oracle.engine.get_group(group).volume_snapshot_refs} == {*volumes}
    oracle.check()


def test_a_long_description_of_a_group_is_left_out_and_takes_no_other_note_away(oracle: Oracle) -> None:
    volume = oracle.volume("disk")
    group = oracle.create_group("both", volume).uuid
    (ref,) = oracle.engine.get_group(group).volume_snapshot_refs
    oracle.engine.update_group(group, name="nightly", description="ä" * 2000)
    oracle.engine.update_snapshot(ref.volume_snapshot_uuid, name="renamed", description="a" * 2000)
    lose(oracle.engine.root)
    (made,) = [made for made in whole(Engine.rebuild(oracle.engine.root)).rebuilt if made.kind == "group"]
    found = oracle.engine.get_snapshot(ref.volume_snapshot_uuid)
    assert (found.name, found.description) == ("renamed", "a" * 2000)
    assert (oracle.engine.get_group(group).name, oracle.engine.get_group(group).description) == ("nightly", None)
    assert "description" in made.message
    oracle.check()


def test_a_group_that_nothing_tells_of_any_more_is_told(store: Oracle) -> None:
    root = store.engine.root
    (path,) = (root / "groups").iterdir()
    lose(root / "dataVolumes")
    lose(root / "rootVolumes")
    forget(root)
    path.write_text("{")
    (problem,) = Engine.rebuild(root).left
    assert (problem.kind, problem.path) == ("record-damaged", str(path))
    path.unlink()
    store.check()


def damage_header(path: Path) -> None:
    with open(path, "r+b") as f:
        f.write(b"\0" * 512)


@pytest.mark.parametrize("damage", [Path.unlink, damage_header], ids=["missing", "damaged"])
@pytest.mark.parametrize("which", ["first", "second", "volume", "item"])
@pytest.mark.parametrize("noted", [True, False], ids=["with notes", "without notes"])
def test_an_image_that_is_no_more_is_named_and_the_rest_comes_back(
    small: Prepared, which: str, damage: Callable[[Path], None], noted: bool
) -> None:
    uuid = getattr(small, which)
    damage(small.image(uuid))
    lose(small.root)
    if not noted:
        forget(small.root)
    done = Engine.rebuild(small.root)

    needed = which in ("first", "volume") or (noted and damage is damage_header)  # something tells of it still
    lost = needed or damage is damage_header or which == "second"  # the item stands on second
    assert [(problem.object, problem.path) for problem in done.left] == [(uuid, str(small.image(uuid)))] * lost
    there = {s.uuid for s in small.engine.list_snapshots()} | {i.uuid for i in small.engine.list_trash()}
    assert {small.first, small.item, small.second} - {uuid} <= there
    assert small.engine.volume_path(small.volume) == small.image(small.volume)
    bad = {problem.object for problem in small.engine.verify()}
    assert bad <= {uuid, small.volume}
    if which not in ("first", "volume"):
        assert small.engine.create_snapshot(small.volume, "goes on").parent_uuid == small.first
    if which == "volume":
        small.engine.revert(small.second)
        assert small.engine.create_snapshot(small.volume, "goes on").parent_uuid == small.second


def test_an_image_that_stands_on_what_is_no_snapshot_is_named(small: Prepared) -> None:
    rebase = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "nothing.qcow2"]
    subprocess.run([*rebase, str(small.image(small.second))], check=True)
    lose(small.root)

    (left,) = Engine.rebuild(small.root).left

    assert (left.object, left.path) == (small.second, str(small.image(small.second)))
    assert "stands on nothing.qcow2, which is no snapshot's image" in left.message


def test_an_image_that_came_back_from_a_backup_is_where_it_was_after_one_more_rebuild(small: Prepared) -> None:
    kept = small.root.with_name("backup.qcow2")
    small.image(small.first).rename(kept)
    lose(small.root)
    assert [problem.kind for problem in Engine.rebuild(small.root).left] == ["image-missing"]
    kept.rename(small.image(small.first))
    whole(Engine.rebuild(small.root))
    small.oracle.check()


def test_records_of_a_newer_snapengine_are_never_overwritten(small: Prepared) -> None:
    small.edit(small.second, schemaVersion=2)
    small.record(small.first).unlink()
    before = small.record(small.second).read_bytes()
    (problem,) = Engine.rebuild(small.root).left

    assert "newer snapengine" in problem.message and problem.object == small.volume
    assert small.record(small.second).read_bytes() == before and not small.record(small.first).exists()
    path = small.root / "primary-storage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schemaVersion": 2}))
    with pytest.raises(errors.Corrupt, match="newer"):
        Engine.rebuild(small.root)


def test_a_snapshot_whose_create_never_committed_does_not_come_back(small: Prepared) -> None:
    """Its journal entry was deleted with the records: what is left is a second name of the active image."""
    os.link(small.image(small.volume), small.image(UNKNOWN))
    lose(small.root)
    whole(Engine.rebuild(small.root))
    assert UNKNOWN not in {s.uuid for s in small.engine.list_snapshots()}
    small.image(UNKNOWN).unlink()
    small.oracle.check()


def test_a_header_that_leads_out_of_the_account_brings_no_clone_back(store: Oracle) -> None:
    """Who holds a VM's image can write any name into it, and with the records gone nothing contradicts him."""
    root = store.engine.root
    own = store.engine.volume_path(store.engine.find_volume("other"))
    target = store.engine.snapshot_path(store.engine.find_snapshot("second"))
    name = f"../../../../{target.relative_to(root)}"
    line = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", name, str(own)]
    subprocess.run(line, check=True)
    lose(root)
    forget(root)
    (problem,) = Engine.rebuild(root).left
    assert (problem.kind, problem.path) == ("image-refused", str(own))
    assert "another directory" in problem.message


def test_headers_that_run_in_a_circle_are_told_and_hang_nothing(small: Prepared) -> None:
    for image, backing in ((small.first, small.second), (small.second, small.first)):
        line = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", f"{backing}.qcow2"]
        subprocess.run([*line, str(small.image(image))], check=True)
    lose(small.root)
    Engine.rebuild(small.root)
    assert {s.uuid for s in small.engine.list_snapshots()} == {small.first, small.second}
    assert {p.kind for p in small.engine.verify()} == {"wrong-backing"}


def test_no_secret_of_an_account_is_noted_and_its_loss_is_told(store: Oracle) -> None:
    root = store.engine.root
    path = root / "accounts.json"
    record = json.loads(path.read_text())
    for account in record["accounts"]:
        account["password"] = "a secret"
    store_.write_accounts(root, msgspec.convert(record, owners.Accounts))
    assert "a secret" in path.read_text()
    assert all(b"secret" not in os.getxattr(root, name) for name in os.listxattr(root))
    path.unlink()
    (made,) = Engine.rebuild(root).rebuilt
    assert made.message.endswith("passwords and access keys are gone")
    assert "bob" in path.read_text() and "secret" not in path.read_text()


def test_a_store_that_was_moved_without_its_records_comes_back(store: Oracle, tmp_path: Path) -> None:
    root = tmp_path / "moved"
    lose(store.engine.root)
    shutil.move(store.engine.root, root)
    whole(Engine.rebuild(root))
    store.engine = Engine.open(root)
    store.check()


def test_where_nothing_of_a_store_lies_there_is_nothing_to_rebuild(tmp_path: Path) -> None:
    with pytest.raises(errors.NoStorage):
        Engine.rebuild(tmp_path)
    with pytest.raises(errors.NoStorage):
        Engine.rebuild(tmp_path / "nowhere")


def test_of_an_image_that_can_not_be_read_the_file_tells_when_it_was_made_and_what_it_takes(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    image = oracle.engine.snapshot_path(first)
    image.with_suffix(".json").unlink()
    forget(oracle.engine.root)
    held = image.read_bytes()
    image.write_bytes(b"gone" + held[4:])
    os.utime(image, (1_500_000_000, 1_500_000_000))
    Engine.rebuild(oracle.engine.root)
    image.write_bytes(held)
    Engine.rebuild(oracle.engine.root)
    found = oracle.engine.get_snapshot(first)
    assert "2017" in found.create_date and found.size > CLUSTER
    oracle.check()


def test_a_long_record_is_noted_without_what_makes_it_long(oracle: Oracle) -> None:
    volume = oracle.volume("disk")
    snapshot = oracle.create(volume, "described").uuid
    oracle.engine.update_snapshot(snapshot, description="ä" * 2000)
    lose(oracle.engine.root)
    whole(Engine.rebuild(oracle.engine.root))
    found = oracle.engine.get_snapshot(snapshot)
    assert (found.name, found.description) == ("described", None)
    oracle.check()


def test_the_command_tells_what_it_made_and_what_it_could_not(small: Prepared) -> None:
    line = CommandLine(small.root)
    assert line.text("rebuild") == "nothing to rebuild\n"
    assert line.json("rebuild") == {"left": [], "rebuilt": []}
    small.image(small.item).write_bytes(struct.pack(">II", 0, 0))
    lose(small.root)
    told = line("rebuild", "--dry-run")
    assert told.code == 6 and f"snapshot {small.first}: made again as it was noted at the image: " in told.stdout
    assert found(small.root) == []
    done = line("rebuild")
    assert (done.code, done.stdout) == (6, told.stdout)
    assert "left: image-refused: " in done.stdout.splitlines()[-1]
    assert line("snapshot", "list").code == 0
