"""The command as tests call it: in this process, as a process of its own, and on a terminal."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.testing import CliRunner

from snapengine import cli

ERROR_KEYS = {"code", "description", "details"}
OWN_TERMINAL = "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
START = "import sys; from snapengine import cli; sys.exit(cli.main())"


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


class _Program(click.Command):
    """What CliRunner runs: our main, not click's."""

    def main(self, args: Sequence[str] | None = None, **rest: Any) -> Any:  # type: ignore[override]
        sys.exit(cli.main(args or []))


class CommandLine:
    """The command on one root, in this process."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def __call__(self, *words: str, env: Mapping[str, str] | None = None) -> Ended:
        """Run the command and return how it ended."""
        where = {"SNAPENGINE_ROOT": str(self.root) if self.root else None, "SNAPENGINE_OUTPUT": None}
        found = CliRunner().invoke(_Program("snapengine"), list(words), env={**where, **(env or {})})
        assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
        return Ended(found.exit_code, found.stdout, found.stderr)

    def text(self, *words: str) -> str:
        """Run a command that succeeds and return what it prints."""
        ended = self(*words)
        assert ended.code == 0, ended.stderr
        return ended.stdout

    def json(self, *words: str) -> Any:
        """Run a command that succeeds with --output json and return its one document."""
        return json.loads(self.text(*words, "--output", "json"))

    def error(self, code: int, *words: str) -> str:
        """Run a command that fails with this exit code, in text and in JSON; return its one line of text."""
        ended = self(*words)
        assert (ended.code, ended.stdout) == (code, ""), ended
        assert ended.stderr.startswith("error: ") and ended.stderr.count("\n") == 1, ended.stderr
        in_json = self(*words, "--output", "json")
        assert (in_json.code, in_json.stdout, in_json.stderr.count("\n")) == (code, "", 1), in_json
        told = json.loads(in_json.stderr)
        assert set(told) == {"error"} and set(told["error"]) == ERROR_KEYS, told
        return ended.stderr.removeprefix("error: ").rstrip("\n")


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without what steers the command, with this package to import, and with more."""
    steers = ("SNAPENGINE_", "_SNAPENGINE_", "COLUMNS", "LINES")  # a runner of tests sets the width too
    own = {key: value for key, value in os.environ.items() if not key.startswith(steers)}
    return {**own, "PYTHONPATH": str(Path(__file__).parents[1]), **more}


def process(*words: str, start: str = START, **more: str) -> Ended:
    """Run the command as a process of its own; start is the Python text that calls it."""
    found = subprocess.run(
        [sys.executable, "-c", start, *words], capture_output=True, text=True, env=environment(**more), timeout=120
    )  # fmt: skip
    return Ended(found.returncode, found.stdout, found.stderr)


def terminal(
    root: Path, *words: str, keys: str = "", start: str = START, lines: int = 24, columns: int = 80
) -> tuple[int, str]:
    """
    Run the command on a terminal of its own; return its exit code and what the terminal showed.

    keys are typed once it asks, a line of them for each password; start is the Python text that calls it.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    env = environment(TERM="xterm", SNAPENGINE_ROOT=str(root))
    with subprocess.Popen(
        [sys.executable, "-c", OWN_TERMINAL + start, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=env
    ) as running:
        os.close(theirs)
        late = threading.Timer(120, running.kill)
        late.start()
        shown, lines_left = b"", keys.splitlines(keepends=True)
        while piece := _read(ours):
            shown += piece
            if keys and shown.endswith(b"[y/N] "):
                _wait_asleep(running.pid)
                os.write(ours, keys.encode())
            if lines_left and shown.endswith((b"password of admin: ", b"once more: ")):
                _wait_asleep(running.pid)
                os.write(ours, lines_left.pop(0).encode())
        late.cancel()
    os.close(ours)
    return running.returncode, shown.decode().replace("\r\n", "\n")


def _wait_asleep(pid: int) -> None:
    """Wait until a process that asks waits for a key: a ctrl-c just before that is raised only with the next key."""
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in ("R", "D"):
        time.sleep(0.01)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # the other side is closed
        return b""
