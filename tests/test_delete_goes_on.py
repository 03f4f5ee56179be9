"""Deletes that were cut off, or that a missing image or damaged record stands in the way of: what goes on, and how."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapengine import durable, errors, resume
from snapengine.engine import Engine
from tests import check, prepared, privileged, qemu
from tests.command_line import CommandLine
from tests.oracle import Oracle
from tests.prepared import Stores
from tests.test_delete_promises import Line, line


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores[Line]:
    plain = tmp_path_factory.mktemp("plain")
    return Stores({"pull": plain, "commit": plain, "clone": plain}, line)


@pytest.fixture
def made(stores: Stores[Line]) -> Iterator[tuple[Oracle, Line]]:
    oracle, found = stores.copy("pull")
    yield oracle, found
    check.full(oracle.engine, oracle.expected, deep=False)


@privileged.needs_root
@pytest.mark.parametrize("named", ["uuid", "name", "start"])
def test_a_delete_that_ran_out_of_room_goes_on_when_it_is_repeated(
    tmp_path: Path, stores: Stores[Line], monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    original, found = stores.copy("commit")
    words = {"uuid": found.third, "name": "db/third", "start": found.third[:8]}[named]
    with privileged.small_disk(tmp_path / "disk", 12 * 1024) as disk:
        oracle = prepared.copied(original, disk / "storage")
        run = CommandLine(oracle.engine.root)
        with privileged.filled(disk, 64 * 1024):
            with monkeypatch.context() as patch:
                patch.setattr(durable, "require_room", lambda *_: None)
                assert run("snapshot", "delete", found.third, "--direction", "commit", "--yes").code == 7
            again = run("snapshot", "delete", words, "--yes")
            assert again.code == 7 and "no room" in again.stderr
        done = run.json("snapshot", "delete", words, "--yes")
        assert done == {"results": [{"snapshotUuid": found.third, "success": True}]}
        assert run("snapshot", "delete", words, "--yes").code == 3
        del oracle.expected[found.third]
        check.full(oracle.engine, oracle.expected, deep=False)


def cut_off(oracle: Oracle, snapshot: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a pull of a snapshot end right after its commit point, as a kill does."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resume, "publish", killed)
        oracle.engine.delete_snapshots((snapshot,), direction="pull")
    del oracle.expected[snapshot]


def test_verify_says_that_the_operation_is_unfinished_instead_of_asking_for_a_backup(
    made: tuple[Oracle, Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle, found = made
    cut_off(oracle, found.third, monkeypatch)
    problems = {p.kind: p for p in Engine.open(oracle.engine.root, recover=False).verify()}
    assert set(problems) == {"unfinished", "wrong-backing"}
    assert "delete snapshots is unfinished there" in problems["wrong-backing"].repair
    assert "backup" not in problems["wrong-backing"].repair
    assert [r.outcome for r in Engine.open(oracle.engine.root).recovered] == ["finished"]


def test_a_lost_image_that_others_stand_on_is_refused_with_what_to_do_and_that_works(
    made: tuple[Oracle, Line]
) -> None:
    oracle, found = made
    oracle.engine.snapshot_path(found.second).unlink()
    for uuid in (found.second, found.third):
        with pytest.raises(errors.Corrupt, match="restore it from a backup; if it is lost, .* '--with-descendants'"):
            oracle.engine.delete_snapshots((uuid,))
    oracle.revert(found.first)
    oracle.delete(found.second, descendants=True)


def test_one_damaged_record_hides_no_other_snapshot_of_its_volume(stores: Stores[Line]) -> None:
    oracle, found = stores.copy("pull")
    oracle.engine.snapshot_path(found.second).with_suffix(".json").write_text("{")
    run = CommandLine(oracle.engine.root)
    for uuid in (found.first, found.third, found.leaf):
        assert run.json("snapshot", "show", uuid)["uuid"] == uuid
        assert uuid in run.text("snapshot", "path", uuid)
    for words in ([], ["--output", "json"]):
        ended = run("snapshot", "tree", "db", *words)
        assert ended.code == 6 and ended.stderr.count("warning: left out: ") == 1 and found.second in ended.stderr
        assert all(uuid[:8] in ended.stdout for uuid in (found.first, found.third, found.leaf))
    trees = json.loads(ended.stdout)["inventories"]
    assert [tree["tree"]["inventory"]["name"] for tree in trees] == ["first", "leaf", "third"]
    assert [tree["tree"].get("parentUuid") for tree in trees] == [None, found.second, found.second]
    assert len({tree["uuid"] for tree in trees}) == 1
    for words in (["show"], ["path"]):
        assert found.second in run.error(6, "snapshot", *words, found.second)


def test_a_commit_into_an_image_that_somebody_reads_is_refused_before_anything_is_done(
    made: tuple[Oracle, Line]
) -> None:
    oracle, found = made
    path = oracle.engine.snapshot_path(found.third)
    before = path.read_bytes()
    with qemu.locked(path), pytest.raises(errors.InUse, match=rf"volume {found.volume} \(db\) is in use: {path}"):
        oracle.engine.delete_snapshots((found.third,), direction="commit")
    assert path.read_bytes() == before


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_an_undo_that_is_repeated_after_it_was_cut_off_takes_back_nothing_more(
    made: tuple[Oracle, Line], monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    oracle, found = made
    run = CommandLine(oracle.engine.root)
    latest = oracle.create(found.volume, "latest").uuid
    before = {s.uuid for s in oracle.engine.list_snapshots(found.volume)} - {latest}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resume, "publish", killed)
        oracle.engine.undo_snapshot(found.volume)
    del oracle.expected[latest]

    done = run("--output", wanted, "snapshot", "undo", "db", "--yes")

    assert done.code == 0 and "recovered: undo snapshot" in done.stderr
    assert {s.uuid for s in oracle.engine.list_snapshots(found.volume)} == before
