"""The worker processes of a server: so many calls run side by side; one that dies, or is worn, is replaced."""

import asyncio
import logging
import multiprocessing
import os
import signal
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from snapengine import errors
from snapengine.rest import worker
from snapengine.rest.worker import Outcome, Task

CALLS = 500  # that a worker carries out before another one takes its place: its memory grows by kilobytes with each

log = logging.getLogger(__name__)


class Died(errors.Error):
    """A worker died in the middle of a call; recovery puts right what it left, and tells what became of it."""

    msg = "the process that carried out the operation died; see what is there, then try again"


class _Worker(NamedTuple):
    process: ForkServerProcess
    pipe: Connection


class Workers:
    """
    A pool of worker processes on the store at root.

    They come from a fork server that has loaded all modules and has no threads. wait is how long a verb waits for
    another operation of the engine, such as one of the command line.
    """

    def __init__(self, root: Path, count: int, wait: float) -> None:
        self._root = root
        self._wait = wait
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["snapengine.rest.worker"])
        self._all: set[_Worker] = set()
        self._calls: Counter[_Worker] = Counter()
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()
        self.count = count

    def start(self) -> None:
        """Start the processes."""
        for _ in range(self.count):
            self._idle.put_nowait(self._start())

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=worker.main, args=(theirs, str(self._root), self._wait), daemon=True, name="snapengine worker"
        )
        process.start()
        theirs.close()
        started = _Worker(process, ours)
        self._all.add(started)
        return started

    async def run(self, task: Task) -> Outcome:
        """Carry out a call as soon as a worker is free, and return how it ended. Raises Died where the worker did."""
        chosen = await self._idle.get()
        try:
            chosen.pipe.send(task)
            await _readable(chosen.pipe)
            outcome: Outcome = chosen.pipe.recv()
        except (EOFError, OSError) as e:
            log.error("worker %s died during %s", chosen.process.pid, task.request)
            self._idle.put_nowait(self._replaced(chosen))
            raise Died() from e
        self._calls[chosen] += 1
        self._idle.put_nowait(chosen if self._calls[chosen] < CALLS else self._replaced(chosen))
        return outcome

    def _replaced(self, old: _Worker) -> _Worker:
        """Let a worker end, if it has not, once it has put away what it did last; return another one."""
        self._all.discard(old)
        del self._calls[old]
        old.pipe.close()
        return self._start()

    def stop(self) -> None:
        """Let every worker undo what it is at, then end."""
        for each in self._all:
            with suppress(ProcessLookupError, TypeError):
                os.kill(each.process.pid, signal.SIGTERM)  # type: ignore[arg-type]

    def are_alive(self) -> bool:
        """Tell whether any worker runs."""
        return any(each.process.is_alive() for each in self._all)

    async def ended(self, seconds: float) -> None:
        """Wait for the workers to end for so many seconds; kill those that have not: recovery does the rest."""
        deadline = asyncio.get_running_loop().time() + seconds
        for each in self._all:
            while each.process.is_alive() and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.02)
            each.process.kill()
            each.process.join(1.0)
            each.pipe.close()


async def _readable(pipe: Connection) -> None:
    """Wait until something comes through pipe, or it ends."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(pipe.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(pipe.fileno())
