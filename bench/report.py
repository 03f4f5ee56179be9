"""Show the results: a table for people, a file for programs."""

import json
from collections.abc import Sequence
from pathlib import Path

from bench.row import Row
from bench.spent import Part

HEADINGS = ("what", "ours", "bare", "ratio", "target", "verdict")


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text in aligned columns."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    what, *figures, verdict = cells
    middle = (cell.rjust(width) for cell, width in zip(figures, widths[1:]))
    return "  ".join((what.ljust(widths[0]), *middle, verdict)).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    ratio = row.kind if row.kind == "absolute" else "" if row.value is None else value(row)
    target = f"{row.target:.2f}" if row.kind == "ratio" else f"{row.target:.0f} {row.unit}"
    return row.what, _figure(row, row.ours), _figure(row, row.bare), ratio, target, verdict(row)


def value(row: Row) -> str:
    """Return what the target bounds, of a row that was measured."""
    if row.kind == "ratio":
        return f"{row.value:.2f}"
    return f"{row.value:+.1f} {row.unit}" if row.kind == "difference" else f"{row.value:.1f} {row.unit}"


def _figure(row: Row, figure: float | None) -> str:
    return "" if figure is None else f"{figure:.1f} {row.unit}"


def verdict(row: Row) -> str:
    """Return in a word or two what came out."""
    if row.value is None:
        return f"not measured: {row.why}"
    return "met" if row.is_met else "MISSED"


def spent(parts: Sequence[Part]) -> str:
    """Return the parts of a whole as text in aligned columns, the whole last."""
    names = [("  of that " if part.below else "") + part.what for part in parts]
    width = max(len(name) for name in names)
    return "\n".join(f"{name:<{width}}  {part.ms:7.1f} ms" for name, part in zip(names, parts))


def write(path: Path, rows: Sequence[Row], parts: Sequence[Part]) -> None:
    """Write the results as JSON to path."""
    result = {"rows": [row._asdict() for row in rows], "spent": [part._asdict() for part in parts]}
    path.write_text(json.dumps(result, indent=1) + "\n")
