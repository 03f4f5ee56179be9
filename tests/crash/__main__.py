"""The crash matrix: `python -m tests.crash`, each verb at each of its points, on each file system; ends in a table."""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests import privileged
from tests.crash import bench, points
from tests.crash.bench import Bench
from tests.crash.cases import VERBS
from tests.crash.judge import ENDS, Outcome, Prepared
from tests.crash.points import ERRORS, HOWS
from tests.crash.strace import Kill

PLACE = Path(".crash")
SYSTEMS: tuple[privileged.FileSystem, ...] = ("ext4", "xfs")
CUTS = (("rename", 1), ("rename", 2), ("unlink", 1))  # where a verb is killed whose recovery is killed then
LOOKING, INTERRUPT = MANY = "looking", "interrupt"  # with so many points that they must be asked for
FULL, SMALL = "full", {"ext4": 512, "xfs": 1024}  # disks that are filled, in MiB
MIB = 2048  # of those that are not
COLUMNS = ("points", *ENDS, "missed")

_HOW = "only by kills, by one error, in recoveries, or on a disk that is full; or by calls that only look, or by Ctrl-C"


def main(words: Sequence[str]) -> int:
    """Cut verbs off everywhere and tell how that ended; returns the exit code, 1 where anything ended wrong."""
    options = _options(words)
    os.chdir(Path(__file__).parents[2])
    PLACE.mkdir(exist_ok=True)
    chosen = [name for name in VERBS if options.verb in name and name != "recover"]
    if not chosen:
        raise SystemExit(f"no verb has {options.verb!r} in its name; there are: {', '.join(VERBS)}")
    started, outcomes = time.monotonic(), list[Outcome]()
    print(_line("file system, verb, how it was cut off", *COLUMNS), flush=True)
    for system in (options.fs,) if options.fs else SYSTEMS:
        if options.how != FULL:
            outcomes += _on(system, chosen, options.how, options, MIB)
        if options.how in (None, FULL):
            outcomes += _on(system, chosen, FULL, options, SMALL[system])
    print(_line("all", *sums(outcomes)))
    rate = len(outcomes) / (time.monotonic() - started)
    print(f"crash: {len(chosen)} verbs, {len(outcomes)} points, {rate:.1f} a second, {options.workers} workers")
    return int(any(outcome.end == "wrong" for outcome in outcomes))


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--verb", default="", help="only the verbs with this in their names (tests/crash/cases.py)")
    parser.add_argument("--fs", choices=SYSTEMS, help="only on this file system, mounted for the run, as root")
    parser.add_argument("--how", choices=(*HOWS, "recovery", FULL, *MANY), help=_HOW)
    parser.add_argument("--every", type=int, default=1, help=f"one point in so many of {' and '.join(MANY)}")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="how many points at once")
    return parser.parse_args(words)


def _on(
    system: privileged.FileSystem, chosen: Sequence[str], how: str | None, options: argparse.Namespace, mib: int
) -> Iterator[Outcome]:
    """
    Give the outcomes on a file system of so many MiB, and print a line for each verb and way as soon as it is done.
    """
    workers = 1 if how == FULL else options.workers
    with tempfile.TemporaryDirectory(dir=PLACE, prefix="run-") as place:
        with privileged.mounted(Path(place).absolute(), system, mib) as disk:
            with bench.opened("", workers, disk, Path(place), system == "xfs") as opened:
                for name in chosen:
                    if system == "xfs" or not bench.needs_reflinks(VERBS[name].store):
                        yield from _cut(opened, system, name, how, options.every)


def _cut(opened: Bench, system: str, name: str, how: str | None, every: int) -> Iterator[Outcome]:
    prepared = opened.prepared(name)
    for way in (how,) if how else (*HOWS, "recovery"):
        outcomes = _by(opened, prepared, way, every)
        if outcomes:
            print(_line(f"{system}, {name}, {way}", *sums(outcomes)), flush=True)
        for outcome in outcomes:
            if outcome.end == "wrong":
                print(f"{system}, {name}, {outcome.what}: {outcome.why}", flush=True)
        yield from outcomes


def _by(opened: Bench, prepared: Prepared, way: str, every: int) -> list[Outcome]:
    """Return the outcomes of cutting a verb off everywhere in one way."""
    if way == "kill":
        return opened.kills(prepared, points.kills(prepared.calls))
    if way in ERRORS:
        return opened.failures(prepared, points.failures(prepared.calls, (way,)))
    if way == FULL:
        return opened.full(prepared)
    cut_off = [opened.crashed(prepared, Kill(call, True)) for call in prepared.calls if call.point in CUTS]
    recoveries = [each for each in cut_off if each.calls]  # where there is none the next verb puts it right
    if way in MANY:
        return [o for each in (prepared, *recoveries) for o in _one_in(every, opened, opened.looked(each), way)]
    return [o for each in recoveries for o in opened.kills(each, points.kills(each.calls))]


def _one_in(every: int, opened: Bench, looked: Prepared, way: str) -> list[Outcome]:
    name = f"{looked.case.root.name} {looked.case.name}"
    if way == LOOKING:
        return opened.failures(looked, points.one_in(every, points.looks(looked.calls), name))
    return opened.interrupts(looked, points.one_in(every, points.interrupts(looked.calls), name))


def sums(outcomes: Sequence[Outcome]) -> list[int]:
    """Return the numbers of points, of each end, and of those that missed their call."""
    ends = Counter(outcome.end for outcome in outcomes)
    return [len(outcomes), *(ends[end] for end in ENDS), sum(not outcome.exact for outcome in outcomes)]


def _line(first: str, *rest: object) -> str:
    return f"{first:66}" + "".join(f"{value:>8}" for value in rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
