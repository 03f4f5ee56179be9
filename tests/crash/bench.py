"""The bench of the crash tests: stores and prepared verbs, made once, and worker processes that cut the verbs off."""

import fcntl
import multiprocessing
import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from tests import images, privileged
from tests.crash import judge, points, stores
from tests.crash.cases import VERBS, Case
from tests.crash.judge import Failure, Interrupt, Outcome, Prepared
from tests.crash.strace import Kill

Point = TypeVar("Point", Kill, Failure, Interrupt, int)
Made = TypeVar("Made")


class Bench:
    """
    Prepares verbs and cuts them off, in worker processes.

    shared is where stores and what is known of them lie, for all benches of a run, each of which has a name of its own.
    disk gives the directory of a file system whose files can share extents, for those stores that need it.
    """

    def __init__(self, name: str, pool: ProcessPoolExecutor, shared: Path, disk: Callable[[], Path]) -> None:
        self._name = name
        self._pool = pool
        self._shared = shared
        self._disk = disk

    def prepared(self, name: str) -> Prepared:
        """Return the verb called name with a store to work on."""
        kind = VERBS[name].store
        place = self._disk() if needs_reflinks(kind) else self._shared
        store = place / kind.replace(" ", "-")
        _once(place / f"{store.name}.made", lambda: self._pool.submit(stores.make, store, kind).result())
        return _once(place / f"{name}.prepared", lambda: self._pool.submit(judge.prepared, name, store).result())

    def crashed(self, prepared: Prepared, at: Kill) -> Prepared:
        """Return the recovery from a kill at this point."""
        name = f"{self._name} {prepared.case.name} crashed at {at.point.name} {at.point.nth}"
        return self._pool.submit(judge.crashed, prepared.case, at, name).result()

    def looked(self, prepared: Prepared) -> Prepared:
        """Return a verb with those of its calls, too, that only look."""
        return self._pool.submit(judge.listed, prepared.case, looks=True).result()

    def kills(self, prepared: Prepared, kills: Sequence[Kill] | None = None) -> list[Outcome]:
        """Kill a verb at these points, or at a sample of its calls, most of them changes of names."""
        return self._cut(judge.kill, prepared.case, points.some_kills(prepared.calls) if kills is None else kills)

    def failures(self, prepared: Prepared, failures: Sequence[Failure] | None = None) -> list[Outcome]:
        """Let these calls of a verb fail, or a sample of them."""
        found = points.some_failures(prepared.calls) if failures is None else failures
        return self._cut(judge.fail, prepared.case, found)

    def interrupts(self, prepared: Prepared, interrupts: Sequence[Interrupt]) -> list[Outcome]:
        """Press Ctrl-C at these calls of a verb."""
        return self._cut(judge.interrupt, prepared.case, interrupts)

    def full(self, prepared: Prepared, rooms: Sequence[int] | None = None) -> list[Outcome]:
        """
        Run a verb with so many bytes of room on a disk that is full else, or with more and more until there is enough.

        No other verb runs.
        """
        if rooms is not None:
            return self._cut(judge.full, prepared.case, rooms)
        outcomes, little = list[Outcome](), 0
        for room in points.rooms():
            (outcome,) = self._cut(judge.full, prepared.case, [room])
            outcomes.append(outcome)
            if not outcome.exact:
                return outcomes + self._cut(judge.full, prepared.case, points.between(little, room))
            little = room
        return outcomes

    def cut_broken(
        self, how: Callable[[Case, Point, str, str], Outcome], prepared: Prepared, at: Point, sabotage: str
    ) -> Outcome:
        """Return how it ends that an engine which is broken on purpose is cut off, how being a function of judge's."""
        name = f"{self._name} {prepared.case.name} {sabotage}"
        return self._pool.submit(judge.cut_broken, how, prepared.case, at, name, sabotage).result()

    def _cut(self, how: Callable[[Case, Point, str], Outcome], case: Case, at: Sequence[Point]) -> list[Outcome]:
        name = f"{self._name} {case.name} {how.__name__}"
        futures = [self._pool.submit(how, case, point, f"{name} {n}") for n, point in enumerate(at)]
        return [future.result() for future in futures]


def needs_reflinks(store: str) -> bool:
    """Tell whether a store is only of use on a file system whose files can share extents."""
    return store.endswith("on XFS")


def all_right(outcomes: Sequence[Outcome]) -> None:
    """Assert that verbs were cut off, and that none ended wrong."""
    wrong = [outcome for outcome in outcomes if outcome.end == "wrong"]
    shown = "".join(f"\n{o.verb}, {o.what}: {o.why}" for o in wrong[:3])
    assert not wrong, f"{len(wrong)} of {len(outcomes)} points end wrong{shown}"
    assert outcomes, "there is no point to cut it off at"


def _once(file: Path, make: Callable[[], Made]) -> Made:
    """Return what make returns, called once for all processes that use this file."""
    with open(file, "a+b") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        if known := f.read():
            found: Made = pickle.loads(known)
            return found
        made = make()
        f.write(pickle.dumps(made))
        return made


@contextmanager
def opened(name: str, workers: int, shared: Path, own: Path, has_reflinks: bool = False) -> Iterator[Bench]:
    """Give a bench with its workers; own is a directory that no other one uses, has_reflinks tells of shared."""
    with ExitStack() as stack:
        known = shared / "known"
        known.mkdir(exist_ok=True)
        context = multiprocessing.get_context("forkserver")
        pool = stack.enter_context(ProcessPoolExecutor(workers, context, images.share, (known,)))
        mounted = [shared] if has_reflinks else []

        def disk() -> Path:
            if not mounted:
                mounted.append(stack.enter_context(privileged.xfs(own, 1024)))
            return mounted[0]

        yield Bench(name, pool, shared, disk)
