"""
A worker process: carries out one call after the other, and tells how each ended.

A verb starts tools, whose death is bound to the thread that started them, and forks: neither goes with a server's
threads. A worker whose server is gone finishes what it is at, writes down the result where the call is a job, and ends;
what it has not begun by then it does not begin.
"""

import select
import signal
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from snapengine import command, journal, lock
from snapengine.engine import Engine
from snapengine.rest import answers, cut_off, faults, jobs, routes
from snapengine.rest.bodies import Body
from snapengine.rest.index import Index
from snapengine.rest.things import Thing


class Task(NamedTuple):
    """
    A call as it goes to a worker; request names it in the journal, job and fresh are as the server asks it.

    It may become a job while it runs. unknown is what it touches that was not there when its account asked.
    """

    name: str
    at: dict[str, str]
    body: Body
    request: str
    job: str
    fresh: str
    schema: bool = False
    cut_off: bool = False  # it was begun before, by a process that died: only tell what became of it
    unknown: tuple[Thing, ...] = ()


class Outcome(NamedTuple):
    """
    How a call ended: body is its answer in JSON, code the error's where it failed, trace a bug's.

    written is how many bytes the call wrote, its tools among it; waits how long, in seconds, it waited for each lock.
    Where is_known is false, as processes died, whoever asks later is told by what is there.
    """

    body: bytes
    code: str | None = None
    trace: str | None = None
    written: int = 0
    waits: tuple[float, ...] = ()
    is_known: bool = True


class Stopped(BaseException):
    """The server wants the worker to end: what is under way is undone."""


def main(pipe: Connection, root: str, wait: float) -> None:
    """Carry out what comes through pipe, until that ends or SIGTERM comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C goes to the whole terminal; the server decides
    signal.signal(signal.SIGTERM, _stop)
    engine = Engine(Path(root), (), wait)
    try:
        command.load()
        while signal.getsignal(signal.SIGTERM) is _stop:
            task = pipe.recv()
            with jobs.working(engine.root, task.job):
                _require_server(pipe)
                outcome = carry_out(engine, task)
            pipe.send(outcome)
            journal.forget(engine.root, task.request)
    except (EOFError, BrokenPipeError, ConnectionResetError, Stopped):
        pass


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # undoing is not stopped in turn
    raise Stopped


def _require_server(pipe: Connection) -> None:
    """
    Raise EOFError where the server is gone: a call that nobody worked on when it went is not begun any more.

    The next server takes such a call for cut off, and may have told so by now.
    """
    looking = select.poll()
    looking.register(pipe.fileno(), select.POLLHUP)
    if looking.poll(0):
        raise EOFError


def carry_out(engine: Engine, task: Task) -> Outcome:
    """Return how a call ended; never raises, and the result of a job is durable. The caller is known to work on it."""
    with lock.watched() as waits:
        before = _written()
        outcome = _done(engine, task)
        outcome = outcome._replace(written=_written() - before, waits=tuple(waits))
        jobs.end(engine.root, task.job, outcome.code is None, outcome.body)
    return outcome


def _written() -> int:
    """Return how many bytes this process has written, with its children that have ended (proc(5)); 0 if untold."""
    with suppress(OSError, KeyError, ValueError):
        told = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return int(told["wchar"])
    return 0


def _done(engine: Engine, task: Task) -> Outcome:
    verb = routes.BY_NAME[task.name].verb
    assert verb is not None
    if task.cut_off:
        verb = cut_off.verdict(task.name, task.request, task.fresh)
    try:
        if task.unknown:  # what another account has made since is no less its own
            Index(engine.root).require_own(task.unknown, task.at["account"])
        reply = verb(engine.asked_by(task.request, task.fresh), task.at, task.body)
        return Outcome(answers.document(reply, task.schema))
    except Stopped:
        what = "the server was stopped while the operation ran; it was undone, unless it was already done"
        return failed(faults.Cancelled(what=what))
    except Exception as e:
        return failed(e)


def failed(e: Exception) -> Outcome:
    """Return the outcome of what ended with an error."""
    told = faults.of(e)
    if told is None:
        trace = "".join(traceback.format_exception(e))
        return Outcome(answers.fault(faults.internal()), faults.internal().code, trace)
    return Outcome(answers.fault(told), told.code)
