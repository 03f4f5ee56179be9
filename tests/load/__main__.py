"""The load run's command line: `python -m tests.load --seconds 60 --seed 1`; ends in a table and totals."""

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.load import run
from tests.load.book import Call
from tests.load.clients import CHANGES, READS
from tests.load.ill import ILL
from tests.load.judge import Report
from tests.load.run import Crew

PLACE = Path(".load")


def main(words: list[str]) -> int:
    """Load a server and tell how it went; returns the exit code, 1 where something was not as it must be."""
    options = _options(words)
    PLACE.mkdir(exist_ok=True)
    crew = Crew()
    what = f"{crew.readers} readers, {crew.writers} writers on each of {crew.volumes} volumes, {run.WORKERS} workers"
    print(f"load: seed {options.seed}, {options.seconds:g} s, {what}", flush=True)
    with tempfile.TemporaryDirectory(dir=PLACE, prefix="run-") as place:
        report = run.load(Path(place).absolute(), options.seconds, options.seed, crew, options.broken)
    _tell(report)
    return int(bool(report.faults))


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what is drawn: volumes, calls")
    parser.add_argument("--broken", choices=[*ILL], default="", help="break the server in this way: must be noticed")
    return parser.parse_args(words)


def _tell(report: Report) -> None:
    print(f"{'ms':24}{'calls':>8}{'median':>9}{'99 %':>9}{'longest':>9}")
    _line("reads alone", report.alone, [*READS])
    _line("reads beside writers", report.beside, [*READS])
    for verb in CHANGES:
        _line(verb, report.beside, [verb])
    shares = ", ".join(f"{kind}s {share:.2f}" for kind, share in report.shares.items())
    print(f"load: fewest answers of a client against the median: {shares}")
    print(f"load: a change was overtaken by {report.overtaken} of its volume at most")
    print(f"load: volumes held by another process {report.held} times, all reads and all other volumes went on")
    print(f"load: {report.left} clients went away, {report.left_done} of their snapshots were made")
    print(f"load: {report.there} acknowledged snapshots are there, {report.gone} deleted ones gone")
    print(f"load: losses and faults: {len(report.faults)}")
    for fault in report.faults[:20]:
        print(fault)


def _line(name: str, calls: Sequence[Call], verbs: Sequence[str]) -> None:
    took = sorted(1000 * call.took for call in calls if call.verb in verbs)
    if took:
        high = took[int(len(took) * 0.99)]
        print(f"{name:24}{len(took):>8}{statistics.median(took):>9.1f}{high:>9.1f}{took[-1]:>9.1f}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
