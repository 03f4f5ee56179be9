"""
Start a tool and wait for it: the only module that imports sh.

A tool inherits every lock descriptor of this process (lock.py marks them inheritable) and dies with the thread that
started it, so that a lock ends with the last process that works under it (invariant 6). It runs under limits of
address space and open files, in the C locale, by its absolute path.
"""

import functools
import logging
import os
import resource
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from snapengine import errors
from snapengine.units import GIB

if TYPE_CHECKING:
    import ctypes

    import sh

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
METADATA_TIMEOUT = 60.0  # seconds; for calls that move no guest data
PR_SET_PDEATHSIG = 1
MAX_FILES = 4096  # open in one tool: the longest foreign chain, twice, and its own

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
_PIECE = 2**16  # bytes of output that are read at once

log = logging.getLogger(__name__)

Progress = Callable[[float], None]


class Result(NamedTuple):
    """How a tool ended: its exit code and what it printed."""

    status: int
    stdout: str
    stderr: str


def run(
    tool: str,
    *args: str,
    answers: tuple[int, ...] = (0,),
    timeout: float | None = METADATA_TIMEOUT,
    memory: int = GIB,
    progress: Progress | None = None,
    silent: bool = False,
) -> Result:
    """
    Run tool with args and return how it ended.

    answers are the exit codes that mean something; any other raises CommandFailed with the whole stderr, or NoSpace
    where that says so. timeout is in seconds, None waits for as long as it takes; memory bounds the address space in
    bytes. progress is called with the fraction done as `qemu-img -p` prints it. Of a silent tool more than a warning
    on stderr raises too: qemu-img exits 0 when the last writes, as it closes an image, have failed.
    """
    with _started(tool, args, memory, progress) as (process, line):
        return _ended(process, line, answers, timeout, silent)


@contextmanager
def running(tool: str, *args: str) -> Iterator[None]:
    """Run a silent tool while the block runs, and wait for its end; errors as for run. A failing block kills it."""
    with _started(tool, args, GIB, None) as (process, line):
        yield
        _ended(process, line, (0,), METADATA_TIMEOUT, silent=True)


def _ended(
    process: "sh.RunningCommand", line: str, answers: tuple[int, ...], timeout: float | None, silent: bool
) -> Result:
    status = _wait(process, line, timeout)
    result = Result(status, _text(process.process.stdout), _text(process.process.stderr).strip())
    if status not in answers or (silent and any("warning: " not in said for said in result.stderr.splitlines())):
        raise _failure(line, result)
    return result


class _Reporter:
    """Hands the figures of `(12.34/100%)` on as fractions; sh gives an unbuffered output letter by letter."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._seen = ""

    def __call__(self, piece: str) -> None:
        *lines, self._seen = (self._seen + piece).split("\r")
        for line in lines:
            figure = line.strip().removeprefix("(").removesuffix("/100%)")
            self._progress(min(float(figure) / 100, 1.0))


@contextmanager
def _started(
    tool: str, args: tuple[str, ...], memory: int, progress: Progress | None
) -> Iterator[tuple["sh.RunningCommand", str]]:
    """
    Start tool for the block; gives its process and its command line for people. A failing block kills it.

    A Ctrl-C is held back, where no other thread hears it, until the process is known: before, nobody could kill it.
    """
    line = shlex.join((tool, *args))
    log.info("run %s", line)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        process = _start(tool, args, functools.partial(_bind, _libc(), os.getpid(), memory, before), progress)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield process, line
        except BaseException:
            _kill(process)
            raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    tool: str, args: tuple[str, ...], bind: Callable[[], None], progress: Progress | None
) -> "sh.RunningCommand":
    return _module().Command(_find(tool))(  # type: ignore[no-any-return]
        *args,
        _bg=True,
        _bg_exc=False,
        _return_cmd=True,
        _tty_out=False,
        _close_fds=False,
        _out=_Reporter(progress) if progress else None,
        _out_bufsize=0 if progress else _PIECE,
        _decode_errors="replace",
        _env=_environment(),
        _preexec_fn=bind,
    )


def _bind(libc: "ctypes.CDLL", parent: int, memory: int, signals: set[signal.Signals | int]) -> None:
    """In the new process, before the tool: die with the parent, stay within the limits, hear signals as it would."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl could tell
        os._exit(255)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, MAX_FILES), hard))


def _wait(process: "sh.RunningCommand", line: str, timeout: float | None) -> int:
    """
    Return the exit code; negative for a signal, as subprocess has it.

    The clock is ours: sh's own makes every call take 100 ms, as it asks only so often whether the tool has ended.
    """
    late = threading.Event()
    clock = threading.Timer(timeout or threading.TIMEOUT_MAX, _expire, (process, late))
    clock.daemon = True
    try:
        clock.start()
        process.wait()
    except _module().ErrorReturnCode as e:
        if late.is_set():
            raise errors.CommandFailed(command=line, status=-1, stderr=f"no answer within {timeout:g} s, killed") from e
        return int(e.exit_code)
    finally:
        clock.cancel()
    return 0


def _expire(process: "sh.RunningCommand", late: threading.Event) -> None:
    late.set()
    with suppress(ProcessLookupError):
        process.kill()


def _kill(process: "sh.RunningCommand") -> None:
    """End a process, unless its end was seen already, and see its end."""
    if process.process.exit_code is None:
        with suppress(ProcessLookupError, ChildProcessError, _module().ErrorReturnCode):
            process.kill()
            process.wait()


def _text(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def _failure(line: str, result: Result) -> errors.Error:
    text = result.stderr or result.stdout.strip() or "it said nothing"
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return errors.NoSpace(what=f"no room: {text.splitlines()[-1]}; free some space and try again")
    if "File too large" in text:
        return errors.NoSpace(what=f"{text.splitlines()[-1]}; raise the limit with 'ulimit -f', then try again")
    return errors.CommandFailed(command=line, status=result.status, stderr=text)


@functools.cache
def _find(tool: str) -> str:
    path = shutil.which(tool, path=PATH)
    if path is None:
        raise errors.CommandFailed(command=tool, status=127, stderr=f"it is not installed{_PACKAGE.get(tool, '')}")
    return path


_PACKAGE = {"qemu-img": "; on Debian: apt-get install qemu-utils"}


@functools.cache
def _environment() -> dict[str, str]:
    """Return the tools' environment; few arenas, since each thread of qemu-img would reserve one of 64 MiB."""
    home = str(Path.home())
    return {"PATH": PATH, "LC_ALL": "C", "HOME": home, "MALLOC_ARENA_MAX": "2"}


@functools.cache
def _libc() -> "ctypes.CDLL":
    import ctypes  # late: only who starts a tool needs it

    return ctypes.CDLL(None)


@functools.cache
def _module() -> ModuleType:
    """Return sh, loaded late: it costs more than all the rest of the start-up, and many commands start no tool."""
    import sh

    return sh
