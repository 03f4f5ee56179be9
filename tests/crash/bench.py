"""The bench of the crash tests: it chooses where to cut a verb off, and does so in worker processes."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from tests.crash import cases, judge
from tests.crash.cases import STORES, VERBS, Case
from tests.crash.judge import Failure, Outcome, Prepared
from tests.crash.strace import NAMES, Call, Kill

NAMED, KILLS, FAILURES = 5, 2, 2  # points of a sample, for each verb: at calls that change a name, at others, failures
ERRORS = ("ENOSPC", "EIO")

Point = TypeVar("Point", Kill, Failure)


class Bench:
    """Prepares verbs and cuts them off, in worker processes, and keeps the outcomes for the table."""

    def __init__(
        self, pool: ProcessPoolExecutor, stores: Path, xfs: Path, whole: bool, outcomes: list[Outcome]
    ) -> None:
        self._pool = pool
        self._stores = stores
        self._xfs = xfs
        self._whole = whole
        self._outcomes = outcomes
        self._prepared: dict[str, Future[Prepared]] = {}

    def prepared(self, name: str) -> Prepared:
        """Return the verb called name with a store to work on; all verbs are prepared at once."""
        if not self._prepared:
            stores = {store: self._place(store) / store.replace(" ", "-") for store in STORES}
            for made in [self._pool.submit(cases.make_store, root, store) for store, root in stores.items()]:
                made.result()
            for each, verb in VERBS.items():
                self._prepared[each] = self._pool.submit(judge.prepared, each, stores[verb.store])
        return self._prepared[name].result()

    def _place(self, store: str) -> Path:
        """Return where a store lies: on a file system whose files can share extents if its name says so."""
        return self._xfs if store.endswith("on XFS") else self._stores

    def crashed(self, prepared: Prepared, at: Kill) -> Prepared:
        """Return the recovery from a kill at this point."""
        name = f"{prepared.case.name} crashed at {at.point.name} {at.point.nth}"
        return self._pool.submit(judge.crashed, prepared.case, at, name).result()

    def kill(self, prepared: Prepared) -> None:
        """Kill a verb everywhere, or at a sample of its calls, most of them changes of names."""
        self._cut(judge.kill, prepared.case, self._kills(prepared.calls))

    def kill_broken(self, prepared: Prepared, at: Kill, sabotage: str) -> Outcome:
        """Return how a kill of an engine that is broken on purpose ends."""
        name = f"{prepared.case.name} {sabotage}"
        return self._pool.submit(judge.kill_broken, prepared.case, at, name, sabotage).result()

    def fail(self, prepared: Prepared) -> None:
        """Let each call of a verb fail twice, for different reasons, or a sample of them."""
        self._cut(judge.fail, prepared.case, self._failures(prepared.calls))

    def fail_each(self, prepared: Prepared, name: str) -> None:
        """Let each call of this name fail, as on a full disk."""
        calls = [call for call in prepared.calls if call.point.name == name]
        self._cut(judge.fail, prepared.case, [Failure(call, "ENOSPC") for call in calls])

    def _cut(self, how: Callable[[Case, Point, str], Outcome], case: Case, points: Sequence[Point]) -> None:
        futures = [self._pool.submit(how, case, at, f"{case.name} {n}") for n, at in enumerate(points)]
        outcomes = [future.result() for future in futures]
        self._outcomes += outcomes
        wrong = [outcome for outcome in outcomes if outcome.end == "wrong"]
        if wrong:
            shown = "".join(f"\n{o.verb}, {o.what}: {o.why}" for o in wrong[:3])
            pytest.fail(f"{len(wrong)} of {len(outcomes)} points end wrong{shown}", pytrace=False)
        assert outcomes, "there is no point to cut it off at"

    def _kills(self, calls: tuple[Call, ...]) -> list[Kill]:
        if self._whole:
            tools = [call.point for call in calls if call.thread != calls[0].thread]
            return [*(Kill(call.point, True) for call in calls), *(Kill(point, False) for point in tools)]
        named = [call.point for call in calls if call.point.name in NAMES]
        others = [call.point for call in calls if call.point.name not in NAMES]
        chance = random.Random(str(named + others))
        chosen = [*chance.sample(named, min(NAMED, len(named))), *chance.sample(others, min(KILLS, len(others)))]
        return [Kill(point, n % 2 == 0) for n, point in enumerate(chosen)]

    def _failures(self, calls: tuple[Call, ...]) -> list[Failure]:
        distinct = list({(call.point.name, call.path, call.number): call for call in calls}.values())
        if self._whole:
            return [Failure(call, error) for error in ERRORS for call in distinct]
        spread = random.Random(str(distinct)).sample(distinct, min(FAILURES, len(distinct)))
        return [Failure(call, ERRORS[n % 2]) for n, call in enumerate(spread)]
