"""`python -m bench [--only NAME]… [--runs N]`: measure, print a table, write bench/out/bench.json and bench.png."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import CalledProcessError

from bench import copies, create, deleting, diff, export, listing, program, report, rest, site, spent
from bench.measure import Missing
from bench.row import Bench, Row
from bench.site import Site

OUT = Path(__file__).with_name("out")
BENCHES = (
    *create.BENCHES,
    *program.BENCHES,
    *listing.BENCHES,
    *export.BENCHES,
    *diff.BENCHES,
    *copies.BENCHES,
    *deleting.BENCHES,
    *rest.BENCHES,
)
SPENT = "spent"


def main() -> int:
    """Measure what is asked for; a target that is missed is told, and is no failure."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that nothing is left behind
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # the commands start from compiled modules, as installed ones do
    names = wanted.only or [*(bench.name for bench in BENCHES), SPENT]
    with site.opened(wanted.runs) as place:
        rows = [_measured(bench, place) for bench in BENCHES if bench.name in names]
        parts = _spent(place) if SPENT in names else []
    if rows:
        print(report.table(rows))
    if parts:
        print(f"\nwhere the time of snapengine snapshot create goes, depth {spent.DEPTH}\n{report.spent(parts)}")
    OUT.mkdir(exist_ok=True)
    report.write(OUT / "bench.json", rows, parts)
    if any(row.value is not None for row in rows):
        _draw(rows)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the engine against the bare tools.")
    names = [*(bench.name for bench in BENCHES), SPENT]
    parser.add_argument("--only", metavar="NAME", action="append", choices=names, help=f"one of {', '.join(names)}")
    parser.add_argument("--runs", metavar="N", type=_positive, help="how many pairs of runs; each has its own default")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} is not positive")
    return number


def _measured(bench: Bench, place: Site) -> Row:
    start = time.monotonic()
    print(f"{bench.name:<12} ", end="", file=sys.stderr, flush=True)
    try:
        row = bench.measure(bench, place)
    except (Missing, CalledProcessError) as e:
        row = Row(bench.name, bench.what, bench.target, why=str(e))
    print(f"{report.verdict(row)} ({time.monotonic() - start:.0f} s)", file=sys.stderr)
    return row


def _spent(place: Site) -> list[spent.Part]:
    print(SPENT, file=sys.stderr)
    try:
        return spent.parts(place)
    except CalledProcessError as e:
        print(f"not measured: {e}", file=sys.stderr)
        return []


def _draw(rows: Sequence[Row]) -> None:
    try:
        from bench import chart  # late: with matplotlib in memory, each start of a tool would have taken longer
    except ModuleNotFoundError as e:
        print(f"no chart: {e}", file=sys.stderr)
    else:
        chart.draw(OUT / "bench.png", rows)


if __name__ == "__main__":
    sys.exit(main())
