"""snapengine snapshot."""

import json
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests import qemu
from tests.command_line import CommandLine
from tests.oracle import Oracle, poke

SNAPSHOT_KEYS = {
    "uuid", "name", "type", "volumeUuid", "treeUuid", "primaryStorageUuid", "primaryStorageInstallPath", "volumeType",
    "format", "latest", "size", "state", "status", "createDate", "lastOpDate", "backupStorageRefs", "distance",
}  # fmt: skip
UUID = "0123456789ab4cde8abcdef012345678"


@pytest.fixture
def run(engine: Engine) -> CommandLine:
    return CommandLine(engine.root)


@pytest.fixture
def db(engine: Engine) -> str:
    """Return the uuid of a volume called db."""
    return engine.create_volume("db", 2**20).uuid


def files(engine: Engine) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in engine.root.rglob("*") if path.is_file()}


def test_create_freezes_the_volume(run: CommandLine, engine: Engine, db: str) -> None:
    first = run.json("snapshot", "create", "db", "first")
    words = ("--description", "d", "--uuid", UUID, "--tag", "a", "--tag", "b", "--user-tag", "c")
    second = run.json("snapshot", "create", db, "second", *words)

    assert set(first) == SNAPSHOT_KEYS and list(first) == sorted(first)
    assert set(second) == SNAPSHOT_KEYS | {"description", "parentUuid"}
    assert (second["uuid"], second["parentUuid"], second["distance"]) == (UUID, first["uuid"], 2)
    assert [(tag.tag, tag.type) for tag in engine.list_tags(UUID)] == [("a", "System"), ("b", "System"), ("c", "User")]


def test_create_refuses_bad_arguments_and_unknown_volumes(run: CommandLine, db: str) -> None:
    run.error(2, "snapshot", "create", "db", "")
    run.error(2, "snapshot", "create", "db", "n" * 256)
    run.error(2, "snapshot", "create", "db", "s", "--uuid", f"../{UUID[3:]}")
    run.error(3, "snapshot", "create", "web", "s")


def test_list_shows_all_snapshots_or_those_of_a_volume(run: CommandLine, engine: Engine, db: str) -> None:
    web = engine.create_volume("web", 2**20).uuid
    for volume, name in ((db, "one"), (web, "two"), (db, "three")):
        engine.create_snapshot(volume, name)

    def names(*words: str) -> set[str]:
        return {snapshot["name"] for snapshot in run.json("snapshot", "list", *words)["inventories"]}

    assert names() == {"one", "two", "three"}
    assert names("db") == {"one", "three"}
    head, *lines = run.text("snapshot", "list", "web").splitlines()
    assert head.split() == ["NAME", "UUID", "VOLUME", "SIZE", "LATEST", "CREATED"]
    assert lines[0].split()[0] == "two" and " web " in lines[0] and " yes " in lines[0]
    run.error(3, "snapshot", "list", "nothing")


def test_show_update_and_path(run: CommandLine, engine: Engine, db: str) -> None:
    made = engine.create_snapshot(db, "s")

    assert run.json("snapshot", "show", "s") == run.json("snapshot", "show", made.uuid)
    assert run.json("snapshot", "update", "s", "--name", "t", "--description", "d")["description"] == "d"
    assert "description       d" in run.text("snapshot", "show", "t")
    assert run.text("snapshot", "path", "t") == made.primary_storage_install_path + "\n"
    assert run.json("snapshot", "path", "t") == {"primaryStorageInstallPath": made.primary_storage_install_path}
    assert "give --name" in run.error(2, "snapshot", "update", "t")


def test_an_empty_description_takes_it_away(run: CommandLine, engine: Engine, db: str) -> None:
    engine.create_snapshot(db, "s", description="d")

    assert "description" not in run.json("snapshot", "update", "s", "--description", "")


def test_tree_in_json_is_the_contract_s(run: CommandLine, engine: Engine, db: str) -> None:
    first, second = (engine.create_snapshot(db, name) for name in ("one", "two"))
    engine.revert(first.uuid)
    third = engine.create_snapshot(db, "three")

    (tree,) = run.json("snapshot", "tree", "db")["inventories"]

    assert set(tree) == {"uuid", "volumeUuid", "current", "status", "tree", "createDate", "lastOpDate"}
    assert list(tree) == sorted(tree)
    origin = tree["tree"]
    assert list(origin) == ["children", "inventory"] and origin["inventory"]["uuid"] == first.uuid
    assert {child["parentUuid"] for child in origin["children"]} == {first.uuid}
    assert {child["inventory"]["uuid"] for child in origin["children"]} == {second.uuid, third.uuid}
    assert [child["children"] for child in origin["children"]] == [[], []]
    assert origin["inventory"] == run.json("snapshot", "show", first.uuid)


def test_tree_in_a_pipe_is_drawn_in_plain_characters(run: CommandLine, engine: Engine, db: str) -> None:
    names = [engine.create_snapshot(db, name).uuid for name in ("base", "[bold]two", "three\u200blines")]
    engine.revert(names[0])
    engine.create_snapshot(db, "four")

    head, *lines = run.text("snapshot", "tree", "db").splitlines()

    assert head.startswith("tree ") and head.endswith(", current")
    shown = [line[: line.index("  ", 8)] if "  " in line[8:] else line for line in lines]
    assert shown == [
        "`-- base",
        "    |-- [bold]two",
        "    |   three\\u200blines",
        "    `-- four",
        "        * volume db stands here",
    ]
    assert [names[0][:8] in lines[0], " KiB  " in lines[0], "latest" in lines[0]] == [True, True, False]
    assert lines[3].endswith("  latest")
    assert all(line.isascii() for line in lines)


def test_tree_marks_where_the_volume_stands_after_a_revert(run: CommandLine, engine: Engine, db: str) -> None:
    one, _ = (engine.create_snapshot(db, name).uuid for name in ("one", "two"))
    engine.revert(one)

    lines = run.text("snapshot", "tree", "db").splitlines()

    assert [line.split()[1] for line in lines[1:3]] == ["one", "two"]
    assert lines[1].endswith("latest") and not lines[2].endswith("latest")
    assert lines[3] == "    `-- * volume db stands here"


def test_tree_shows_each_tree_and_which_one_is_current(run: CommandLine, engine: Engine, db: str) -> None:
    engine.set_depth_limit(2)
    for name in ("one", "two", "full"):
        engine.create_snapshot(db, name)

    heads = [line for line in run.text("snapshot", "tree", "db").splitlines() if line.startswith("tree ")]

    assert [head.partition(", ")[2] for head in heads] == ["not current", "current"]


def test_tree_of_a_volume_without_snapshots_says_so(run: CommandLine, db: str) -> None:
    assert run.text("snapshot", "tree", "db") == "* volume db stands on no snapshot\n"
    assert run.json("snapshot", "tree", "db") == {"inventories": []}


def test_revert_takes_the_volume_back(run: CommandLine, oracle: Oracle) -> None:
    volume = oracle.volume("db")
    oracle.write(volume)
    snapshot = oracle.create(volume, "s")
    oracle.write(volume, length=2 * 65536)

    assert run.json("snapshot", "revert", "db/s", "--yes") == {}
    oracle.expected[volume] = oracle.expected[snapshot.uuid]
    assert run.text("snapshot", "revert", "s", "-y") == ""
    (item,) = run.json("trash", "list")["inventories"]
    oracle.expected[item["uuid"]] = bytes([2]) * 2 * 65536 + bytes(2**20 - 2 * 65536)
    oracle.check()


def test_revert_without_a_terminal_needs_yes(run: CommandLine, engine: Engine, db: str) -> None:
    engine.create_snapshot(db, "s")
    poke(engine.volume_path(db), 7)
    before = files(engine)

    line = run.error(2, "snapshot", "revert", "s")

    assert "--yes" in line and "volume 'db'" in line and "goes to the trash" in line
    assert files(engine) == before


def test_revert_refuses_before_it_asks(run: CommandLine, engine: Engine, db: str) -> None:
    engine.create_snapshot(db, "s")

    with qemu.locked(engine.volume_path(db)):
        assert "is in use" in run.error(5, "snapshot", "revert", "s")
        assert "is in use" in run.error(5, "snapshot", "revert", "s", "--dry-run")
    assert "not found" in run.error(3, "snapshot", "revert", "nothing")


def test_revert_refuses_a_snapshot_that_is_being_deleted(run: CommandLine, engine: Engine, db: str) -> None:
    record = Path(engine.create_snapshot(db, "s").primary_storage_install_path).with_suffix(".json")
    record.write_text(record.read_text().replace('"Ready"', '"Deleting"'))

    assert "Deleting" in run.error(4, "snapshot", "revert", "s")


def test_a_dry_run_of_revert_tells_the_plan_and_changes_nothing(run: CommandLine, engine: Engine, db: str) -> None:
    path = engine.create_snapshot(db, "s").primary_storage_install_path
    active = str(engine.volume_path(db))
    step = {"verb": "revert", "image": active, "onto": path, "bytes": 0}

    before = files(engine)
    assert run.json("snapshot", "revert", "s", "--dry-run") == {"plan": [step], "bytes": 0, "frees": 0}
    assert files(engine) == before

    poke(engine.volume_path(db), 7)
    before = files(engine)
    planned = run.json("snapshot", "revert", "s", "--dry-run", "--yes")["plan"]
    assert planned == [{"verb": "trash", "image": active, "bytes": 0}, step]
    shown = run.text("snapshot", "revert", "s", "--dry-run").splitlines()
    name, base = Path(active).name, Path(path).name
    told = [f"trash {name} (db)", f"revert {name} (db) onto {base} (s)"]
    assert shown == [*told, "moves 0 B, frees up to 0 B; nothing was done"]
    assert files(engine) == before


def test_a_long_line_of_snapshots_is_shown_without_recursion(run: CommandLine, engine: Engine, db: str) -> None:
    count = 3000
    long_line(engine, db, count)

    lines = run.text("snapshot", "tree", "db").splitlines()
    assert len(lines) == count + 2
    assert lines[-2].startswith(f"    s{count - 1} ") and lines[-1] == "    * volume db stands here"

    document = run.text("snapshot", "tree", "db", "--output", "json")
    assert document.count('{"children":[') == count
    assert document.count("[") - document.count("]") == 0 == document.count("{") - document.count("}")
    assert len(run.json("snapshot", "list")["inventories"]) == count


def long_line(engine: Engine, volume: str, count: int) -> None:
    """Write the records of count snapshots, each on the one before; there are no images."""
    first = engine.create_snapshot(volume, "s0")
    directory = Path(first.primary_storage_install_path).parent
    record = json.loads((directory / f"{first.uuid}.json").read_text())
    for number in range(1, count):
        uuid = f"{number:032x}"
        own = {**record, "uuid": uuid, "name": f"s{number}", "parentUuid": f"{number - 1:032x}", "distance": number + 1}
        if number == 1:
            own["parentUuid"] = first.uuid
        (directory / f"{uuid}.json").write_text(json.dumps(own))
    own = json.loads((directory / f"{volume}.json").read_text())
    own["trees"][0]["latest"] = uuid
    (directory / f"{volume}.json").write_text(json.dumps(own))
