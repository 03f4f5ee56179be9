"""The jobs of a server: those that run here, those that ended lately, and all others by their files."""

import asyncio
import functools
import logging
import time
from collections import OrderedDict
from pathlib import Path

import msgspec

from snapengine import errors, inventory, translation
from snapengine.rest import jobs, routes
from snapengine.rest.faults import Envelope, Malformed
from snapengine.rest.hooks import Hook, Hooks
from snapengine.rest.jobs import Job
from snapengine.rest.operations import Asked, Operations
from snapengine.rest.worker import Outcome, Task

log = logging.getLogger(__name__)

MAX_ENDED = 2000  # outcomes in memory; all but those of refused calls are in files too
SWEEP = 60.0  # seconds between two looks for jobs that can be forgotten: 10 us for each that is kept
RUNNING = Outcome(b"{}", "running")


class Registry:
    """Jobs by their uuid."""

    def __init__(self, root: Path, operations: Operations, hooks: Hooks) -> None:
        self._root = root
        self._operations = operations
        self._hooks = hooks
        self._taken: set[str] = set()
        self._running: dict[str, asyncio.Task[Outcome]] = {}
        self._ended: OrderedDict[str, tuple[float, Outcome]] = OrderedDict()
        self._resumed: set[asyncio.Task[None]] = set()
        self._swept = float("-inf")

    @property
    def count(self) -> int:
        """Return how many jobs run."""
        return len(self._running)

    async def begin(self, asked: Asked) -> "asyncio.Task[Outcome]":
        """
        Begin a call as a job, once that is written down; returns what ends with its outcome.

        Raises Malformed (400) where there is one of its uuid already, NoSpace and Denied where it can't be written.
        """
        uuid = asked.job
        self._require_new(uuid)
        self._taken.add(uuid)
        try:
            with translation.translated(), jobs.working(self._root, uuid):
                await self._write(asked)
                begun = self._follow(uuid, asyncio.create_task(self._run(asked)))
                await asyncio.sleep(0)  # it works on the job itself now: another server may be polled at once
        except FileExistsError as e:
            raise _duplicate(uuid) from e
        finally:
            self._taken.discard(uuid)
        return begun

    async def adopt(self, asked: Asked, task: "asyncio.Task[Outcome]") -> None:
        """Make a job of a call that runs already; where that can't be written down it is kept in memory alone."""
        uuid = asked.job
        self._follow(uuid, task)
        try:
            await self._write(asked)
        except (OSError, errors.Error) as e:
            log.warning("job %s is not written down: %s", uuid, e)
        else:
            self._follow(uuid, asyncio.create_task(self._written(uuid, task)))

    async def _write(self, asked: Asked) -> None:
        """Write a job down; from time to time those go first that can be forgotten."""
        if time.monotonic() - self._swept > SWEEP:
            self._swept = time.monotonic()
            await asyncio.to_thread(jobs.sweep, self._root)
        await asyncio.to_thread(jobs.begin, self._root, _job(asked))

    def refuse(self, uuid: str, outcome: Outcome, hook: Hook | None) -> None:
        """Let a call that was refused at the door end as a job, since its client looks for the error there."""
        self._require_new(uuid)
        self._end(uuid, outcome)
        self._tell(hook, uuid, outcome)

    def resume(self) -> None:
        """Let nobody else list the jobs, and go on with what a server before this one owed to hooks."""
        jobs.shut(self._root)
        for job in jobs.owing(self._root):
            try:
                hook = self._hooks.wanted(job.hook)
            except Malformed:  # the setting has changed since
                jobs.told(self._root, job.uuid)
            else:
                self._resumed.add(task := asyncio.create_task(self._owed(job.uuid, hook)))
                task.add_done_callback(self._resumed.discard)

    async def _owed(self, uuid: str, hook: Hook | None) -> None:
        while (outcome := self.poll(uuid)) is RUNNING:
            await asyncio.sleep(0.2)
        if outcome is not None:
            self._tell(hook, uuid, outcome)

    def _tell(self, hook: Hook | None, uuid: str, outcome: Outcome) -> None:
        if hook is not None:
            self._hooks.post(hook, uuid, outcome, functools.partial(jobs.told, self._root, uuid))

    def _require_new(self, uuid: str) -> None:
        if uuid in self._taken or uuid in self._running or uuid in self._ended:
            raise _duplicate(uuid)

    def _follow(self, uuid: str, task: "asyncio.Task[Outcome]") -> "asyncio.Task[Outcome]":
        self._running[uuid] = task

        def ended(done: "asyncio.Task[Outcome]") -> None:
            if self._running.get(uuid) is done:
                del self._running[uuid]
            if not done.cancelled() and done.exception() is None:
                self._end(uuid, done.result())

        task.add_done_callback(ended)
        return task

    def _end(self, uuid: str, outcome: Outcome) -> None:
        if not outcome.is_known:
            return
        self._ended[uuid] = (time.monotonic(), outcome)
        while len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    async def _run(self, asked: Asked) -> Outcome:
        outcome = await self._written(asked.job, asyncio.create_task(self._operations.run(asked)))
        self._tell(asked.hook, asked.job, outcome)
        return outcome

    async def _written(self, uuid: str, task: "asyncio.Task[Outcome]") -> Outcome:
        """Return the outcome of a job once it is in its file; the worker has written it, unless it never had it."""
        with jobs.working(self._root, uuid):
            outcome = await task
            if outcome.is_known:
                await asyncio.to_thread(jobs.end, self._root, uuid, outcome.code is None, outcome.body)
        return outcome

    def poll(self, uuid: str) -> Outcome | None:
        """Return how a job ended, RUNNING while it runs; None for one that is unknown or forgotten."""
        if uuid in self._running or uuid in self._taken:
            return RUNNING
        if uuid in self._ended:
            since, outcome = self._ended[uuid]
            return outcome if time.monotonic() - since < jobs.KEPT else None
        job = jobs.read(self._root, uuid)
        if job is None:
            return None
        if job.status == "done":
            return Outcome(bytes(job.answer))
        if job.status == "failed":
            return Outcome(bytes(job.answer), msgspec.json.decode(job.answer, type=Envelope).error.code)
        if not jobs.is_worked_on(self._root, uuid):
            settling = asyncio.create_task(self._operations.settle(_task(job)))
            self._follow(uuid, asyncio.create_task(self._written(uuid, settling)))
        return RUNNING


def _duplicate(uuid: str) -> Malformed:
    return Malformed(400, f"Duplicate job uuid[{uuid}]")


def _job(asked: Asked) -> Job:
    return Job(
        schema_version=inventory.SCHEMA_VERSION,
        uuid=asked.job,
        name=asked.call.name,
        at=asked.told,
        body=msgspec.Raw(msgspec.json.encode(asked.body)),
        request=asked.request,
        fresh=asked.fresh,
        created=int(time.time()),
        hook=None if asked.hook is None else asked.hook.url,
    )


def _task(job: Job) -> Task:
    """Return the call that a job's file tells of."""
    body = msgspec.json.decode(job.body, type=routes.BY_NAME[job.name].body)
    return Task(job.name, job.at, body, job.request, job.uuid, job.fresh)
