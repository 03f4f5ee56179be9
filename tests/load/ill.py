"""Servers broken on purpose, each of which a load run must notice; this runs in the server's own process."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from snapengine.rest import lines, workers
from snapengine.rest.desk import Desk
from snapengine.rest.worker import Outcome
from tests.load import clients


def who_came_last_is_next() -> None:
    """Let each volume's line be a stack."""
    stacks = defaultdict[str, list["asyncio.Event"]](list)
    busy: set[str] = set()

    @asynccontextmanager
    async def turn(self: lines.Lines, volumes: Iterable[str]) -> AsyncIterator[None]:
        for volume in sorted(set(volumes)):
            while volume in busy:
                stacks[volume].append(asyncio.Event())
                await stacks[volume][-1].wait()
            busy.add(volume)
        try:
            yield
        finally:
            for volume in set(volumes):
                busy.discard(volume)
                if stacks[volume]:
                    stacks[volume].pop().set()

    setattr(lines.Lines, "turn", turn)


def all_stand_in_one_line() -> None:
    """Carry out one operation at a time, whatever it is on."""
    turn = lines.Lines.turn
    setattr(lines.Lines, "turn", lambda self, volumes: turn(self, ("all",)))


def reads_wait_for_writers() -> None:
    """Let a read stand in the line of its volume."""
    reply = Desk.reply

    async def waiting(self: Desk, said: Any, match: Any) -> Any:
        if match.calls[0].read is None:
            return await reply(self, said, match)
        query = said.request.scope["query_string"].decode()
        known = self._index.holding(match.at.get("uuid", ""))
        volume = known.contents.volume.uuid if known else query.partition("volumeUuid=")[2][:32]
        async with self._operations._lines.turn({volume or match.at.get("uuid", "")}):
            return await reply(self, said, match)

    setattr(Desk, "reply", waiting)


def some_creates_are_only_told() -> None:
    """Acknowledge every third snapshot of a writer, the first one too, and make none."""
    run, count = workers.Workers.run, itertools.count()

    async def told(self: workers.Workers, task: Any) -> Outcome:
        if task.name == "createVolumeSnapshot" and task.body.name != clients.LEFT and next(count) % 3 == 0:
            return Outcome(b'{"inventory":{"uuid":"%s"}}' % task.fresh.encode())
        return await run(self, task)

    setattr(workers.Workers, "run", told)


ILL: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (who_came_last_is_next, all_stand_in_one_line, reads_wait_for_writers, some_creates_are_only_told)
}


def fall(name: str) -> None:
    """Break the server of this process in this way; not at all where there is no name."""
    if name:
        ILL[name]()
