"""Processes that try power cuts, each on disks of its own."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

from tests import privileged
from tests.powercut.stage import Outcome, Stage

WORKERS = 2
KEPT = Path(".powercut")  # where the disks of cuts go that end wrong
_AHEAD = 8  # jobs, running ones among them, that are fixed already
_ROOM = 2 * 2**20  # KiB, of memory, for the disks of one worker at most

Answer = TypeVar("Answer")


class Job(NamedTuple):
    """So many cuts of a verb on a file system, chosen by a seed; broken as in Stage.tried."""

    kind: str
    verb: str
    seed: int = 0
    cuts: int = 0
    broken: str | None = None


@contextmanager
def pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Have so many workers for the block. SIGTERM ends it as Ctrl-C does: nothing stays mounted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    context = multiprocessing.get_context("forkserver")
    with _places(workers) as places:
        free = context.Queue()
        for place in places:
            free.put(place)
        with ProcessPoolExecutor(workers, context, _enter, (free,)) as executor:
            try:
                yield executor
            finally:
                executor.shutdown(cancel_futures=True)


def done(
    executor: ProcessPoolExecutor, work: Callable[[Job], Answer], jobs: Iterable[Job]
) -> Iterator[tuple[Job, Answer]]:
    """Give each job, when work is done on it, and the answer; asks for the next job only when it is soon begun."""
    waiting, running = iter(jobs), dict[Future[Answer], Job]()
    while True:
        for job in islice(waiting, _AHEAD - len(running)):
            running[executor.submit(work, job)] = job
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


def tried(job: Job) -> list[Outcome]:
    """Return how the cuts of a job end."""
    return list(_stage(job.kind).tried(job.verb, job.seed, job.cuts, job.broken, recoveries=job.broken is None))


def syncs(job: Job) -> list[str]:
    """Return where the engine syncs in a job's verb."""
    return _stage(job.kind).syncs(job.verb)


@contextmanager
def _places(number: int) -> Iterator[list[Path]]:
    """Have so many directories in memory for the block."""
    with TemporaryDirectory(prefix="powercut-") as top, ExitStack() as stack:
        yield [stack.enter_context(privileged.small_disk(Path(top, str(n)), _ROOM)) for n in range(number)]


_place = Path()
_stages: dict[str, Stage] = {}


def _enter(free: "multiprocessing.Queue[Path]") -> None:
    """Take a place, as a worker."""
    global _place
    _place = free.get()


def _stage(kind: str) -> Stage:
    if kind not in _stages:
        directory = _place / kind
        directory.mkdir()
        _stages[kind] = Stage(directory, kind, KEPT.absolute())
    return _stages[kind]
