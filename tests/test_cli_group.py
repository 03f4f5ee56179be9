"""snapengine group."""

import json
from pathlib import Path

import pytest

from snapengine import lock
from snapengine.cli import text
from tests import qemu
from tests.command_line import CommandLine, terminal
from tests.oracle import CLUSTER, Oracle
from tests.test_cli_complete import completed

GROUP_KEYS = {"uuid", "name", "createDate", "lastOpDate", "vmInstanceUuid", "snapshotCount", "volumeSnapshotRefs"}
REF_KEYS = {
    "volumeSnapshotUuid", "volumeSnapshotGroupUuid", "volumeUuid", "volumeName", "volumeType", "volumeSnapshotName",
    "volumeSnapshotInstallPath", "deviceId", "snapshotDeleted", "createDate", "lastOpDate",
}  # fmt: skip


@pytest.fixture
def run(oracle: Oracle) -> CommandLine:
    """Return the command on a store with the VM web, which has the volumes db and log."""
    for name in ("db", "log"):
        volume = oracle.volume(name)
        oracle.engine.attach_volume(volume, "web")
        oracle.write(volume)
    return CommandLine(oracle.engine.root)


@pytest.fixture
def group(run: CommandLine, oracle: Oracle) -> str:
    """Return the uuid of a group called before, after which something was written to both volumes."""
    uuid = oracle.create_group("before", vm="web").uuid
    for volume in oracle.engine.list_volumes():
        oracle.write(volume.uuid, CLUSTER)
    return uuid


def test_create_snapshots_the_volumes_of_a_vm(run: CommandLine) -> None:
    made = run.json("group", "create", "before", "--vm", "web", "--description", "why")

    assert set(made) == GROUP_KEYS | {"description"}
    assert [set(ref) for ref in made["volumeSnapshotRefs"]] == [REF_KEYS, REF_KEYS]
    assert [ref["volumeSnapshotName"] for ref in made["volumeSnapshotRefs"]] == ["before-db", "before-log"]
    snapshots = run.json("snapshot", "list")["inventories"]
    assert {snapshot["groupUuid"] for snapshot in snapshots} == {made["uuid"]}
    assert run.json("group", "show", "before") == made
    assert run.json("group", "list") == {"inventories": [made]}


def test_create_snapshots_the_volumes_that_are_named(run: CommandLine) -> None:
    given = "0123456789ab4def8123456789abcdef"
    made = run.json("group", "create", "one", "log", "--uuid", given)
    assert made["uuid"] == given
    assert set(made) == GROUP_KEYS - {"vmInstanceUuid"}
    assert [ref["volumeName"] for ref in made["volumeSnapshotRefs"]] == ["log"]


def test_people_see_the_members_and_of_snapshots_the_group(run: CommandLine, group: str) -> None:
    shown = run.text("group", "show", group[:6])
    assert "before-db" in shown and "before-log" in shown and "refs" not in shown
    assert shown.splitlines()[0].split() == ["uuid", group]
    assert ["vm", "name", "web"] in [line.split() for line in shown.splitlines()]
    head, line = run.text("group", "list").splitlines()
    assert head.split() == ["NAME", "UUID", "SNAPSHOTS", "VM", "CREATED"]
    assert line.split()[:4] == ["before", group, "2", "web"]
    table = run.text("snapshot", "list").splitlines()
    assert [line.split()[-1] for line in table] == ["GROUP", "before", "before"]
    assert ["group", group] in [line.split() for line in run.text("snapshot", "show", "before-db").splitlines()]


def test_update_changes_name_and_description(run: CommandLine, group: str) -> None:
    changed = run.json("group", "update", "before", "--name", "renamed", "--description", "d")
    assert (changed["uuid"], changed["name"], changed["description"]) == (group, "renamed", "d")
    assert "nothing to change" in run.error(2, "group", "update", "renamed")


def test_revert_asks_and_takes_all_volumes_back(run: CommandLine, oracle: Oracle, group: str) -> None:
    steps = run.json("group", "revert", "before", "--dry-run")["plan"]
    assert [step["verb"] for step in steps] == ["trash", "revert", "trash", "revert"]
    size = text.value("size", sum(volume.actual_size for volume in oracle.engine.list_volumes()))
    asked = f"2 volumes will go back to group 'before': 'db', 'log'; 2 present images, {size}, will go to the trash"
    assert asked in run.error(2, "group", "revert", "before")
    oracle.check()

    code, shown = terminal(oracle.engine.root, "group", "revert", "before", keys="y\n")
    assert (code, shown.count("Go ahead?")) == (0, 1)
    assert len(oracle.engine.list_trash()) == 2
    assert run.json("group", "revert", "before", "--yes") == {}


def test_ungroup_asks_and_leaves_the_snapshots(run: CommandLine, oracle: Oracle, group: str) -> None:
    assert [step["verb"] for step in run.json("group", "ungroup", "before", "--dry-run")["plan"]] == ["ungroup"] * 2
    assert "group 'before' will be forgotten; its 2 snapshots stay" in run.error(2, "group", "ungroup", "before")
    assert run.json("group", "ungroup", "before", "--yes") == {}
    oracle.check()
    assert run.json("group", "list") == {"inventories": []}


def test_delete_asks_and_tells_the_result_of_each(run: CommandLine, oracle: Oracle, group: str) -> None:
    refs = oracle.engine.get_group(group).volume_snapshot_refs
    assert [s["verb"] for s in run.json("group", "delete", "before", "--dry-run")["plan"]].count("delete") == 2
    assert run.error(2, "group", "delete", "before").startswith("group 'before': 2 snapshots will be gone for good")
    oracle.check()

    told = run.json("group", "delete", "before", "--yes")
    assert told == {"results": [{"snapshotUuid": ref.volume_snapshot_uuid, "success": True} for ref in refs]}
    for ref in refs:
        del oracle.expected[ref.volume_snapshot_uuid]
    oracle.check()


def test_availability_tells_the_reasons(run: CommandLine, group: str) -> None:
    other = run.json("group", "create", "second", "db")["uuid"]
    assert run.json("group", "availability", "before", "second")["results"] == [
        {"uuid": group, "available": True, "reason": ""},
        {"uuid": other, "available": True, "reason": ""},
    ]
    run.text("volume", "detach", "log")
    line = run.text("group", "availability", group).splitlines()[1]
    assert line.startswith("before ") and "(log) was detached from the VM" in line
    assert "was detached" in run.error(4, "group", "revert", "before", "--yes")


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, ("create", "g"), "give either the volumes or --vm VM"),
        (2, ("create", "g", "db", "--vm", "web"), "give either the volumes or --vm VM"),
        (2, ("create", "g", "db", "db"), " (db) was given more than once"),
        (2, ("create", "", "db"), "a name has 1 to 255 characters"),
        (3, ("create", "g", "db", "no"), "volume 'no' was not found"),
        (3, ("create", "g", "--vm", "mail"), "VM 'mail' was not found; no volume is attached to it"),
        (3, ("show", "no"), "group 'no' was not found; 'snapengine group list'"),
        (3, ("revert", "no", "--yes"), "group 'no' was not found"),
        (3, ("delete", "no", "--yes"), "group 'no' was not found"),
        (3, ("ungroup", "no", "--yes"), "group 'no' was not found"),
        (3, ("availability", "before", "no"), "group 'no' was not found"),
    ],
)
def test_what_cannot_be_is_refused(
    run: CommandLine, oracle: Oracle, group: str, code: int, words: tuple[str, ...], said: str
) -> None:
    assert said in run.error(code, "group", *words)
    oracle.check()


@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_a_volume_in_use_is_exit_5(run: CommandLine, oracle: Oracle, group: str, verb: str) -> None:
    words = {"create": ("create", "g", "--vm", "web")}.get(verb, (verb, "before", "--yes"))
    with qemu.running(oracle.engine.volume_path(oracle.engine.find_volume("log"))):
        assert "is open in qemu" in run.error(5, "group", *words)
    oracle.check()


@pytest.mark.parametrize("verb", ["create", "revert", "delete", "ungroup", "update"])
def test_a_locked_volume_is_exit_5(run: CommandLine, oracle: Oracle, group: str, verb: str) -> None:
    words = {"create": ("create", "g", "--vm", "web"), "update": ("update", "before", "--name", "n")}
    directory = oracle.engine.volume_path(oracle.engine.find_volume("log")).parents[1]
    with lock.exclusive(directory, "merge"):
        said = run.error(5, "--wait", "0", "group", *words.get(verb, (verb, "before", "--yes")))
        assert "is locked by merge (pid" in said
    oracle.check()


def test_two_groups_of_one_name_are_told_apart(run: CommandLine, group: str) -> None:
    other = run.json("group", "create", "before", "db")["uuid"]
    said = run.error(2, "group", "show", "before")
    assert group in said and other in said
    assert run.json("group", "show", other[:8])["uuid"] == other


def test_a_damaged_record_is_told_and_hides_no_other_group(run: CommandLine, oracle: Oracle, group: str) -> None:
    other = run.json("group", "create", "second", "db")["uuid"]
    path = Path(oracle.engine.root, "groups", f"{group}.json")
    path.write_text(json.dumps({"uuid": group}))

    listed = run("group", "list", "--output", "json")
    assert (listed.code, "left out" in listed.stderr) == (6, True)
    assert [found["uuid"] for found in json.loads(listed.stdout)["inventories"]] == [other]
    assert "is damaged" in run.error(6, "group", "show", group)
    assert "was not found, but not all could be read" in run.error(6, "group", "show", "before")
    assert run.json("group", "show", "second")["uuid"] == other


def test_groups_are_completed(run: CommandLine, oracle: Oracle, group: str) -> None:
    assert "plain,before" in completed("snapengine group show b", root=oracle.engine.root)  # a uuid may begin so too
    assert completed(f"snapengine group revert {group[:5]}", root=oracle.engine.root) == [f"plain,{group}"]
    assert "plain,db" in completed("snapengine group create g d", root=oracle.engine.root)
