"""The bench of the crash tests as a fixture, and the table of what came out."""

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack

import pytest

from tests import privileged
from tests.crash.bench import Bench
from tests.crash.judge import ENDS, Outcome

WORKERS = 4  # each sleeps most of the time, while calls are held

_outcomes = pytest.StashKey[list[Outcome]]()


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The bench, and its workers."""
    whole = bool(request.config.getoption("--crash-all"))
    outcomes = request.config.stash.setdefault(_outcomes, [])
    stores = tmp_path_factory.mktemp("crash")
    with ExitStack() as stack:
        disk = stack.enter_context(privileged.xfs(stores, 1024))
        pool = stack.enter_context(ProcessPoolExecutor(WORKERS, multiprocessing.get_context("forkserver")))
        yield Bench(pool, stores, disk, whole, outcomes)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table of outcomes, after a whole run."""
    outcomes = config.stash.get(_outcomes, [])
    if not outcomes or not config.getoption("--crash-all"):
        return
    terminalreporter.section("verbs that were cut off")
    terminalreporter.line(_line("verb, and how it was cut off", "points", *ENDS, "missed"))
    rows = sorted({_row(outcome) for outcome in outcomes})
    for row in rows:
        terminalreporter.line(_sums(row, [outcome for outcome in outcomes if _row(outcome) == row]))
    terminalreporter.line(_sums("all", outcomes))


def _row(outcome: Outcome) -> str:
    return f"{outcome.verb}: {outcome.what.split(' at ')[0]}"


def _sums(row: str, outcomes: list[Outcome]) -> str:
    ends = Counter(outcome.end for outcome in outcomes)
    missed = sum(not outcome.exact for outcome in outcomes)
    return _line(row, len(outcomes), *(ends[end] for end in ENDS), missed)


def _line(first: str, *rest: object) -> str:
    return f"{first:60}" + "".join(f"{value:>8}" for value in rest)
