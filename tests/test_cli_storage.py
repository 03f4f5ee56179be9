"""snapengine init, status, verify, config, account and tag."""

import fcntl
import json
import re
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests.command_line import CommandLine
from tests.oracle import poke


@pytest.fixture
def run(engine: Engine) -> CommandLine:
    return CommandLine(engine.root)


def test_init_makes_a_storage_once(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "new" / "storage")

    made = run.json("init", "--name", "fast", "--depth-limit", "10")

    assert {key: made[key] for key in ("name", "root", "maxIncrementalSnapshotNum")} == {
        "name": "fast",
        "root": str(run.root),
        "maxIncrementalSnapshotNum": 10,
    }
    assert "already" in run.error(4, "init")
    assert "name            primary" in CommandLine(tmp_path / "other").text("init")


def test_init_refuses_bad_arguments_and_a_directory_with_files(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "storage")

    for words in (("--name", ""), ("--depth-limit", "1"), ("--depth-limit", "120"), ("--depth-limit", "many")):
        run.error(2, "init", *words)
    assert not (tmp_path / "storage").exists()
    (tmp_path / "mine").write_text("important")
    assert "not empty" in CommandLine(tmp_path).error(4, "init")


def test_status_shows_the_store_at_a_glance(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    base = engine.create_snapshot(volume.uuid, "one")
    engine.create_snapshot(volume.uuid, "two")
    poke(engine.volume_path(volume.uuid), 7)
    engine.revert(base.uuid)

    found = run.json("status")

    counts = ("volumes", "snapshots", "deepestChain", "trashItems", "maxIncrementalSnapshotNum", "unfinished")
    assert [found[key] for key in counts] == [1, 2, 2, 1, 64, []]
    assert found["free"] > 0 and found["used"] > found["trash"] > 0
    assert (found["uuid"], found["root"]) == (engine.storage.uuid, str(engine.root))
    assert re.search(r"deepest chain +2$", run.text("status"), re.MULTILINE)


def test_status_names_what_is_under_way(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    directory = Path(volume.install_path).parent
    entry = {
        "uuid": "0" * 32, "verb": "revert", "volumeUuid": volume.uuid, "pid": 4711, "schemaVersion": 1,
        "directory": str(directory.relative_to(engine.root)), "started": "Jun 7, 2017 9:20:17 PM",
    }  # fmt: skip
    (engine.root / "journal" / f"{'0' * 32}.json").write_text(json.dumps(entry))

    with open(directory.parent / ".lock", "w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        (found,) = run.json("status")["unfinished"]
        assert (found["verb"], found["volumeUuid"], found["pid"]) == ("revert", volume.uuid, 4711)
        assert "revert" in run.text("status").splitlines()[-1]


def test_verify_finds_nothing_wrong(run: CommandLine, engine: Engine) -> None:
    engine.create_snapshot(engine.create_volume("db", 2**20).uuid, "s")

    for words in ((), ("--deep",), ("db",), ("db", "--deep")):
        assert run.text("verify", *words) == "no problems\n"
        assert run.json("verify", *words) == {"problems": []}
    run.error(3, "verify", "web")


def test_verify_tells_problems_and_ends_with_6(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    stray = Path(volume.install_path).with_name("stray\nfile")
    stray.write_text("")

    ended = run("verify", "--output", "json")

    assert (ended.code, ended.stderr) == (6, "")
    (problem,) = json.loads(ended.stdout)["problems"]
    assert set(problem) == {"kind", "object", "path", "message", "repair"}
    assert (problem["kind"], problem["path"]) == ("stray-file", str(stray))
    ended = run("verify", "db")
    assert ended.code == 6
    assert ended.stdout.startswith("stray-file: ") and ended.stdout.count("\n") == 1


def test_the_depth_limit_is_read_and_set(run: CommandLine) -> None:
    assert run.text("config", "depth-limit") == "64\n"
    assert run.text("config", "depth-limit", "5") == "5\n"
    assert run.json("config", "depth-limit") == {"maxIncrementalSnapshotNum": 5}
    for number in ("1", "120", "x", ""):
        run.error(2, "config", "depth-limit", number)


def test_accounts_are_created_and_listed(run: CommandLine) -> None:
    made = run.json("account", "create", "web.team-1")

    assert set(made) == {"uuid", "name", "snapshotQuota", "createDate"}
    assert [a["name"] for a in run.json("account", "list")["inventories"]] == ["admin", "web.team-1"]
    assert [line.split()[0] for line in run.text("account", "list").splitlines()] == ["NAME", "admin", "web.team-1"]
    run.error(4, "account", "create", "admin")
    for name in ("", "a/b", "a" * 65, "ü"):
        run.error(2, "account", "create", name)


def test_tags_are_added_listed_and_removed(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20, tags=("first",))
    snapshot = engine.create_snapshot(volume.uuid, "s")

    added = run.json("tag", "add", "db", "[bold]second", "--user")["inventories"]
    assert [(tag["tag"], tag["type"]) for tag in added] == [("first", "System"), ("[bold]second", "User")]
    run.text("tag", "add", "db/s", "third")
    listed = run.json("tag", "list")["inventories"]
    assert {(tag["resourceUuid"], tag["tag"]) for tag in listed} == {
        (volume.uuid, "first"), (volume.uuid, "[bold]second"), (snapshot.uuid, "third"),
    }  # fmt: skip
    lines = run.text("tag", "list", "s").splitlines()
    assert [line.split() for line in lines] == [
        ["OBJECT", "KIND", "TYPE", "TAG"],
        [snapshot.uuid, "VolumeSnapshotVO", "System", "third"],
    ]
    assert "first" in run.text("tag", "remove", "db", "[bold]second")
    assert run.json("tag", "remove", "db", "first") == {"inventories": []}
    assert "tag list" in run.error(3, "tag", "remove", "db", "first")


def test_bad_tags_are_refused(run: CommandLine, engine: Engine) -> None:
    engine.create_volume("db", 2**20)

    for tag in ("", "t" * 2049, "volumeMaxIncrementalSnapshotNum::1", "volumeMaxIncrementalSnapshotNum::x"):
        run.error(2, "tag", "add", "db", tag)
    run.error(3, "tag", "add", "web", "t")


def test_a_name_that_is_a_volume_s_and_a_snapshot_s_is_ambiguous_for_tags(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("same", 2**20)
    engine.create_snapshot(volume.uuid, "same")

    assert "ambiguous" in run.error(2, "tag", "list", "same")
    assert run.json("tag", "list", volume.uuid) == {"inventories": []}
