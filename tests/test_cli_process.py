"""The command as a process: how it starts, how it is stopped, where its output goes."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from snapengine.version import __version__
from tests.command_line import START, environment, process

# Loaded by what is not needed, these would cost more than the command line itself.
HEAVY = {"asyncio", "logging", "msgspec", "pathlib", "rich", "sh", "shutil", "snapengine.engine", "tempfile"}
LOADED = """
import sys
from snapengine import cli
code = cli.main()
print(*sys.modules, file=sys.stderr)
sys.exit(code)
"""


def loaded(*words: str, **env: str) -> set[str]:
    """Return the modules that a command loads beyond what click does."""
    ended = process(*words, start=LOADED, **env)
    assert ended.code == 0, ended.stderr
    bare = subprocess.run(
        [sys.executable, "-c", "import click, sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )  # fmt: skip
    return set(ended.stderr.split()) - set(bare.stdout.split())


def test_version_loads_click_and_little_else() -> None:
    found = loaded("--version")

    assert not found & HEAVY
    assert {name for name in found if name.startswith("snapengine.cli.")} == {
        f"snapengine.cli.{name}" for name in ("failure", "settings", "text", "wire")
    }


@pytest.mark.parametrize("words", [("--help",), ("volume", "--help"), ("snapshot", "create", "--help")])
def test_help_needs_no_engine(words: tuple[str, ...]) -> None:
    assert not loaded(*words) & (HEAVY - {"shutil"})  # click's own, to ask how wide the terminal is


def test_a_noun_loads_only_its_own_module(engine: Engine) -> None:
    engine.create_volume("db", 2**20)

    found = loaded("snapshot", "create", "db", "s", SNAPENGINE_ROOT=str(engine.root))

    assert "snapengine.cli.snapshot" in found
    assert not found & {"rich", "snapengine.cli.volume", "snapengine.cli.trash", "snapengine.cli.storage"}


def test_a_list_in_a_pipe_loads_no_rich(engine: Engine) -> None:
    assert "rich" not in loaded("volume", "list", SNAPENGINE_ROOT=str(engine.root))


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "snapengine", *words]
        return subprocess.run(command, capture_output=True, text=True, env=environment())

    ended = run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"snapengine {__version__}\n")
    ended = run("--root", str(tmp_path), "status")
    assert (ended.returncode, ended.stdout) == (3, "")


def test_a_reader_that_goes_away_ends_the_command_quietly(engine: Engine) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as out:
        ended = subprocess.run(
            [sys.executable, "-c", START, "volume", "list"], stdout=out, stderr=subprocess.PIPE, text=True,
            env=environment(SNAPENGINE_ROOT=str(engine.root)),
        )  # fmt: skip

    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_full_disk_under_the_output_is_told_and_that_the_command_was_done(engine: Engine, output: str) -> None:
    words = ["volume", "create", "db", "--size", "1M", "--output", output]
    with open("/dev/full", "w") as out:
        ended = subprocess.run(
            [sys.executable, "-c", START, *words], stdout=out, stderr=subprocess.PIPE, text=True,
            env=environment(SNAPENGINE_ROOT=str(engine.root)),
        )  # fmt: skip

    assert ended.returncode == 8
    assert "the command was done, but its answer can't be written to the standard output: No space" in ended.stderr
    assert [volume.name for volume in engine.list_volumes()] == ["db"]


@pytest.mark.parametrize("words", [["volume", "create", "db", "--size=1M"], ["account", "create", "a"]], ids=" ".join)
def test_a_limit_on_the_size_of_files_is_told_and_nothing_is_done(engine: Engine, words: list[str]) -> None:
    script = 'ulimit -f 0; exec "$0" -c "$@"'
    env = environment(SNAPENGINE_ROOT=str(engine.root))

    ended = subprocess.run(["sh", "-c", script, sys.executable, START, *words], capture_output=True, text=True, env=env)

    assert ended.returncode == 7 and "raise the limit with 'ulimit -f'" in ended.stderr, ended.stderr
    assert engine.list_volumes() == () and engine.verify() == ()


@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_a_closed_stream_is_no_bug(engine: Engine, closed: str) -> None:
    script = f'exec "$0" -c "$1" volume list {closed}>&-'
    env = environment(SNAPENGINE_ROOT=str(engine.root))

    ended = subprocess.run(["sh", "-c", script, sys.executable, START], capture_output=True, env=env)

    assert (ended.returncode, ended.stderr) == (0, b"")


def test_output_in_a_poor_character_set_is_escaped(engine: Engine) -> None:
    engine.create_volume("größe ☃", 2**20)

    ended = process("volume", "list", SNAPENGINE_ROOT=str(engine.root), PYTHONIOENCODING="ascii")

    assert ended.code == 0 and "gr\\xf6\\xdfe \\u2603" in ended.stdout


# qemu-img is a script here that says that it runs and then does not end.
STUCK = """
import os, sys
from snapengine import command, cli
command.PATH = sys.argv.pop(1)
sys.exit(cli.main())
"""


@pytest.mark.parametrize(
    "number, code, word", [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_signal_stops_the_tool_and_undoes_the_command(
    engine: Engine, tmp_path: Path, number: signal.Signals, code: int, word: str
) -> None:
    volume = engine.create_volume("db", 2**20)
    before = files(engine)
    pid = tmp_path / "pid"
    tool = tmp_path / "qemu-img"
    tool.write_text(f"#!/bin/sh\necho $$ >{pid}.new; /bin/mv {pid}.new {pid}; exec /bin/sleep 100\n")
    tool.chmod(0o755)
    words = ["--root", str(engine.root), "--output", "json", "snapshot", "create", "db", "s"]

    with subprocess.Popen(
        [sys.executable, "-c", STUCK, str(tmp_path), *words],
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PATH="/bin"),
    ) as running:
        wait_for(pid)
        running.send_signal(number)
        _, told = running.communicate(timeout=60)

    assert running.returncode == code
    error = json.loads(told)["error"]
    assert error["code"] == "SYS.1017" and word in error["details"]
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()
    assert files(engine) == before
    assert engine.verify((volume.uuid,)) == ()


def files(engine: Engine) -> list[Path]:
    return sorted(path for path in engine.root.rglob("*") if path.name != ".lock")


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_revert_waits_for_a_create_and_hinders_none(engine: Engine) -> None:
    """The question that a revert would ask looks at the image; a create at work must not meet it there."""
    volume = engine.create_volume("db", 2**20).uuid
    snapshot = engine.create_snapshot(volume, "base").uuid
    env = environment(SNAPENGINE_ROOT=str(engine.root))
    loop = f"for i in 1 2; do {sys.executable} -m snapengine snapshot revert {snapshot} --yes || exit; done"
    with subprocess.Popen(["bash", "-c", loop], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as reverts:
        while reverts.poll() is None:
            engine.create_snapshot(volume, "more")
            with suppress(errors.Conflict):  # a revert may have come between
                engine.undo_snapshot(volume)  # else each revert finds more to look at than the one before
        assert reverts.stderr is not None
        assert (reverts.returncode, reverts.stderr.read()) == (0, b"")
    assert engine.verify() == ()


def test_with_its_standard_streams_closed_an_import_works_all_the_same(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "raw"
    source.write_bytes(b"x" * 2**20)
    words = f"{sys.executable} -m snapengine volume import {source} --name in <&- >&- 2>&-"
    assert subprocess.run(["bash", "-c", words], env=environment(SNAPENGINE_ROOT=str(engine.root))).returncode in (0, 1)
    assert [volume.name for volume in engine.list_volumes()] == ["in"]
