"""The power cuts' command line: `python -m tests.powercut --fs ext4,xfs --verbs create,revert --seeds 3 --cuts 20`."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool

from tests.powercut import disk, workers
from tests.powercut.sabotage import SABOTAGES
from tests.powercut.stage import ENDS, Outcome, verbs
from tests.powercut.workers import WORKERS, Job


def main(words: list[str]) -> int:
    """
    Try power cuts and tell how they ended; returns the exit code: 1 if one ended wrong, or not all could be tried.

    Ctrl-C ends it early.
    """
    options = _options(words)
    kinds, seeds = options.fs.split(","), range(options.seed, options.seed + options.seeds)
    asked = {kind: _verbs(kind, options.verbs) for kind in kinds}
    jobs = [
        Job(kind, verb, seed, options.cuts, options.broken) for seed in seeds for kind in kinds for verb in asked[kind]
    ]
    if missing := [kind for kind in kinds if not disk.fits(kind)]:
        raise SystemExit(f"this needs root, /dev/fuse, qemu-storage-daemon and the tools of {', '.join(missing)}")
    started, outcomes, tried = time.monotonic(), list[tuple[Job, Outcome]](), 0
    try:
        with workers.pool(options.workers) as pool:
            for job, found in workers.done(pool, workers.tried, jobs):
                outcomes += ((job, outcome) for outcome in found)
                tried += 1
                _tell(job, found, len(outcomes))
    except (KeyboardInterrupt, BrokenProcessPool) as e:
        print(f"powercut: stopped early by {type(e).__name__}; a worker breaks when something kills it")
    print(_table(outcomes))
    seconds = time.monotonic() - started
    print(f"powercut: {len(outcomes)} cuts in {seconds:.0f} s, seeds {seeds[0]} to {seeds[-1]}, {tried} of {len(jobs)}")
    return int(tried < len(jobs) or any(outcome.end == "wrong" for _, outcome in outcomes))


def _tell(job: Job, found: Sequence[Outcome], number: int) -> None:
    for outcome in found:
        if outcome.end == "wrong":
            print(_wrong(job, outcome), flush=True)
    if sys.stderr.isatty():
        print(f"\r{number} cuts", end="", file=sys.stderr, flush=True)


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut", description=__doc__)
    parser.add_argument("--fs", default=",".join(disk.KINDS), help="file systems, with commas (default: all)")
    parser.add_argument("--verbs", help="names out of tests/crash/cases.py, with semicolons (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="how many recordings of each verb (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--cuts", type=int, default=20, help="how many cuts of each recording (default: 20)")
    parser.add_argument("--broken", choices=SABOTAGES, help="break the engine in this way")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"how many at once (default: {WORKERS})")
    return parser.parse_args(words)


def _verbs(kind: str, asked: str | None) -> list[str]:
    there, names = verbs(kind), [name.strip() for name in asked.split(";")] if asked else []
    every = {name for each in disk.KINDS for name in verbs(each)}
    if unknown := set(names) - every:
        raise SystemExit(f"no verbs: {'; '.join(sorted(unknown))}; there are: {'; '.join(sorted(every))}")
    return [name for name in there if not names or name in names]


def _wrong(job: Job, outcome: Outcome) -> str:
    said = "after it said that it was done" if outcome.acknowledged else "before it said anything"
    repeat = f"--fs {job.kind} --verbs '{job.verb}' --seed {job.seed} --seeds 1 --cuts {job.cuts}"
    return (
        f"{outcome.verb}, {outcome.weather}, cut after {outcome.cut.issued} entries, {said}, {outcome.cut.kind}:\n"
        f"{outcome.why}the disk is {outcome.disk}; like it: python -m tests.powercut {repeat}"
    )


def _table(outcomes: Sequence[tuple[Job, Outcome]]) -> str:
    rows = list(dict.fromkeys((job.kind, outcome.verb) for job, outcome in outcomes))
    head = _line("file system, verb", "cuts", "done", *ENDS)
    lines = [_sums(row, [o for job, o in outcomes if (job.kind, o.verb) == row]) for row in sorted(rows)]
    return "\n".join((head, *lines, _sums(("all", ""), [outcome for _, outcome in outcomes])))


def _sums(row: tuple[str, str], outcomes: Sequence[Outcome]) -> str:
    ends = Counter(outcome.end for outcome in outcomes)
    done = sum(outcome.acknowledged for outcome in outcomes)
    return _line(" ".join(row), len(outcomes), done, *(ends[end] for end in ENDS))


def _line(first: str, *rest: object) -> str:
    return f"{first:60}" + "".join(f"{value:>8}" for value in rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
