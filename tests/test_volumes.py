"""Volumes: how they are made, shown, changed, attached, and where their images are."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from snapengine import errors, layout
from snapengine.engine import Engine
from snapengine.inventory import Volume, VolumeType
from tests import check, images
from tests.oracle import MIB, Oracle

GIVEN = "ec8f396d8a5d48ce8bd949d469c0be62"
# CONTRACT.md, section 3: unset ones are absent.
KEYS = {
    "uuid", "name", "primaryStorageUuid", "installPath", "type", "format", "size", "actualSize", "state", "status",
    "createDate", "lastOpDate", "isShareable",
}  # fmt: skip


def record(engine: Engine, volume: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(engine.volume_path(volume).with_name(f"{volume}.json").read_text())
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Return the seconds that the engine's clock shows; a test sets them."""
    now = [1496870417.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    yield now


@pytest.mark.parametrize(("kind", "directory"), [("Root", "rootVolumes"), ("Data", "dataVolumes")])
def test_a_new_volume_is_an_empty_image_with_its_inventory_beside_it(
    oracle: Oracle, kind: VolumeType, directory: str
) -> None:
    volume = oracle.volume("db", 3 * MIB, kind)
    path = oracle.engine.volume_path(volume)
    account = "36c27e8ff05c4780bf6d2fa65700f22e"
    assert path == oracle.engine.root / directory / f"acct-{account}/vol-{volume}/snapshots/{volume}.qcow2"
    assert sorted(os.listdir(path.parent)) == [f"{volume}.json", f"{volume}.qcow2"]
    info = images.Images().facts(path).info
    assert (info.format, info.virtual_size, info.backing_filename) == ("qcow2", 3 * MIB, None)
    oracle.check()


def test_the_inventory_has_the_contracts_keys_and_forms(engine: Engine, clock: list[float]) -> None:
    made = engine.create_volume("db", MIB, "Root", uuid=GIVEN)
    assert made == Volume(
        uuid=GIVEN, name="db", primary_storage_uuid=engine.storage.uuid, install_path=str(engine.volume_path(GIVEN)),
        type="Root", format="qcow2", size=MIB, actual_size=made.actual_size, state="Enabled", status="Ready",
        create_date="Jun 7, 2017 9:20:17 PM", last_op_date="Jun 7, 2017 9:20:17 PM", is_shareable=False,
    )  # fmt: skip
    assert made.actual_size == engine.volume_path(GIVEN).stat().st_blocks * 512 > 0
    assert set(msgspec.to_builtins(made)) == KEYS
    assert set(record(engine, GIVEN)) == KEYS | {"account", "generation", "schemaVersion"}


def test_all_that_is_given_is_kept(engine: Engine) -> None:
    account = engine.create_account("team-a")
    tags = ("a::b", "volumeMaxIncrementalSnapshotNum::5", "a::b")
    made = engine.create_volume(
        "  db ", MIB, "Root", account="team-a", uuid=GIVEN, description="why", tags=tags
    )  # fmt: skip
    assert (made.uuid, made.name, made.description, made.type) == (GIVEN, "db", "why", "Root")
    assert f"/acct-{account.uuid}/" in made.install_path
    kept = record(engine, GIVEN)
    assert kept["systemTags"] == ["a::b", "volumeMaxIncrementalSnapshotNum::5"] and kept["account"] == account.uuid
    assert {(t.tag, t.type, t.resource_type) for t in engine.list_tags(GIVEN)} == {
        ("a::b", "System", "VolumeVO"),
        ("volumeMaxIncrementalSnapshotNum::5", "System", "VolumeVO"),
    }


def test_an_account_is_named_by_its_uuid_too(engine: Engine) -> None:
    account = engine.create_account("team-a")
    for given in ("team-a", account.uuid):
        assert f"/acct-{account.uuid}/" in engine.create_volume("db", MIB, account=given).install_path
    assert f"/acct-{layout.ADMIN}/" in engine.create_volume("db", MIB).install_path


@pytest.mark.parametrize(
    ("size", "rounded"),
    [(1, 512), (511, 512), (512, 512), (513, 1024), (MIB - 1, MIB), (MIB + 1, MIB + 512), (2 * 2**50, 2 * 2**50)],
)
def test_a_size_is_rounded_up_to_512(engine: Engine, size: int, rounded: int) -> None:
    made = engine.create_volume("db", size)
    assert made.size == rounded
    assert engine.volume_chain(made.uuid)[0].virtual_size == rounded
    assert engine.verify() == ()


def test_the_largest_volume_has_snapshots_like_any_other(engine: Engine) -> None:
    volume = engine.create_volume("huge", 2 * 2**50).uuid
    engine.create_snapshot(volume, "a")
    assert engine.volume_chain(volume)[0].virtual_size == 2 * 2**50
    assert engine.verify() == ()


def test_volumes_are_listed_by_name(engine: Engine) -> None:
    assert engine.list_volumes() == ()
    made = [engine.create_volume(name, MIB) for name in ("b", "c", "a", "b")]
    listed = engine.list_volumes()
    assert [v.name for v in listed] == ["a", "b", "b", "c"]
    assert sorted(listed, key=lambda v: v.uuid) == sorted(made, key=lambda v: v.uuid)
    assert [engine.get_volume(v.uuid) for v in made] == made


def test_what_the_image_takes_is_asked_anew_each_time(oracle: Oracle) -> None:
    volume = oracle.volume()
    before = oracle.engine.get_volume(volume).actual_size
    oracle.write(volume, length=MIB)
    after = oracle.engine.get_volume(volume).actual_size
    assert after - before >= MIB and oracle.engine.list_volumes()[0].actual_size == after


def test_a_volume_whose_image_is_missing_is_still_listed(engine: Engine) -> None:
    made = engine.create_volume("db", MIB)
    engine.volume_path(made.uuid).unlink()
    assert engine.list_volumes() == (msgspec.structs.replace(made, actual_size=0),)


def test_update_changes_what_is_given_and_the_date_and_nothing_else(engine: Engine, clock: list[float]) -> None:
    made = engine.create_volume("old", MIB, description="why")
    clock[0] += 60

    renamed = engine.update_volume(made.uuid, name="  new ")
    assert renamed == msgspec.structs.replace(made, name="new", last_op_date="Jun 7, 2017 9:21:17 PM")
    described = engine.update_volume(made.uuid, description="because")
    assert described == msgspec.structs.replace(renamed, description="because")
    assert engine.get_volume(made.uuid) == described
    assert engine.update_volume(made.uuid, description="").description is None


def test_an_update_that_changes_nothing_leaves_the_record_as_it_is(engine: Engine, clock: list[float]) -> None:
    made = engine.create_volume("db", MIB, description="why")
    path = engine.volume_path(made.uuid).with_suffix(".json")
    before = path.stat().st_ino
    clock[0] += 60
    for given in ({}, {"name": "db"}, {"description": "why"}, {"name": "db", "description": "why"}):
        assert engine.update_volume(made.uuid, **given) == made
    assert path.stat().st_ino == before


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"name": "x" * 256}, {"description": "x" * 2049}, {"name": "fine", "description": "\0"}]
)
def test_a_bad_update_changes_nothing(engine: Engine, changes: dict[str, str]) -> None:
    made = engine.create_volume("db", MIB)
    with pytest.raises(errors.Invalid):
        engine.update_volume(made.uuid, **changes)
    assert engine.get_volume(made.uuid) == made


def test_names_may_stand_twice(engine: Engine) -> None:
    first, second = engine.create_volume("db", MIB), engine.create_volume("db", MIB)
    assert first.uuid != second.uuid and engine.update_volume(first.uuid, name="db") == first


def test_the_chain_shows_each_layer_from_the_active_image_down(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume, length=2 * 65536)
    first = oracle.create(volume, "first").uuid
    second = oracle.create(volume, "second").uuid
    directory = oracle.engine.volume_path(volume).parent
    links = oracle.engine.volume_chain(volume)

    assert [link.uuid for link in links] == [volume, second, first]
    assert [link.path for link in links] == [str(directory / f"{uuid}.qcow2") for uuid in (volume, second, first)]
    assert [link.backing for link in links] == [f"{second}.qcow2", f"{first}.qcow2", None]
    assert {link.virtual_size for link in links} == {MIB}
    assert [link.allocated for link in links] == [Path(link.path).stat().st_blocks * 512 for link in links]


def test_a_vm_known_by_name_gets_a_uuid_that_is_the_same_for_all_its_volumes(engine: Engine) -> None:
    volumes = [engine.create_volume("disk", MIB).uuid for _ in range(3)]
    attached = [engine.attach_volume(volume, "web") for volume in volumes]

    assert [v.device_id for v in attached] == [0, 1, 2]
    (vm,) = {v.vm_instance_uuid for v in attached}
    assert vm is not None and re.fullmatch("[0-9a-f]{32}", vm)
    assert set(msgspec.to_builtins(attached[0])) == KEYS | {"vmInstanceUuid", "deviceId"}
    assert [engine.get_volume(volume) for volume in volumes] == attached


def test_different_vms_have_different_uuids_and_count_their_devices_apart(engine: Engine) -> None:
    one, other = (engine.attach_volume(engine.create_volume("d", MIB).uuid, vm) for vm in ("web", "Web"))
    assert one.vm_instance_uuid != other.vm_instance_uuid
    assert one.device_id == other.device_id == 0


@pytest.mark.parametrize(
    "vm", ["EC8F396D-8A5D-48CE-8BD9-49D469C0BE62", "ec8f396d-8a5d-48ce-8bd9-49d469c0be62", GIVEN, GIVEN.upper()]
)
def test_a_vms_uuid_is_normalised(engine: Engine, vm: str) -> None:
    assert engine.attach_volume(engine.create_volume("disk", MIB).uuid, f" {vm} ").vm_instance_uuid == GIVEN


@pytest.mark.parametrize("vm", ["ec8f396d-8a5d48ce8bd949d469c0be62", GIVEN[:31], f"{GIVEN}0", "{" + GIVEN + "}"])
def test_what_only_resembles_a_uuid_is_a_name(engine: Engine, vm: str) -> None:
    attached = engine.attach_volume(engine.create_volume("disk", MIB).uuid, vm).vm_instance_uuid
    assert attached is not None and attached != GIVEN and re.fullmatch("[0-9a-f]{32}", attached)


def test_a_name_and_how_to_reach_the_vm_are_kept_in_the_record_alone(engine: Engine) -> None:
    volume = engine.create_volume("disk", MIB).uuid
    attached = engine.attach_volume(volume, "web", "qmp:/run/web.sock")
    kept = record(engine, volume)
    assert (kept["vmName"], kept["channel"]) == ("web", "qmp:/run/web.sock")
    assert not {"vmName", "channel"} & set(msgspec.to_builtins(attached))


def test_attaching_to_another_vm_is_a_conflict_and_changes_nothing(engine: Engine) -> None:
    volume = engine.create_volume("disk", MIB).uuid
    attached = engine.attach_volume(volume, "web")
    with pytest.raises(errors.Conflict, match=rf"volume {volume} \(disk\) is attached to web; detach it first"):
        engine.attach_volume(volume, "db")
    assert engine.get_volume(volume) == attached


def test_a_detached_volume_can_be_attached_to_another_vm(engine: Engine) -> None:
    made = engine.create_volume("disk", MIB)
    engine.attach_volume(made.uuid, "web", "qmp:/run/web.sock")
    detached = engine.detach_volume(made.uuid)

    assert (detached.vm_instance_uuid, detached.device_id) == (None, None)
    assert not {"vmInstanceUuid", "deviceId", "vmName", "channel"} & set(record(engine, made.uuid))
    assert engine.detach_volume(made.uuid) == detached
    assert engine.attach_volume(made.uuid, "db").device_id == 0


def test_a_free_device_number_is_used_again(engine: Engine) -> None:
    volumes = [engine.create_volume("disk", MIB).uuid for _ in range(3)]
    for volume in volumes:
        engine.attach_volume(volume, "web")
    engine.detach_volume(volumes[1])
    assert engine.attach_volume(engine.create_volume("new", MIB).uuid, "web").device_id == 1
    assert engine.attach_volume(volumes[1], "web").device_id == 3


def test_attaching_again_to_the_same_vm_keeps_the_device_number(engine: Engine) -> None:
    first, second = (engine.create_volume("disk", MIB).uuid for _ in range(2))
    engine.attach_volume(first, "web")
    attached = engine.attach_volume(second, "web")
    engine.detach_volume(first)
    assert engine.attach_volume(second, "web").device_id == attached.device_id == 1


@pytest.mark.parametrize("vm", ["", " ", "x" * 256, "a\0"], ids=["empty", "blank", "256", "zero"])
def test_a_bad_name_of_a_vm_is_invalid(engine: Engine, vm: str) -> None:
    made = engine.create_volume("disk", MIB)
    with pytest.raises(errors.Invalid):
        engine.attach_volume(made.uuid, vm)
    assert engine.get_volume(made.uuid) == made


def test_tags_outlive_snapshots_reverts_and_updates(oracle: Oracle) -> None:
    engine = oracle.engine
    volume = engine.create_volume("db", MIB, tags=("a::b",)).uuid
    oracle.expected[volume] = bytes(MIB)
    engine.add_tag(volume, "mine", user=True)
    snapshot = oracle.create(volume, "a").uuid
    oracle.write(volume)
    oracle.revert(snapshot)
    engine.update_volume(volume, name="new")
    engine.attach_volume(volume, "web")
    assert [(t.tag, t.type) for t in engine.list_tags(volume)] == [("a::b", "System"), ("mine", "User")]
    oracle.check()


def test_a_volume_of_each_account_and_type_is_found_by_its_uuid(engine: Engine) -> None:
    accounts = ["admin", engine.create_account("a").name, engine.create_account("b").name]
    made = [
        engine.create_volume(f"{account} {kind}", MIB, kind, account=account)
        for account in accounts
        for kind in ("Root", "Data")
    ]
    assert {engine.get_volume(v.uuid) for v in made} == set(engine.list_volumes()) == set(made)
    check.full(engine, {v.uuid: bytes(MIB) for v in made})


def test_accounts_are_listed_by_name_and_unique(engine: Engine) -> None:
    for name in ("zoe", "bob"):
        engine.create_account(name)
    assert [a.name for a in engine.list_accounts()] == ["admin", "bob", "zoe"]
    with pytest.raises(errors.Conflict, match="account bob exists already; 'snapengine account list'"):
        engine.create_account("bob")
    assert (engine.root / "accounts.json").stat().st_mode & 0o777 == 0o600


def test_a_guest_sees_the_size_that_was_asked_for(oracle: Oracle) -> None:
    volume = oracle.volume(size=MIB + 512)
    oracle.write(volume, offset=MIB, length=512)
    oracle.check()
    shown = subprocess.run(
        ["qemu-img", "info", "--output", "json", "-f", "qcow2", oracle.engine.volume_path(volume)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert json.loads(shown.stdout)["virtual-size"] == MIB + 512


def test_a_volume_with_a_damaged_record_keeps_nobody_from_the_others(oracle: Oracle) -> None:
    sound, damaged = oracle.volume("sound"), oracle.volume("damaged")
    kept = oracle.create(sound, "kept").uuid
    record = oracle.engine.volume_path(damaged).with_suffix(".json")
    os.truncate(record, 100)
    engine = oracle.engine

    assert [volume.uuid for volume in engine.list_volumes()] == [sound]
    assert [snapshot.uuid for snapshot in engine.list_snapshots()] == [kept]
    assert engine.find_volume("sound") == sound and engine.find_snapshot("sound/kept") == kept
    assert (engine.status().volumes, engine.status().damaged) == (2, 1) and engine.list_trash() == ()
    assert engine.add_tag(sound, "mine", user=True) and engine.attach_volume(sound, "vm").device_id == 0
    with pytest.raises(errors.Corrupt, match=str(record)):
        engine.get_volume(damaged)


def test_a_volume_whose_image_is_a_link_to_itself_hides_no_other(oracle: Oracle) -> None:
    good, bad = oracle.volume("good"), oracle.volume("bad")
    image = oracle.engine.volume_path(bad)
    image.unlink()
    image.symlink_to(image.name)

    assert [(volume.uuid, volume.actual_size > 0) for volume in oracle.engine.list_volumes()] == [
        (bad, False), (good, True)
    ]  # fmt: skip
