"""What the command line says of small mistakes, and how: nothing is accepted silently that means nothing."""

import os
import signal
from pathlib import Path

import pytest

from snapengine import errors, lock
from snapengine.cli import text
from snapengine.engine import Engine
from tests import privileged
from tests.command_line import START, CommandLine, process, terminal
from tests.oracle import MIB, Oracle

LIMIT = "volumeMaxIncrementalSnapshotNum::"


@pytest.fixture
def run(oracle: Oracle) -> CommandLine:
    return CommandLine(oracle.engine.root)


def test_a_depth_limit_takes_the_place_of_another_one(oracle: Oracle, run: CommandLine) -> None:
    volume = oracle.volume("db")
    oracle.create(volume, "a")
    for number in (5, 7):
        run.text("tag", "add", "db", f"{LIMIT}{number}")
    assert [tag["tag"] for tag in run.json("tag", "list", "db")["inventories"]] == [f"{LIMIT}7"]
    assert "give it to the volume" in run.error(2, "tag", "add", "db/a", f"{LIMIT}5")
    words = ("--tag", f"{LIMIT}5", "--tag", f"{LIMIT}7")
    assert "two depth limits" in run.error(2, "volume", "create", "x", "--size", "1M", *words)


def test_an_empty_description_is_none(oracle: Oracle, run: CommandLine) -> None:
    oracle.create(oracle.volume("db"), "a")
    for noun, name in (("volume", "db"), ("snapshot", "a")):
        assert run.json(noun, "update", name, "--description", "x")["description"] == "x"
        assert "description" not in run.json(noun, "update", name, "--description", "")
    assert "description" not in run.json("snapshot", "create", "db", "b", "--description", "")


@pytest.mark.parametrize("name", ["two\nlines", "a\ttab"])
def test_names_stand_on_one_line(run: CommandLine, name: str) -> None:
    assert "on one line" in run.error(2, "volume", "create", name, "--size", "1M")


def test_an_ambiguous_snapshot_is_told_with_its_volumes(oracle: Oracle, run: CommandLine) -> None:
    for name in ("db", "web"):
        oracle.create(oracle.volume(name), "snap")
    told = run.error(2, "snapshot", "show", "snap")
    assert "(db/snap)" in told and "(web/snap)" in told and told.endswith("give a uuid")


def test_the_start_of_a_volume_s_uuid_narrows_a_name(oracle: Oracle, run: CommandLine) -> None:
    volume = oracle.volume("db")
    snapshot = oracle.create(volume, "a/b")
    assert run.json("snapshot", "show", f"{volume[:4]}/a/b")["uuid"] == snapshot.uuid
    run.error(3, "snapshot", "show", f"{volume[:3]}/a/b")


def test_hints_name_all_that_helps(run: CommandLine, oracle: Oracle) -> None:
    told = run.error(3, "tag", "add", "nosuch", "x")
    assert "snapengine volume list" in told and "snapengine snapshot list" in told
    assert "4 characters or more" in run.error(3, "volume", "show", oracle.volume()[:2])
    assert run.error(2, "completion") == (
        "Missing argument 'SHELL'. Choose from: bash, zsh, fish. See 'snapengine completion --help'."
    )


def test_a_full_disk_below_the_standard_output_is_called_so(run: CommandLine, oracle: Oracle) -> None:
    oracle.volume()
    start = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 1); " + START
    ended = process("volume", "list", start=start, SNAPENGINE_ROOT=str(run.root))
    assert ended.code == 8 and "the standard output" in ended.stderr


def test_a_store_is_not_made_inside_another_one(engine: Engine) -> None:
    with pytest.raises(errors.Conflict, match=f"lies in the primary storage {engine.root}"):
        Engine.init(engine.root / "dataVolumes" / "new")
    assert os.listdir(engine.root / "dataVolumes") == []


def test_init_tells_every_setting(tmp_path: Path) -> None:
    made = CommandLine(tmp_path / "storage").json("init")
    assert made["maxIncrementalSnapshotNum"] == 64 and made["reflinks"] in (True, False)


def test_a_purge_says_what_it_keeps_of_what_was_named(oracle: Oracle, run: CommandLine) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "a").uuid
    oracle.write(volume)
    item = oracle.revert(snapshot)
    assert item is not None
    ended = run("trash", "purge", item, "--older-than", "7d", "--yes")
    assert ended.code == 0 and f"leaves them out: {item}" in ended.stderr
    oracle.check()


def test_whoever_interrupts_a_question_is_told_that_nothing_was_begun(oracle: Oracle) -> None:
    volume = oracle.volume("db")
    snapshot = oracle.create(volume, "a").uuid
    oracle.write(volume)
    code, shown = terminal(oracle.engine.root, "snapshot", "revert", snapshot, keys="\x03")
    assert code == 128 + signal.SIGINT
    assert shown.endswith("\nerror: interrupted; nothing was changed\n")
    oracle.check()


def test_wide_characters_keep_columns_aligned() -> None:
    shown = text.columns([("NAME", "X"), ("数据库", "1"), ("e\u0301", "2"), ("plain", "3")])
    assert shown == "NAME    X\n数据库  1\ne\u0301       2\nplain   3"


def test_a_size_in_words_is_invalid_for_the_library(engine: Engine) -> None:
    with pytest.raises(errors.Invalid, match="10G"):
        engine.create_volume("db", "10G")  # type: ignore[arg-type]
    assert engine.create_volume("db", MIB).size == MIB


def test_people_see_the_name_of_a_volume_s_vm(oracle: Oracle, run: CommandLine) -> None:
    oracle.volume("db")
    assert "web-1" in run.text("volume", "attach", "db", "web-1")
    assert "web-1" in run.text("volume", "show", "db") and "web-1" in run.text("volume", "list")
    assert "vmName" not in run.json("volume", "show", "db")


def test_whoever_waits_on_a_terminal_is_told_for_whom(oracle: Oracle) -> None:
    volume = oracle.volume("db")
    directory = oracle.engine.volume_path(volume).parents[1]
    words = ("volume", "update", "db", "--name", "x", "--wait", "2")
    with lock.exclusive(directory, "revert"):
        code, shown = terminal(oracle.engine.root, *words, columns=200)
        assert code == 5 and f"waiting for up to 2 s: volume {volume} (db) is locked by revert (pid " in shown
        assert "waiting" not in terminal(oracle.engine.root, *words, "--quiet", columns=200)[1]
        assert "waiting" not in process(*words, SNAPENGINE_ROOT=str(oracle.engine.root)).stderr


@privileged.needs_root
@pytest.mark.root
def test_an_image_that_may_not_be_read_is_a_matter_of_permission() -> None:
    with privileged.open_directory() as place:
        image = place / "image"
        image.write_bytes(bytes(MIB))
        image.chmod(0)
        root = Engine.init(place / "storage").root
        start = f"import os; os.setuid({privileged.NOBODY}); " + START
        ended = process("volume", "import", str(image), start=start, SNAPENGINE_ROOT=str(root))
    assert ended.code == 8 and f"permission denied: {image}" in ended.stderr
