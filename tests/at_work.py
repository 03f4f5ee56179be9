"""An engine in a process of its own that stands still in the middle of a verb, for as long as a test wants it to."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PATIENCE = 60.0  # seconds

# A qemu-img that stops itself before it converts: no test could be sure to stop the real one before it is done.
TOOL = """#!/bin/sh
[ "$1" != convert ] || kill -STOP $$
exec {real} "$@"
"""
# A function of a module that stops the process as it is called, or has done its work, for the nth time.
STOP = """
import {module}, itertools, os, signal
def stopping(*words, real={module}.{name}, calls=itertools.count(1), **more):
    here = next(calls) == {nth}
    here and "{side}" == "enter" and os.kill(os.getpid(), signal.SIGSTOP)
    try:
        return real(*words, **more)
    finally:
        here and "{side}" == "exit" and os.kill(os.getpid(), signal.SIGSTOP)
{module}.{name} = stopping
"""


class Work(NamedTuple):
    """The process of the engine, and the pid of what stands still: the tool that works for it, or itself."""

    engine: "subprocess.Popen[str]"
    tool: int


@contextmanager
def stopped(root: Path, verb: str) -> Iterator[Work]:
    """
    Have an engine at root run verb, a Python expression of `engine`, and the `qemu-img convert` that it needs stop.

    The block may go on with it: resume(work). At its end neither is left.
    """
    tools = root.with_name(f"{root.name}.tools")
    tools.mkdir(exist_ok=True)
    (tools / "qemu-img").write_text(TOOL.format(real=shutil.which("qemu-img")))
    (tools / "qemu-img").chmod(0o755)
    found_first = f"from snapengine import command; command.PATH = {str(tools)!r} + ':' + command.PATH"
    with started(root, verb, before=found_first) as engine:
        tool = until(lambda: _child(engine.pid, b"convert"))
        try:
            until(lambda: _states(tool) == {"T"})
            yield Work(engine, tool)
        finally:
            kill(tool)


@contextmanager
def held(root: Path, verb: str, call: str, side: str = "enter", nth: int = 1) -> Iterator[Work]:
    """
    Have an engine at root run verb, and stop before or after (enter or exit) its nth call of a function: "os.rename".

    The block may go on with it: resume(work). At its end it is not left.
    """
    module, _, name = call.rpartition(".")
    stop = STOP.format(module=module, name=name, side=side, nth=nth)
    with started(root, verb, before=stop) as engine:
        until(lambda: engine.poll() is not None or _states(engine.pid) == {"T"})
        assert engine.poll() is None, engine.communicate()
        yield Work(engine, engine.pid)


@contextmanager
def started(root: Path, verb: str, *around: str, before: str = "") -> Iterator["subprocess.Popen[str]"]:
    """Have an engine at root run verb, Python text about `engine`, after before, in a process that around starts."""
    code = f"{before}\nfrom snapengine.engine import Engine; engine = Engine.open({str(root)!r}); {verb}"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*around, sys.executable, "-c", code]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as engine:
        try:
            yield engine
        finally:
            engine.kill()


def resume(work: Work) -> str:
    """Let what stands still go on and the verb come to its end; returns what it said on stderr."""
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
