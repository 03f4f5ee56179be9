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


class Pair(NamedTuple):
    """
    Two subjects compared: the median of each in seconds, and of the ratios of neighbouring runs the quartiles.

    ratio is the median of these, low and high are the first and the third quartile.
    """

    ours: float
    bare: float
    ratio: float
    low: float
    high: float


def alternate(ours: Subject, bare: Subject, runs: int, scratch: Path, warm_up: int = WARM_UP) -> Pair:
    """Run both in turn, runs times each after the warm-up; a file in the directory scratch is written in between."""
    pairs = [(timed(ours, scratch), timed(bare, scratch)) for _ in range(warm_up + runs)][warm_up:]
    low, ratio, high = _quartiles([first / second for first, second in pairs])
    return Pair(statistics.median(p[0] for p in pairs), statistics.median(p[1] for p in pairs), ratio, low, high)


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


def _quartiles(ratios: list[float]) -> tuple[float, float, float]:
    if len(ratios) == 1:
        return ratios[0], ratios[0], ratios[0]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return low, middle, high
