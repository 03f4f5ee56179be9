"""One line of the result, and what measures it."""

from collections.abc import Callable
from typing import NamedTuple

from bench.measure import Pair
from bench.site import Site


class Row(NamedTuple):
    """
    What came out of one benchmark.

    value is what the target bounds, None where it could not be measured, as why then tells: a ratio, or MiB where
    unit says so. ours and bare are in unit ("ms" or "MiB"); low and high are the quartiles of a ratio.
    """

    name: str
    what: str
    target: float
    unit: str = "ms"
    ours: float | None = None
    bare: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""

    @property
    def is_met(self) -> bool:
        """Tell whether the target was reached."""
        return self.value is not None and self.value <= self.target


class Bench(NamedTuple):
    """A benchmark: its name for --only, what it compares, the target, how often it runs, and how."""

    name: str
    what: str
    target: float
    runs: int
    measure: "Callable[[Bench, Site], Row]"

    def row(self, pair: Pair) -> Row:
        """Return the row of a ratio."""
        ms = 1000 * pair.ours, 1000 * pair.bare
        return Row(self.name, self.what, self.target, "ms", *ms, pair.ratio, pair.low, pair.high)
