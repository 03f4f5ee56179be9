"""
Run two things in turn, A B A B, and compare them.

Both meet the same other work on the machine, so that their ratio stays what it is where their times do not.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

WARM_UP = 2  # pairs that are run first and not counted


class Missing(Exception):
    """Something that a benchmark needs is not on this machine; the text says what."""


def _nothing() -> None:
    pass


class Subject(NamedTuple):
    """What is timed, and what is done before each run without being timed."""

    run: Callable[[], object]
    ready: Callable[[], object] = _nothing


class Middle(NamedTuple):
    """The median of some figures, and their first and third quartile."""

    median: float
    low: float
    high: float


class Pair(NamedTuple):
    """Two subjects compared: the median of each in seconds; of neighbouring runs the ratios and the differences."""

    ours: float
    bare: float
    ratio: Middle
    difference: Middle


def alternate(ours: Subject, bare: Subject, runs: int, scratch: Path, warm_up: int = WARM_UP) -> Pair:
    """Run both in turn, runs times each after the warm-up; a file in the directory scratch is written in between."""
    pairs = [(timed(ours, scratch), timed(bare, scratch)) for _ in range(warm_up + runs)][warm_up:]
    return Pair(
        statistics.median(first for first, _ in pairs),
        statistics.median(second for _, second in pairs),
        _middle([first / second for first, second in pairs]),
        _middle([first - second for first, second in pairs]),
    )


def timed(subject: Subject, scratch: Path) -> float:
    """Run subject once and return the seconds that it took."""
    subject.ready()
    _settle(scratch)
    start = time.perf_counter()
    subject.run()
    return time.perf_counter() - start


def _settle(scratch: Path) -> None:
    """Sync a new file: a journalling file system then has nothing left over that the next sync would pay for."""
    path = scratch / "settle"
    with open(path, "w") as f:
        f.write("settle")
        f.flush()
        os.fsync(f.fileno())
    path.unlink()


def _middle(figures: list[float]) -> Middle:
    if len(figures) == 1:
        return Middle(figures[0], figures[0], figures[0])
    low, middle, high = statistics.quantiles(figures, n=4, method="inclusive")
    return Middle(middle, low, high)
