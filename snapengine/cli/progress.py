"""Show how far a long command is: on a terminal only, and only if it takes longer than a moment."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from snapengine.cli import settings, show

if TYPE_CHECKING:
    from snapengine.cli.drawing import Bar

MOMENT = 1.0  # seconds


@contextmanager
def shown(label: str, total: Callable[[], int]) -> Iterator[Callable[[float], None] | None]:
    """Give what is told the fraction done, total() the bytes of the whole; None where nobody would see it."""
    if settings.current().quiet or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    report = _Report(label, total)
    try:
        yield report
    finally:
        report.close()


class _Report:
    def __init__(self, label: str, total: Callable[[], int]) -> None:
        self._label = label
        self._total = total
        self._begun = time.monotonic()
        self._bar: Bar | None = None

    def __call__(self, fraction: float) -> None:
        if self._bar is None and time.monotonic() - self._begun >= MOMENT:
            self._bar = show.drawing().Bar(self._label, self._total())
        if self._bar is not None:
            self._bar.advance(fraction)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
