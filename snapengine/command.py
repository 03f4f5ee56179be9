"""
Start a tool and wait for it: the only module that imports sh.

A tool inherits every lock descriptor of this process (lock.py marks them inheritable) and dies with the thread that
started it, so that a lock ends with the last process that works under it (invariant 6). It runs under the bounds of
limits.py, gains no privileges, speaks the C locale, and is called by its absolute path.
"""

import functools
import logging
import os
import shlex
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from snapengine import errors, limits, printed
from snapengine.limits import Limits
from snapengine.printed import Progress

if TYPE_CHECKING:
    import ctypes

    import sh

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
METADATA_TIMEOUT = 60.0  # seconds; for calls that move no guest data
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38

FLOODED = -signal.SIGPIPE  # the exit code of a tool that was ended since it said too much
IMAGES_FAULT = (1, -signal.SIGXCPU, FLOODED)  # exit codes of a qemu-img that can't read an image
OVERTIME = "it took more processor time than the images that it reads can be worth"

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
_PIECE = 2**16  # bytes of output that are read at once

log = logging.getLogger(__name__)


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
    bounds: Limits = limits.METADATA,
    progress: Progress | None = None,
    silent: bool = False,
) -> Result:
    """
    Run tool with args and return how it ended.

    answers are the exit codes that mean something; any other raises CommandFailed with the whole stderr, or NoSpace
    where that says so. timeout is in seconds, None waits for as long as its bounds let it. progress is called with the
    fraction done as `qemu-img -p` prints it. Of a silent tool more than a warning on stderr raises too: qemu-img exits
    0 when the last writes, as it closes an image, have failed.
    """
    with _started(tool, args, bounds, progress) as started:
        return _ended(started, answers, timeout, silent)


@contextmanager
def running(tool: str, *args: str) -> Iterator[None]:
    """Run a silent tool while the block runs, and wait for its end; errors as for run. A failing block kills it."""
    with _started(tool, args, limits.METADATA, None) as started:
        yield
        _ended(started, (0,), METADATA_TIMEOUT, silent=True)


class _Started(NamedTuple):
    """A tool that runs: its process, its command line for people, what it says on stderr."""

    process: "sh.RunningCommand"
    line: str
    said: printed.Errors


def _ended(started: _Started, answers: tuple[int, ...], timeout: float | None, silent: bool) -> Result:
    process, line, said = started
    status = _wait(process, line, timeout)
    if said.is_flooded:
        status = FLOODED
    result = Result(status, process.process.stdout.decode("utf-8", "replace"), said.text.strip())
    if status not in answers or (silent and any("warning: " not in said for said in result.stderr.splitlines())):
        raise _failure(line, result)
    return result


def load() -> None:
    """Load what starting a tool needs, so that the first one of a long-lived process starts as fast as the others."""
    _module()
    _libc()


@contextmanager
def _started(
    tool: str, args: tuple[str, ...], bounds: Limits, progress: Progress | None
) -> Iterator[_Started]:
    """
    Start tool for the block. A failing block kills it.

    A Ctrl-C is held back, where no other thread hears it, until the process is known: before, nobody could kill it. A
    second one waits until the process is gone: nothing may be undone while it works.
    """
    line, said = shlex.join((tool, *args)), printed.Errors()
    log.info("run %s", line)
    with _deaf() as before:
        process = _start(tool, args, functools.partial(_bind, _libc(), os.getpid(), bounds, before), progress, said)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield _Started(process, line, said)
        except BaseException:
            signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
            _kill(process)
            raise


@contextmanager
def _deaf() -> Iterator[set[signal.Signals | int]]:
    """Hold a Ctrl-C back for the block, and from threads that begin in it; gives the signals that were held before."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:  # around the holding back too: one may come just with it
        signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
        yield before
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    tool: str, args: tuple[str, ...], bind: Callable[[], None], progress: Progress | None, said: printed.Errors
) -> "sh.RunningCommand":
    return _module().Command(_find(tool))(  # type: ignore[no-any-return]
        *args,
        _bg=True,
        _bg_exc=False,
        _return_cmd=True,
        _tty_out=False,
        _close_fds=False,
        _out=printed.Reporter(progress) if progress else None,
        _out_bufsize=0 if progress else _PIECE,
        _err=said,
        _err_bufsize=_PIECE,
        _decode_errors="replace",
        _env=_environment(),
        _preexec_fn=bind,
    )


def _bind(libc: "ctypes.CDLL", parent: int, bounds: Limits, signals: set[signal.Signals | int]) -> None:
    """In the new process, before the tool: die with the parent, stay within the limits, hear signals as it would."""
    signal.pthread_sigmask(signal.SIG_SETMASK, signals)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl could tell
        os._exit(255)
    limits.apply(bounds)


def _wait(process: "sh.RunningCommand", line: str, timeout: float | None) -> int:
    """
    Return the exit code; negative for a signal, as subprocess has it.

    The clock is ours: sh's own makes every call take 100 ms, as it asks only so often whether the tool has ended.
    """
    late = threading.Event()
    clock = threading.Timer(timeout or threading.TIMEOUT_MAX, _expire, (process, late))
    clock.daemon = True
    try:
        with _deaf():
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


def _failure(line: str, result: Result) -> errors.Error:
    text = result.stderr or result.stdout.strip() or _ENDS.get(result.status, "it said nothing")
    if any(said in text for said in _FULL):
        return errors.NoSpace(what=f"no room: {text.splitlines()[-1]}; free some space and try again")
    if "File too large" in text:
        return errors.NoSpace(what=f"{text.splitlines()[-1]}; raise the limit with 'ulimit -f', then try again")
    return errors.CommandFailed(command=line, status=result.status, stderr=text)


_FULL = ("No space left on device", "Disk quota exceeded", "No space left in the file header")  # a rebase says so
_ENDS = {-signal.SIGXCPU: OVERTIME, -signal.SIGKILL: "it was killed"}


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
