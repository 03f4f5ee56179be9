"""Draw the results: for each a bar of its value over its target, and a line where the target is."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from bench import report
from bench.row import Row

MET, MISSED = "#4c8f5f", "#c0504d"


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Draw those rows that were measured to path, the first at the top."""
    shown = [row for row in reversed(rows) if row.value is not None]
    figure = Figure(figsize=(12, 1.5 + 0.45 * len(shown)), layout="constrained")
    axes = figure.add_subplot()
    lengths = [(row.value or 0) / row.target for row in shown]
    colours = [MET if row.is_met else MISSED for row in shown]
    bars = axes.barh([row.what for row in shown], lengths, color=colours, xerr=_quartiles(shown), ecolor="#555555")
    axes.bar_label(bars, [report.value(row) for row in shown], label_type="center", color="white")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of the target, met up to 1; quartiles of the pairs")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def _quartiles(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Return how far the quartiles lie below and above each row's value, over its target."""
    below = [((row.value or 0) - (row.low or row.value or 0)) / row.target for row in rows]
    above = [((row.high or row.value or 0) - (row.value or 0)) / row.target for row in rows]
    return below, above
