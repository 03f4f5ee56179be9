"""snapengine snapshot delete and undo: what they say and ask, how they end, and what a dry run promises."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from snapengine import lock
from snapengine.engine import Engine
from tests import check, images, prepared, qemu
from tests.command_line import CommandLine, terminal
from tests.oracle import CLUSTER, Oracle


class Db(NamedTuple):
    """Volume db: monday and, on it, tuesday and later; the volume stands on later, something of its own in each."""

    volume: str
    monday: str
    tuesday: str
    later: str


class Web(NamedTuple):
    """Volume web stands on monday; both have something of their own."""

    volume: str
    monday: str


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Oracle, Db, Web]:
    oracle = Oracle(Engine.init(tmp_path_factory.mktemp("cli") / "storage"))
    oracle.engine.set_reflinks("off")
    volume = oracle.volume("db")
    oracle.write(volume, 0, 2 * CLUSTER)
    monday = oracle.create(volume, "monday").uuid
    oracle.write(volume, 2 * CLUSTER)
    tuesday = oracle.create(volume, "tuesday").uuid
    oracle.revert(monday)
    oracle.write(volume, CLUSTER)
    later = oracle.create(volume, "later").uuid
    oracle.write(volume, 3 * CLUSTER)
    web = oracle.volume("web")
    oracle.write(web)
    of_web = oracle.create(web, "monday").uuid
    oracle.write(web, CLUSTER)
    return oracle, Db(volume, monday, tuesday, later), Web(web, of_web)


@pytest.fixture
def oracle(template: tuple[Oracle, Db, Web], tmp_path: Path) -> Oracle:
    return prepared.copied(template[0], tmp_path / "storage")


@pytest.fixture
def db(template: tuple[Oracle, Db, Web]) -> Db:
    return template[1]


@pytest.fixture
def web(template: tuple[Oracle, Db, Web]) -> Web:
    return template[2]


@pytest.fixture
def run(oracle: Oracle) -> CommandLine:
    return CommandLine(oracle.engine.root)


def files(oracle: Oracle) -> dict[str, bytes]:
    found = (path for path in oracle.engine.root.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in found}


@contextmanager
def unchanged(oracle: Oracle) -> Iterator[None]:
    before = files(oracle)
    yield
    assert files(oracle) == before


def checked(oracle: Oracle, *gone: str) -> None:
    for uuid in gone:
        del oracle.expected[uuid]
    check.full(oracle.engine, oracle.expected, deep=False)


def test_delete_answers_one_result_for_each(run: CommandLine, oracle: Oracle, db: Db) -> None:
    told = run.json("snapshot", "delete", "db/tuesday", db.later, "--yes")
    assert told == {"results": [{"snapshotUuid": uuid, "success": True} for uuid in (db.tuesday, db.later)]}
    checked(oracle, db.tuesday, db.later)


def test_delete_of_one_that_went_says_nothing_to_a_person(run: CommandLine, oracle: Oracle, db: Db) -> None:
    ended = run("snapshot", "delete", "tuesday", "--yes")
    assert (ended.code, ended.stdout, ended.stderr) == (0, "", "")
    checked(oracle, db.tuesday)


def test_a_name_that_two_volumes_know_must_tell_its_volume(
    run: CommandLine, oracle: Oracle, db: Db, web: Web
) -> None:
    with unchanged(oracle):
        assert run("snapshot", "delete", "monday", "--yes").code == 2
    run.text("snapshot", "delete", "web/monday", "--yes")
    checked(oracle, web.monday)


def test_several_of_several_volumes_go_together(run: CommandLine, oracle: Oracle, db: Db, web: Web) -> None:
    told = run.json("snapshot", "delete", "db/monday", "web/monday", "db/later", "--yes")
    assert [result["snapshotUuid"] for result in told["results"]] == [db.monday, web.monday, db.later]
    assert all(result["success"] for result in told["results"])
    checked(oracle, db.monday, web.monday, db.later)


def test_the_same_one_twice_is_one(run: CommandLine, oracle: Oracle, db: Db) -> None:
    told = run.json("snapshot", "delete", "tuesday", db.tuesday, db.tuesday[:8], "--yes")
    assert told == {"results": [{"snapshotUuid": db.tuesday, "success": True}]}
    checked(oracle, db.tuesday)


def test_with_descendants_all_that_was_made_after_it_goes(run: CommandLine, oracle: Oracle, db: Db) -> None:
    told = run.json("snapshot", "delete", "db/monday", "--with-descendants", "--yes")
    assert told == {"results": [{"snapshotUuid": db.monday, "success": True}]}
    checked(oracle, db.monday, db.tuesday, db.later)


@pytest.mark.parametrize("direction", ["auto", "pull", "commit"])
def test_a_dry_run_tells_the_plan_and_changes_nothing(
    run: CommandLine, oracle: Oracle, db: Db, direction: str
) -> None:
    engine = oracle.engine
    with unchanged(oracle):
        told = run.json("snapshot", "delete", "later", "--dry-run", "--direction", direction)
    active, later, monday = (str(p) for p in (engine.volume_path(db.volume), *map(engine.snapshot_path, db[3:0:-2])))
    way = "commit" if direction == "commit" else "pull"
    joined = {"verb": way, "image": active, "onto": monday, "bytes": CLUSTER}
    assert told["plan"] == [joined, {"verb": "delete", "image": later, "bytes": 0}]
    assert told["bytes"] == CLUSTER
    assert 0 < told["frees"] <= os.stat(later).st_blocks * 512


@pytest.mark.parametrize("direction", ["pull", "commit"])
def test_a_dry_run_moves_and_frees_what_the_delete_then_does(tmp_path: Path, direction: str) -> None:
    oracle = Oracle(Engine.init(tmp_path / "fresh"))
    run = CommandLine(oracle.engine.root)
    volume = oracle.volume("db")
    for number in range(3):
        oracle.write(volume, number * CLUSTER, 2 * CLUSTER)
        oracle.create(volume, f"s{number}")
    oracle.write(volume, 3 * CLUSTER, 2 * CLUSTER)
    words = ("snapshot", "delete", "s0", "s1", "s2", "--direction", direction)
    told = run.json(*words, "--dry-run")
    before = allocated(oracle)
    run.text(*words, "--yes")
    assert told["bytes"] == (3 if direction == "pull" else 4) * CLUSTER
    assert told["frees"] - CLUSTER <= before - allocated(oracle) <= told["frees"]


def allocated(oracle: Oracle) -> int:
    return sum(path.stat().st_blocks * 512 for path in oracle.engine.root.rglob("*.qcow2"))


def test_a_leaf_frees_all_that_it_takes_and_moves_nothing(run: CommandLine, oracle: Oracle, db: Db) -> None:
    images.settle(oracle.engine.snapshot_path(db.tuesday))
    size = os.stat(oracle.engine.snapshot_path(db.tuesday)).st_blocks * 512
    told = run.json("snapshot", "delete", "tuesday", "--dry-run")
    assert (told["bytes"], told["frees"], len(told["plan"])) == (0, size, 1)
    lines = run.text("snapshot", "delete", "tuesday", "--dry-run").splitlines()
    assert lines[0] == f"delete {db.tuesday}.qcow2 (tuesday)"
    assert lines[1].startswith("moves 0 B, frees ") and lines[1].endswith("; nothing was done")


def test_without_a_terminal_it_needs_yes_and_says_what_would_go(run: CommandLine, oracle: Oracle) -> None:
    with unchanged(oracle):
        line = run.error(2, "snapshot", "delete", "tuesday", "later")
    assert line.startswith("2 snapshots will be gone for good, 64 KiB move, up to ") and "--yes" in line
    with unchanged(oracle):
        line = run.error(2, "snapshot", "delete", "later", "--direction", "commit")
    assert line.startswith("1 snapshot will") and "can't be stopped once it has begun" in line


def test_the_question_counts_trash_items_that_go_too(run: CommandLine, oracle: Oracle, db: Db) -> None:
    oracle.revert(db.tuesday)
    with unchanged(oracle):
        line = run.error(2, "snapshot", "delete", "later", "--with-descendants")
    assert line.startswith("1 snapshot and 1 trash item will be gone for good, 0 B move")


@pytest.mark.parametrize(("keys", "code"), [("n\n", 2), ("\n", 2), ("y\n", 0)], ids=["no", "nothing", "yes"])
def test_on_a_terminal_it_asks(oracle: Oracle, db: Db, keys: str, code: int) -> None:
    ended, shown = terminal(oracle.engine.root, "snapshot", "delete", "tuesday", keys=keys)
    assert ended == code
    assert "1 snapshot will be gone for good" in shown and "Go ahead? [y/N]" in shown
    checked(oracle, *([db.tuesday] if code == 0 else []))


REFUSED: dict[str, tuple[int, list[str], str]] = {
    "an unknown one, beside a known": (3, ["tuesday", "nothing"], "'nothing' was not found"),
    "an unknown uuid, beside a known": (3, ["tuesday", "9" * 32], "was not found"),
    "an unknown volume": (3, ["files/monday"], "was not found"),
    "none": (2, [], "SNAPSHOT"),
    "an unknown direction": (2, ["tuesday", "--direction", "up"], "'up'"),
    "a commit of one with several children": (4, ["db/monday", "--direction", "commit"], "several images stand on"),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("more", ["--yes", "--dry-run"])
def test_what_can_not_be_is_refused_before_anything_is_done(
    run: CommandLine, oracle: Oracle, row: tuple[int, list[str], str], more: str
) -> None:
    code, words, why = row
    with unchanged(oracle):
        assert why in run.error(code, "snapshot", "delete", *words, more)


def test_it_is_refused_while_a_vm_has_the_volume_before_it_asks(run: CommandLine, oracle: Oracle, db: Db) -> None:
    with unchanged(oracle), qemu.locked(oracle.engine.volume_path(db.volume)):
        for more in ([], ["--dry-run"], ["--yes"]):
            assert "is in use" in run.error(5, "snapshot", "delete", "later", *more)
            assert "is in use" in run.error(5, "snapshot", "undo", "db", *more)


def test_of_several_volumes_one_in_use_fails_in_its_result_and_the_others_go(
    run: CommandLine, oracle: Oracle, db: Db, web: Web
) -> None:
    with qemu.locked(oracle.engine.volume_path(web.volume)):
        assert "is in use" in run.error(5, "snapshot", "delete", "tuesday", "web/monday", "--dry-run")
        results = {r.snapshot_uuid: r.success for r in oracle.engine.delete_snapshots((db.tuesday, web.monday))}
    assert results == {db.tuesday: True, web.monday: False}
    checked(oracle, db.tuesday)


def test_a_volume_that_another_process_works_on_is_waited_for_and_then_told(
    run: CommandLine, oracle: Oracle, db: Db
) -> None:
    directory = oracle.engine.volume_path(db.volume).parent.parent
    with unchanged(oracle), lock.exclusive(directory, "import a volume"):
        for verb in (["delete", "tuesday"], ["undo", "db"]):
            line = run.error(5, "snapshot", *verb, "--yes", "--wait", "0")
            assert f"pid {os.getpid()}" in line and "import a volume" in line


def test_what_linked_clones_stand_on_is_protected_and_the_others_go(
    run: CommandLine, oracle: Oracle, db: Db
) -> None:
    oracle.clone(db.tuesday, "clone", linked=True)
    with unchanged(oracle):
        assert "base of linked clones: clone" in run.error(4, "snapshot", "delete", "tuesday", "--yes")
        assert "base of linked clones" in run.error(4, "snapshot", "delete", "db/monday", "--with-descendants", "--yes")

    ended = run("snapshot", "delete", "tuesday", "later", "--yes", "--output", "json")

    assert ended.code == 4
    first, second = json.loads(ended.stdout)["results"]
    assert (first["snapshotUuid"], first["success"], second) == (
        db.tuesday, False, {"snapshotUuid": db.later, "success": True},
    )  # fmt: skip
    assert set(first["error"]) == {"code", "description", "details"} and "clone" in first["error"]["details"]
    checked(oracle, db.later)


def test_undo_answers_the_volume_and_asks_as_delete_does(run: CommandLine, oracle: Oracle, db: Db) -> None:
    with unchanged(oracle):
        assert run.error(2, "snapshot", "undo", "db").startswith("1 snapshot will be gone for good, 64 KiB move")
        told = run.json("snapshot", "undo", "db", "--dry-run")
    assert [step["verb"] for step in told["plan"]] == ["pull", "delete"]
    answer: dict[str, Any] = run.json("snapshot", "undo", "db", "--yes")
    assert answer == run.json("volume", "show", "db")
    checked(oracle, db.later)


def test_undo_is_refused_where_there_is_nothing_to_undo(run: CommandLine, oracle: Oracle, db: Db, web: Web) -> None:
    oracle.engine.create_volume("empty", 2**20)
    oracle.revert(db.monday)
    with unchanged(oracle):
        for more in ("--yes", "--dry-run"):
            assert "stands on no snapshot" in run.error(4, "snapshot", "undo", "empty", more)
            assert "stand on it; 'snapengine snapshot delete " in run.error(4, "snapshot", "undo", "db", more)
            run.error(3, "snapshot", "undo", "nothing", more)
