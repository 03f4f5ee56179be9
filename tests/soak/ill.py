"""Servers broken on purpose, each of which the soak must notice; this runs in the server's own process."""

import asyncio
from collections.abc import Callable
from typing import Any

from snapengine.rest import jobs, workers
from snapengine.rest.worker import Outcome

_KEPT: set["asyncio.Task[Outcome]"] = set()


def acknowledges_before_the_commit() -> None:
    """Answer a revert as soon as a worker was asked."""
    run = workers.Workers.run

    async def early(self: workers.Workers, task: Any) -> Outcome:
        going = asyncio.create_task(run(self, task))
        if task.name != "revertVolumeFromSnapshot":
            return await going
        _KEPT.add(going)
        return Outcome(b"{}")

    setattr(workers.Workers, "run", early)


def writes_no_job_down() -> None:
    """Keep jobs in memory alone."""
    setattr(jobs, "begin", lambda root, job: None)


ILL: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (acknowledges_before_the_commit, writes_no_job_down)
}


def fall(name: str) -> None:
    """Break the server of this process in this way; not at all where there is no name."""
    if name:
        ILL[name]()
