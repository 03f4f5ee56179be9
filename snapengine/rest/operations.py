"""Operations: calls that change something, each checked, put in line, and carried out by a worker."""

import logging
import time
from contextlib import suppress
from typing import NamedTuple

from snapengine import errors, layout
from snapengine.rest import faults, worker
from snapengine.rest.authority import Who
from snapengine.rest.bodies import Body
from snapengine.rest.hooks import Hook
from snapengine.rest.index import Index
from snapengine.rest.lines import Lines
from snapengine.rest.measured import Measured
from snapengine.rest.routes import BY_NAME, Call
from snapengine.rest.things import At, Thing
from snapengine.rest.worker import Outcome, Task
from snapengine.rest.workers import Died, Workers

log = logging.getLogger(__name__)

TRIES = 5  # of finding out what became of a call


class Asked(NamedTuple):
    """
    A call as a client made it; request is its id in the access log, schema whether it wants a schema map.

    job is the uuid that it has as a job, if it becomes one; fresh that of what it makes, where the client gave none:
    both are known beforehand, so that its outcome can be told whatever happens meanwhile.
    """

    call: Call
    at: At
    body: Body
    who: Who
    request: str
    job: str
    fresh: str
    schema: bool = False
    hook: Hook | None = None

    @property
    def told(self) -> dict[str, str]:
        """Return what stands in the path, and which account asks, as a worker and a job's file are told."""
        return {**self.at, "account": self.who.uuid}


class Operations:
    """What the server is at. Once stopping is set nothing new is begun."""

    def __init__(self, index: Index, workers: Workers, lines: Lines, measured: Measured) -> None:
        self._index = index
        self._workers = workers
        self._lines = lines
        self._measured = measured
        self.stopping = False
        self.running = 0

    async def run(self, asked: Asked) -> Outcome:
        """Carry out a call and return how it ended; never raises but for a bug of the server."""
        try:
            (volumes, unknown), since = self._touched(asked), time.monotonic()
            async with self._lines.turn(volumes):
                self._require_going_on()
                begun = time.monotonic()
                outcome = await self._carried_out(asked, unknown)
                self._measured.note(asked.call.name, outcome, begun - since, time.monotonic() - begun)
                return outcome
        except Exception as e:
            outcome = _failed(e)
            if outcome.trace:
                log.error("request %s: %s", asked.request, outcome.trace)
            return outcome

    def _touched(self, asked: Asked) -> tuple[list[str], tuple[Thing, ...]]:
        """
        Return the volumes that a call works on, and what it touches that is unknown.

        Missing for an unknown object, Forbidden for another account's, Invalid for what may be unknown but is no uuid.
        """
        found, unknown = list[str](), list[Thing]()
        for thing, place in self._index.places(asked.call.touches(asked.at, asked.body), asked.who.only):
            if place is None and not thing.optional:
                raise faults.Missing(field=thing.field, uuid=thing.uuid[:64], type=thing.type)
            if place is None and not layout.is_uuid(thing.uuid):
                raise errors.Invalid(what=f"{thing.field}: {thing.uuid[:64]!r} is no uuid; give 32 digits of 0-9a-f")
            found += place.volumes if place is not None else ()
            unknown += [thing] if place is None else []
        return found, tuple(unknown)

    def _require_going_on(self) -> None:
        if self.stopping:
            raise faults.Cancelled(what="the server stops, and had not begun the operation; ask again later")

    async def _carried_out(self, asked: Asked, unknown: tuple[Thing, ...]) -> Outcome:
        said = asked.call.name, asked.told, asked.body, asked.request, asked.job, asked.fresh, asked.schema
        task = Task(*said, unknown=() if asked.who.is_admin else unknown)
        self.running += 1
        try:
            try:
                outcome = await self._workers.run(task)
            except Died:
                outcome = await self._decided(task)
        finally:
            self.running -= 1
        if outcome.trace:
            log.error("request %s: %s", asked.request, outcome.trace)
        return outcome

    async def settle(self, task: Task) -> Outcome:
        """
        Find out what became of a call that another server had begun, or written down and not yet looked at.

        Whoever asked is told nothing of what is another account's.
        """
        account = task.at.get("account", "")
        try:
            only = None if account == layout.ADMIN else account
            self._index.require_own(BY_NAME[task.name].touches(task.at, task.body), only)
            return await self._decided(task)
        except errors.Error as e:
            return _failed(e)

    async def _decided(self, task: Task) -> Outcome:
        """Return what became of a call whose process died; Died where those that look die too, or the server stops."""
        for _ in range(TRIES):
            if self.stopping:
                break
            with suppress(Died):
                return await self._workers.run(task._replace(cut_off=True))
        raise Died


def _failed(e: Exception) -> Outcome:
    return worker.failed(e)._replace(is_known=not isinstance(e, Died))
