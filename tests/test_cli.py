"""What holds for every command: global options, names, errors, exit codes."""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from snapengine import cli, command, errors
from snapengine.engine import Engine
from tests.command_line import CommandLine
from tests.oracle import poke


@pytest.fixture
def run(engine: Engine) -> CommandLine:
    return CommandLine(engine.root)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold a volume's lock, as another operation does."""
    with open(directory / ".lock", "w") as f:
        f.write("merge (pid 4711)")
        f.flush()
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a normal user for the block."""
    if os.getuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "words",
    [
        ("--root", "{root}", "volume", "list"),
        ("volume", "--root", "{root}", "list"),
        ("volume", "list", "--root", "{root}"),
        ("--root", "/nowhere", "volume", "list", "--root", "{root}"),
    ],
    ids=["before the noun", "after the noun", "after the verb", "the last one wins"],
)
def test_the_root_may_be_said_anywhere(engine: Engine, words: tuple[str, ...]) -> None:
    engine.create_volume("db", 2**20)
    run = CommandLine(Path("/from/the/environment"))

    assert "db" in run.text(*(word.format(root=engine.root) for word in words))


@pytest.mark.parametrize("words", [("--output", "json", "volume", "list"), ("volume", "list", "--output=json")])
def test_the_output_may_be_said_before_the_noun_and_after_the_verb(run: CommandLine, words: tuple[str, ...]) -> None:
    assert json.loads(run.text(*words)) == {"inventories": []}


def test_the_environment_says_what_the_line_does_not(run: CommandLine) -> None:
    ended = run("volume", "list", env={"SNAPENGINE_OUTPUT": "json"})
    assert json.loads(ended.stdout) == {"inventories": []}

    ended = run("volume", "list", "--output", "text", env={"SNAPENGINE_OUTPUT": "json"})
    assert ended.stdout.startswith("NAME")

    assert run("volume", "list", env={"SNAPENGINE_OUTPUT": "yaml"}).code == 2


def test_without_a_root_it_is_the_system_s_own(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr("snapengine.cli.settings.Settings.root", str(engine.root))

    assert CommandLine(None).text("volume", "list").startswith("NAME")


def test_an_empty_root_is_not_the_working_directory(run: CommandLine) -> None:
    assert "it is empty" in run.error(2, "--root", "", "init")


def test_a_root_that_records_could_not_hold_is_refused(run: CommandLine) -> None:
    assert "UTF-8" in run.error(2, "--root", "/tmp/\udcff", "init")


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "too long"])
def test_a_root_without_a_primary_storage_is_told_apart(tmp_path: Path, kind: str) -> None:
    root = tmp_path / ("x" * 5000 if kind == "too long" else kind)
    if kind == "empty":
        root.mkdir()
    if kind == "file":
        root.write_text("something else")

    if kind == "too long":
        assert "too long" in CommandLine(root).error(2, "volume", "list")
        return
    line = CommandLine(root).error(3, "volume", "list")
    assert line == f"no primary storage at {root}; create one with 'snapengine init'"
    assert not root.is_dir() or not os.listdir(root)


def test_a_volume_is_named_by_uuid_prefix_or_name(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)

    for name in (volume.uuid, volume.uuid[:4], "db"):
        assert run.json("volume", "show", name)["uuid"] == volume.uuid
    assert "volume list" in run.error(3, "volume", "show", volume.uuid[:3])


def test_a_snapshot_is_named_within_its_volume_where_names_repeat(run: CommandLine, engine: Engine) -> None:
    snapshots = {
        name: engine.create_snapshot(engine.create_volume(name, 2**20).uuid, "daily") for name in ("db", "web")
    }

    line = run.error(2, "snapshot", "show", "daily")
    assert all(f"{snapshot.uuid} ({name}/daily)" in line for name, snapshot in snapshots.items())
    for name, snapshot in snapshots.items():
        assert run.json("snapshot", "show", f"{name}/daily")["uuid"] == snapshot.uuid


def test_a_name_may_hold_a_slash(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("a/b", 2**20)
    snapshot = engine.create_snapshot(volume.uuid, "c/d")

    assert run.json("volume", "show", "a/b")["uuid"] == volume.uuid
    assert run.json("snapshot", "show", "c/d")["uuid"] == snapshot.uuid
    assert run.json("snapshot", "show", "a/b/c/d")["uuid"] == snapshot.uuid


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\nb", "\x1b[31mred", "\udcff", ""])
def test_a_strange_name_is_told_on_one_line_that_does_nothing_to_a_terminal(run: CommandLine, name: str) -> None:
    line = run.error(3, "volume", "show", name)

    assert line.isprintable()


@pytest.mark.parametrize(
    "words, why",
    [
        ([], "Missing command"),
        (["--verbose"], "Missing command"),
        (["vol"], "Did you mean 'volume'?"),
        (["volume", "crate"], "Did you mean 'create'?"),
        (["volume", "create"], "Missing argument 'NAME'"),
        (["volume", "create", "db"], "Missing option '--size'"),
        (["volume", "create", "db", "--size"], "requires an argument"),
        (["volume", "list", "--colour"], "No such option"),
        (["volume", "list", "extra"], "unexpected extra argument"),
        (["volume", "list", "--wait", "soon"], "'soon' is not a time span"),
        (["volume", "list", "--wait", "-1"], "'-1' is not a time span"),
    ],
)
def test_a_usage_error_is_one_line_that_says_where_the_help_is(run: CommandLine, words: list[str], why: str) -> None:
    told = run("--output", "json", *words)
    assert told.code == 2
    error = json.loads(told.stderr)["error"]
    assert error["code"] == "SYS.1007"
    assert why in error["details"] and "--help'" in error["details"]
    if words:
        assert why in run.error(2, *words)


@pytest.mark.parametrize("words", [(), ("volume",)])
def test_a_noun_alone_shows_its_help_as_a_usage_error(run: CommandLine, words: tuple[str, ...]) -> None:
    ended = run(*words)

    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("Usage: ")


def test_json_is_asked_for_even_where_the_line_can_not_be_read(run: CommandLine) -> None:
    assert json.loads(run("volume", "lst", "--output=json").stderr)["error"]["code"] == "SYS.1007"
    assert json.loads(run("volume", "lst", env={"SNAPENGINE_OUTPUT": "json"}).stderr)["error"]["code"] == "SYS.1007"
    assert run("volume", "lst", "--output", "text", env={"SNAPENGINE_OUTPUT": "json"}).stderr.startswith("error: ")


def test_not_found_is_3(run: CommandLine) -> None:
    run.error(3, "volume", "show", "db")


def test_not_in_this_state_is_4(run: CommandLine) -> None:
    assert "already" in run.error(4, "init")


def test_a_volume_that_another_operation_holds_is_waited_for_and_then_5(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    directory = Path(volume.install_path).parents[1]

    with locked(directory):
        line = run.error(5, "snapshot", "create", "db", "s", "--wait", "0")
        assert "merge (pid 4711)" in line and "--wait" in line
        run.error(5, "--wait", "0", "snapshot", "create", "db", "s")
    assert run("snapshot", "create", "db", "s", "--wait", "0").code == 0


def test_a_volume_is_waited_for(run: CommandLine, engine: Engine) -> None:
    directory = Path(engine.create_volume("db", 2**20).install_path).parents[1]
    with ExitStack() as stack:
        stack.enter_context(locked(directory))
        released = threading.Timer(0.2, stack.pop_all().close)
        released.start()

        assert run("snapshot", "create", "db", "s", "--wait", "1m").code == 0
        released.join()


def test_damage_is_6(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    Path(volume.install_path).with_suffix(".json").write_text("{")

    run.error(6, "volume", "show", "db")


def test_no_room_is_7(run: CommandLine, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool(tmp_path, 'echo "qemu-img: No space left on device" >&2; exit 1', monkeypatch)

    assert "free some space" in run.error(7, "volume", "create", "db", "--size", "1M")
    assert engine.verify() == ()


def test_a_failed_tool_is_8_with_its_command_line_and_its_stderr(
    run: CommandLine, engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tool(tmp_path, 'printf "first\\nsecond\\n" >&2; exit 3', monkeypatch)

    line = run.error(8, "volume", "create", "db", "--size", "1M")
    assert "qemu-img create" in line and "exit code 3" in line and "second" in line
    assert engine.verify() == ()


def test_without_qemu_img_the_error_says_what_to_install(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(command, "PATH", str(tmp_path))
    command._find.cache_clear()
    try:
        assert "qemu-utils" in run.error(8, "volume", "create", "db", "--size", "1M")
    finally:
        command._find.cache_clear()


def tool(directory: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shell script stand in for qemu-img."""
    path = directory / "qemu-img"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(command, "_find", lambda name: str(path))


def test_a_root_that_belongs_to_another_user_is_8_and_says_what_mends_it(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "storage")
    run.text("init")
    run.text("volume", "create", "db", "--size", "1M")  # loads what a normal user may not be able to read
    for directory in (*tmp_path.parents, tmp_path, *tmp_path.rglob("*")):
        if directory.is_dir() and directory.is_relative_to("/tmp") and directory != Path("/tmp"):
            directory.chmod(0o755 if directory in tmp_path.parents or directory == tmp_path else 0o555)

    with unprivileged():
        assert "db" in run.text("volume", "list")
        line = run.error(8, "volume", "create", "web", "--size", "1M")
        assert "permission denied" in line and "chmod" in line
        run.error(8, "snapshot", "create", "db", "s")
    for directory in tmp_path.rglob("*"):
        if directory.is_dir():
            directory.chmod(0o755)


def test_a_bug_is_1_and_its_traceback_is_in_a_file(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Engine, "list_volumes", lambda self, **chosen: 1 // 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    line = run.error(1, "volume", "list")

    log = Path(line.rpartition(" ")[2])
    assert "ZeroDivisionError" in line
    assert "Traceback" in log.read_text() and log.stat().st_mode & 0o777 == 0o600


def test_a_bug_shows_its_traceback_with_v(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "list_volumes", lambda self, **chosen: 1 // 0)

    ended = run("-v", "volume", "list")

    assert ended.code == 1
    assert ended.stderr.startswith("Traceback") and "error: this is a bug" in ended.stderr


def test_a_bug_is_told_even_where_no_file_can_be_written(run: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "list_volumes", lambda self, **chosen: 1 // 0)
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")

    assert "with -v" in run.error(1, "volume", "list")


def test_every_kind_of_error_ends_in_its_exit_code_and_its_contract_code(
    run: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in kinds(errors.Error):
        error = kind(what="it", kind="volume", name="db", hint="look", matches="m", root="/r", holder="h", seconds=1.0)
        error.__dict__.update(volume="v", path="p", why="w", command="c", status=1, stderr="e")
        error.__dict__.update(account="a", used=2, wanted=1, quota=2, snapshot="s", field="f", uuid="u", type="t")
        error.__dict__.update(count=2, cause="b", state="Disabled", done="cloned")

        def fail(self: Engine, error: errors.Error = error, **chosen: object) -> None:
            raise error

        monkeypatch.setattr(Engine, "list_volumes", fail)
        ended = run("volume", "list", "--output", "json")
        assert ended.code == kind.exit_code
        assert json.loads(ended.stderr)["error"] == {
            "code": kind.code,
            "description": kind.description,
            "details": str(error),
        }


def kinds(root: type[errors.Error]) -> Iterator[type[errors.Error]]:
    yield root
    for kind in root.__subclasses__():
        yield from kinds(kind)


def test_v_shows_the_commands_that_are_run_and_only_then(run: CommandLine) -> None:
    loud = run("-v", "volume", "create", "db", "--size", "1M")
    assert "qemu-img create" in loud.stderr and loud.stdout.startswith("uuid")

    assert run("snapshot", "create", "db", "s").stderr == ""


def test_what_a_crash_left_is_put_right_and_told_on_stderr(run: CommandLine, engine: Engine) -> None:
    entry = unfinished(engine, "create snapshot")

    assert run("verify").code == 6
    assert run("volume", "list", "--quiet").stderr == ""
    assert not entry.exists()

    unfinished(engine, "create\nsnapshot")
    ended = run("volume", "list", "--output", "json")
    assert json.loads(ended.stdout) == {"inventories": []}
    assert "recovered: create\\nsnapshot" in ended.stderr and ended.stderr.count("\n") == 1


def unfinished(engine: Engine, verb: str) -> Path:
    """Leave the journal entry of an operation that died before it did anything."""
    entry = {
        "uuid": "0" * 32,
        "verb": verb,
        "volumeUuid": "1" * 32,
        "directory": f"dataVolumes/acct-{'2' * 32}",
        "pid": 1,
        "started": "Jun 7, 2017 9:20:17 PM",
        "schemaVersion": 1,
        "commit": {"source": f".vol-{'1' * 32}.{'0' * 32}.new", "target": f"vol-{'1' * 32}"},
    }
    path = engine.root / "journal" / f"{entry['uuid']}.json"
    path.write_text(json.dumps(entry))
    return path


def test_a_volume_in_use_is_5(run: CommandLine, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    poke(Path(volume.install_path), 7, 0, 65536)

    with open(volume.install_path, "rb") as f:  # as a QEMU has it that has just opened the image
        fcntl.flock(f, fcntl.LOCK_SH)
        line = run.error(5, "snapshot", "create", "db", "s")
        assert "is in use" in line


def test_main_returns_the_exit_code(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--root", str(engine.root), "volume", "list"]) == 0
    assert cli.main(["--root", str(engine.root), "volume", "show", "x"]) == 3
    assert "error: volume 'x' was not found" in capsys.readouterr().err
