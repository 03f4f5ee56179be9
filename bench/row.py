"""One line of the result, and what measures it."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from bench.measure import Pair
from bench.site import Site

Kind = Literal["ratio", "difference", "absolute"]


class Row(NamedTuple):
    """
    What came out of one benchmark.

    value is what the target bounds, None where it could not be measured, as why then tells. kind says what it is: of
    ours to bare the ratio or the difference, or ours alone, which depends on the machine. All but a ratio are in unit
    ("ms" or "MiB"); low and high are the quartiles of value.
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
    kind: Kind = "ratio"

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
        return Row(self.name, self.what, self.target, "ms", *ms, *pair.ratio)

    def difference(self, pair: Pair) -> Row:
        """Return the row of a difference."""
        ms, (median, low, high) = (1000 * pair.ours, 1000 * pair.bare), (1000 * each for each in pair.difference)
        return Row(self.name, self.what, self.target, "ms", *ms, median, low, high, kind="difference")

    def absolute(self, value: float, unit: str = "ms") -> Row:
        """Return the row of what stands for itself."""
        return Row(self.name, self.what, self.target, unit, value, None, value, kind="absolute")
