"""The soak's command line: `python -m tests.soak --minutes 5 --seed 1`, with `--served` over HTTP; ends in totals."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.soak import hundred, run, served
from tests.soak.broken import BROKEN
from tests.soak.ill import ILL
from tests.soak.run import Report

PLACE = Path(".soak")


def main(words: list[str]) -> int:
    """Let processes work and tell how it went; returns the exit code, 1 where something was not as it must be."""
    options = _options(words)
    PLACE.mkdir(exist_ok=True)
    crew = f"{run.WORKERS} workers, {run.READERS} readers"
    if options.served:
        crew = f"{served.CLIENTS} clients, {served.TYPED} that types, {served.READERS} reader"
    what = f"seed {options.seed}, {options.minutes:g} minutes, {crew}"
    print(f"soak: {what}", flush=True)
    place = Path(tempfile.mkdtemp(dir=PLACE, prefix="run-")).absolute()
    if options.served or _made_a_hundred(place, options.broken):
        started = time.monotonic()
        soak = served.soak if options.served else run.soak
        report = soak(place, options.minutes * 60, options.seed, options.broken)
        _tell(report, time.monotonic() - started)
        if not report.faults:
            shutil.rmtree(place, ignore_errors=True)
            return 0
    print(f"soak: the store, what each process did and the server's log are kept in {place}")
    return 1


def _made_a_hundred(place: Path, sabotage: str) -> bool:
    """Make a hundred snapshots in sequence and a hundred at once, and tell whether that went well."""
    started = time.monotonic()
    fault = hundred.hundred(place, sabotage)
    print(f"soak: a hundred in sequence, a hundred at once, {time.monotonic() - started:.0f} s: {fault or 'well'}")
    return not fault


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (default: 2)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what verbs and kills are drawn from")
    parser.add_argument("--served", action="store_true", help="work over HTTP, and kill the server")
    broken = [*BROKEN, *ILL]
    parser.add_argument("--broken", choices=broken, default="", help="break it in this way: must be noticed")
    return parser.parse_args(words)


def _tell(report: Report, seconds: float) -> None:
    for verb, count in report.done.most_common():
        print(f"  {verb:20}{count:8}")
    seconds_, verb, holder = report.waited
    print(f"soak: {report.done.total()} verbs in {seconds:.0f} s, {report.refused} refused, {report.kills} kills")
    print(f"soak: longest wait for a lock {seconds_:.2f} s ({verb}, held by {holder})")
    print(f"soak: what a killed process had started was gone after {report.lived:.2f} s at most")
    print(f"soak: losses and faults: {len(report.faults)}")
    for fault in report.faults:
        print(fault)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
