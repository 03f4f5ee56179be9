"""An engine in a process of its own that stands still in the middle of a verb, as slow as a test wants it to be."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PATIENCE = 30.0  # seconds


class Work(NamedTuple):
    """The process of the engine, and the pid of the tool that works for it."""

    engine: "subprocess.Popen[str]"
    tool: int


@contextmanager
def stopped(root: Path, verb: str) -> Iterator[Work]:
    """
    Have an engine at root run verb, a Python expression of `engine`, and stop the `qemu-img convert` that it needs.

    The block may go on with it: resume(work). At its end neither is left.
    """
    with started(root, verb, "nice", "-n", "19") as engine:
        tool = until(lambda: _child(engine.pid, b"convert"))
        os.kill(tool, signal.SIGSTOP)
        try:
            until(lambda: _states(tool) == {"T"})
            yield Work(engine, tool)
        finally:
            kill(tool)


@contextmanager
def started(root: Path, verb: str, *around: str) -> Iterator["subprocess.Popen[str]"]:
    """Have an engine at root run verb, a Python expression of `engine`, in a process that around starts."""
    code = f"from snapengine.engine import Engine; engine = Engine.open({str(root)!r}); {verb}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*around, sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as engine:
        try:
            yield engine
        finally:
            engine.kill()


def resume(work: Work) -> str:
    """Let the tool go on and the verb come to its end; returns what it said on stderr."""
    os.kill(work.tool, signal.SIGCONT)
    return work.engine.communicate(timeout=PATIENCE)[1]


def die(work: Work) -> float:
    """Kill the engine, but not its tool; returns after how many seconds both were gone."""
    killed = time.monotonic()
    work.engine.kill()
    work.engine.wait()
    until(lambda: is_gone(work.tool))
    return time.monotonic() - killed


def kill(pid: int) -> None:
    """Kill a process, if it still is there."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def until(found: Callable[[], int | bool | None]) -> int:
    """Wait until found returns something true, and return that."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := found()):
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)
    return answer


def is_gone(pid: int) -> bool:
    """Tell whether every thread of a process has ended: only then are its locks gone."""
    return _states(pid) <= {"Z", "X"}


def _states(pid: int) -> set[str]:
    """Return the letters that /proc has for the states of a process's threads."""
    states = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            states.add(_stat(f"/proc/{pid}/task/{thread}")[0])
    return states


def _stat(directory: str) -> list[str]:
    """Return what /proc says of a process, from its state on."""
    return Path(directory, "stat").read_text().rpartition(")")[2].split()


def _child(parent: int, word: bytes) -> int | None:
    """Return the pid of the child of parent that has word among its arguments."""
    for name in os.listdir("/proc"):
        with suppress(FileNotFoundError, ProcessLookupError, NotADirectoryError):
            if name.isdigit() and _stat(f"/proc/{name}")[1] == str(parent):
                if word in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                    return int(name)
    return None
