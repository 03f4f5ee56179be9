"""
Run a function in a process of its own under strace: list its calls on files, kill or interrupt it at one, or fail one.

strace counts for each thread by itself, and tools spread their writes over threads. So a call is named by its path and
by how often its thread has made it there; that one is held at its entry, and when strace shows it the processes are
killed before it is carried out. Where no path is known, every call of that name is held, and they are counted as they
come.
"""

import errno
import itertools
import os
import random
import re
import select
import signal
import socket
import subprocess
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

from snapengine import errors
from tests.crash.syscalls import CHANGING, LOOKING, OPENING

INTERRUPTED = "interrupted"

_PATIENCE = 60.0  # seconds
_HOLD = 30_000  # microseconds
_ENTRY = re.compile(rb"(?:(\d+) +)?(\w+)\(")
_WRITABLE = re.compile(rb"O_CREAT|O_TRUNC|O_WRONLY")
_NO_LOOK = re.compile(rb"TCGETS|F_GETFD|F_SETFD|F_GETFL|SEEK_SET|SEEK_CUR|SEEK_END")  # these don't reach the disk


class Point(NamedTuple):
    """A call on a file below the root: the nth of this name that was listed, from 1, whoever calls it."""

    name: str
    nth: int


class Call(NamedTuple):
    """
    A call as it was seen, on a path below the root, or beside it where that begins with the root's name and a dot.

    path is relative to the root; number counts, from 1, its thread's calls of this name that have to do with that path.
    own: the thread is the caller's first one, and no other's nor a tool's. looks: it changes nothing.
    """

    point: Point
    thread: int
    path: str
    number: int
    own: bool
    looks: bool = False

    @property
    def place(self) -> tuple[str, str, int, bool]:
        """What is the same in another run."""
        return self.point.name, self.path, self.number, self.own


class Run(NamedTuple):
    """
    What became of a function under strace.

    calls are those on files below the root that were to be listed, up to the point where it was killed. said is "ok",
    INTERRUPTED, the name and text of the engine's error, that of the system's (EIO, say) or "!", with a traceback, of
    any other; empty when it was killed. exact: it was killed before that very call was carried out, or the error or the
    signal was injected. lived is how long, in seconds, something outlived the kill.
    """

    calls: tuple[Call, ...]
    said: str
    exact: bool
    lived: float


class Kill(NamedTuple):
    """
    Where to kill, and whom: the whole tree of processes, or the caller only, leaving its tools to themselves.

    by is the signal.
    """

    at: Point | Call
    whole: bool
    by: int = signal.SIGKILL

    @property
    def point(self) -> Point:
        return self.at.point if isinstance(self.at, Call) else self.at

    def is_at(self, call: Call) -> bool:
        """Tell whether this is the call to kill at."""
        return call.place == self.at.place if isinstance(self.at, Call) else call.point == self.at


def listed(verb: Callable[[], object], root: Path, looks: bool = False) -> Run:
    """Run verb and list what it changes below root, and with looks where it only looks there, too."""
    seen = [f"--trace={_set((*OPENING, *CHANGING, *LOOKING))}"] if looks else []
    return _run(verb, root, ["-f", *seen], looks=looks)


def failed(verb: Callable[[], object], root: Path, call: Call, error: str) -> Run:
    """Run verb with the system call error injected at call, on another copy of root; one that only looks, too."""
    return _run(verb, root, _only(root, call, f"error={error}"))


def interrupted(verb: Callable[[], object], root: Path, call: Call) -> Run:
    """
    Run verb and press Ctrl-C for its own process at a call of that, or at one that changes something of a tool.

    Python hears of it when the call has returned, or while it waits for the tool.
    """
    if call.own:
        return _run(verb, root, _only(root, call, "signal=SIGINT"))
    return _run(verb, root, _only(root, call, f"delay_enter={_HOLD}"), Kill(call, False, signal.SIGINT))


def killed(verb: Callable[[], object], root: Path, kill: Kill, patience: int) -> Run:
    """Run verb and kill it at the entry of a call, which is held patience times as long as usual."""
    if isinstance(kill.at, Call):
        return _run(verb, root, _only(root, kill.at, f"delay_enter={_HOLD * patience}"), kill)
    hold = f"--inject={kill.point.name}:delay_enter={_HOLD * patience}"
    return _run(verb, root, ["-f", hold], kill)


def _only(root: Path, call: Call, what: str) -> list[str]:
    """Return the arguments that have what happen at call, and nothing else traced than who makes it and its path."""
    name = call.point.name
    only = [f"--trace={_set((*OPENING, *CHANGING, name))}", "-P", os.path.normpath(root / call.path)]
    only.append(f"--inject={name}:{what}:when={call.number}")
    return only if call.own else ["-f", *only]


def _set(names: tuple[str, ...]) -> str:
    return ",".join(f"?{name}" for name in names)  # not every machine has all of them


def _run(
    verb: Callable[[], object], root: Path, args: list[str], kill: Kill | None = None, looks: bool = False
) -> Run:
    ours, theirs = socket.socketpair()  # a message of its own: no call that may be held or failed
    caller = os.fork()
    if caller == 0:
        child(verb, theirs)
    os.setpgid(caller, caller)
    theirs.close()
    with ours, _attached(caller, args) as output:
        ours.send(b"go")
        seen = _watch(output, _Seen(root, caller, looks), kill)
        os.waitpid(caller, 0)
        said = ours.makefile(encoding="utf-8").read()
    return Run(tuple(seen.calls), said, seen.exact, seen.lived)


def killed_within(verb: Callable[[], object], root: Path, at: Point) -> None:
    """Run verb and have it kill itself at a call of its own, a rename or an unlink: so it never comes too late."""
    real, calls = getattr(os, at.name), itertools.count(1)

    def counted(path: str | Path, *rest: object, **more: object) -> None:
        if not more and str(path).startswith((f"{root}/", f"{root}.")) and next(calls) == at.nth:
            os.killpg(0, signal.SIGKILL)
        real(path, *rest, **more)

    def cut_off() -> None:
        setattr(os, at.name, counted)
        verb()

    assert untraced(cut_off) == ""


def untraced(verb: Callable[[], object]) -> str:
    """Run verb in a process of its own, with nothing traced, and return what Run calls said."""
    ours, theirs = socket.socketpair()
    caller = os.fork()
    if caller == 0:
        ours.close()
        child(verb, theirs)
    theirs.close()
    with ours:
        ours.send(b"go")
        said = ours.makefile(encoding="utf-8").read()
    os.waitpid(caller, 0)
    return said


def child(verb: Callable[[], object], theirs: socket.socket) -> NoReturn:
    """In a new process, run verb once theirs says so, send what Run calls said, and end; uuids are always the same."""
    os.setpgid(0, 0)
    numbers = random.Random("the same names in every run")
    setattr(uuid, "uuid4", lambda: uuid.UUID(int=numbers.getrandbits(128), version=4))
    theirs.recv(2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        verb()
        said = "ok"
    except KeyboardInterrupt:
        said = INTERRUPTED
    except errors.Error as e:
        said = f"{type(e).__name__}: {e}"
    except OSError as e:
        said = f"{errno.errorcode[e.errno or 0]}: {traceback.format_exc()}"
    except BaseException:
        said = "!" + traceback.format_exc()
    theirs.send(said.encode())
    os._exit(0)


@contextmanager
def _attached(caller: int, args: list[str]) -> Iterator[int]:
    """Trace caller and all that it starts until it has ended; gives a pipe with strace's lines."""
    output, end = os.pipe()
    command = ["strace", "-y", "-s", "0", "-p", str(caller), "-o", f"/dev/fd/{end}"]
    command += [f"--trace={_set(OPENING + CHANGING)}", *args]
    with subprocess.Popen(command, pass_fds=[end], stderr=subprocess.PIPE, text=True) as tracer:
        os.close(end)
        try:
            assert tracer.stderr is not None
            line = tracer.stderr.readline()
            assert "attached" in line, f"strace does not work here: {line}"
            yield output
        finally:
            with suppress(ProcessLookupError):
                os.killpg(caller, signal.SIGKILL)
            tracer.kill()
            os.close(output)


class _Seen:
    """What strace has shown so far."""

    def __init__(self, root: Path, caller: int, looks: bool) -> None:
        self.caller = caller
        self._looks = looks
        self.calls: list[Call] = []
        self.exact = False
        self.lived = 0.0
        self._root = root
        self._below = re.compile(rb'[<"](' + re.escape(str(root)).encode() + rb'(?:\.[^/>"]+)?(?:/[^>"]+)?)[>"]')
        self._points: Counter[str] = Counter()
        self._numbers: Counter[tuple[int, str, str]] = Counter()

    def add(self, line: bytes) -> Call | None:
        """Note a line; returns the call that it begins, if that is one to list, on a file below or beside the root."""
        match = _ENTRY.match(line)
        paths = self._below.findall(line.partition(b") = ")[0])
        if match is None or not paths:
            return None
        thread, name = int(match[1] or self.caller), match[2].decode()
        for path in set(paths):
            self._numbers[thread, name, self._relative(path)] += 1
        looks = not _WRITABLE.search(line) if name in OPENING else name not in CHANGING
        if looks and (not self._looks or _NO_LOOK.search(line)):
            return None
        self._points[name] += 1
        path = self._relative(paths[0])
        number = self._numbers[thread, name, path]
        call = Call(Point(name, self._points[name]), thread, path, number, thread == self.caller, looks)
        self.calls.append(call)
        return call

    def _relative(self, path: bytes) -> str:
        return os.path.relpath(path.decode(), self._root)


def _watch(output: int, seen: _Seen, kill: Kill | None) -> _Seen:
    """Read what strace shows to its end; kill where it is asked for, and see whether that was in time."""
    victim, at = None, 0.0
    for line in _entries(output):
        call = seen.add(line)
        if victim is not None:
            seen.exact = seen.exact and call is None and not _carried_out(line, victim)
        elif call is not None and kill is not None and kill.is_at(call):
            (os.killpg if kill.whole else os.kill)(seen.caller, kill.by)
            victim, at = (call, time.monotonic()) if kill.by == signal.SIGKILL else (None, 0.0)
            kill, seen.exact = None, True
        elif b"(INJECTED)" in line or b"--- SIGINT {" in line:
            seen.exact = True
    if victim is not None:
        seen.lived = time.monotonic() - at
    return seen


def _entries(output: int) -> Iterator[bytes]:
    """Give each line of strace's, the beginning of one as soon as it is there; its rest comes as a line of its own."""
    rest = b""
    while data := _read(output):
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if b"(" in rest:
            yield rest
            rest = b""


def _read(output: int) -> bytes:
    if not select.select([output], [], [], _PATIENCE)[0]:
        raise TimeoutError("nothing happens any more under strace")
    return os.read(output, 65536)


def _carried_out(line: bytes, victim: Call) -> bool:
    """Tell whether line shows that the call of the killed thread has returned."""
    begins_with = rf"(\d+ +<\.\.\. {victim.point.name} resumed>)?[^(]*\) += (\S+)".encode()
    match = re.match(begins_with, line)
    return match is not None and match[2] != b"?" and (match[1] is None or int(line.split()[0]) == victim.thread)
