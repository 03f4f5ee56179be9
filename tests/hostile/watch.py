"""Run cases in a worker under strace: what each one's processes opened, started and connected to, with its answer."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tests.command_line import environment
from tests.hostile.worker import Answer

Case = tuple[str, str]  # the names of an image and a door

_CALLS = "open,openat,openat2,creat,socket,connect,execve,execveat,access,faccessat,faccessat2"
_LINE = re.compile(r"(?:\[pid )?\s*(\d+)\]?\s+(\w+)\((.*)\)\s+= (-?\w+)(?:<([^>]*)>)?")
_PART = re.compile(r"(?:\[pid )?\s*(\d+)\]?\s+(.*) <unfinished \.\.\.>$")
_REST = re.compile(r"(?:\[pid )?\s*(\d+)\]?\s+<\.\.\. \w+ resumed>(.*)$")
_NAMED = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_MARK = re.compile(r"/hostile/(\d+)/(begin|end)$")


class Seen(msgspec.Struct, frozen=True):
    """A case's answer, and the files, programs and peers that its processes asked for: each by the name of the call."""

    answer: Answer
    calls: frozenset[tuple[str, str]]


def run(cases: Iterable[Case], directory: Path, mutant: str) -> Iterator[Seen]:
    """Give how each case ended; directory is new and holds all that the cases need."""
    directory.mkdir(parents=True)
    trace = directory / "trace"
    worker = [sys.executable, "-m", "tests.hostile.worker", str(directory / "scene"), mutant]
    (directory / "scene").mkdir()
    asked = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-s4096", "--seccomp-bpf", "-e", f"trace={_CALLS}", "-o", trace, *worker],
        input=asked, text=True, stdout=subprocess.PIPE, env=environment(HOME="/root"),
    )  # fmt: skip
    assert done.returncode == 0, f"the worker failed with {done.returncode}"
    with open(trace, errors="replace") as lines:
        calls = _calls(lines)
    for number, line in enumerate(done.stdout.splitlines()):
        yield Seen(msgspec.json.decode(line, type=Answer), frozenset(calls[number]))
    trace.unlink()


def _calls(lines: Iterable[str]) -> dict[int, set[tuple[str, str]]]:
    """Return the calls of each case by its number."""
    found: dict[int, set[tuple[str, str]]] = {}
    current: set[tuple[str, str]] = set()
    for name, arguments, result, real in _whole(lines):
        named = _NAMED.match(arguments)
        path = named[2] if named else arguments
        if (mark := _MARK.search(path)) and "access" in name:
            current = found.setdefault(int(mark[1]), set()) if mark[2] == "begin" else set()
        elif name in ("socket", "connect"):
            current.add((name, arguments))
        elif "access" not in name:
            kind = "execve" if name.startswith("exec") else "open"
            at = (named[1] or "") if named and not path.startswith("/") else ""
            current.add((kind, f"{at}/{path}" if at else path))
            if real:
                current.add((kind, real))
    return found


def _whole(lines: Iterable[str]) -> Iterator[tuple[str, str, str, str | None]]:
    """Give the calls of strace's output, those that it cut in two joined, at their ends."""
    open_calls: dict[str, str] = {}
    for line in lines:
        line = line.rstrip("\n")
        if part := _PART.match(line):
            open_calls[part[1]] = part[2]
            continue
        if rest := _REST.match(line):
            line = f"{rest[1]} {open_calls.pop(rest[1], '')}{rest[2]}"
        if call := _LINE.match(line):
            yield call[2], call[3], call[4], call[5]
