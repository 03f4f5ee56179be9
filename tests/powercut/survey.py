"""
Which syncs a power cut would miss: each that the engine does is left out, alone, in verbs that do it.

`python -m tests.powercut.survey --fs ext4 --seeds 6`. One that is missed nowhere is needless as far as this file system
goes; that does not say that it may go.
"""

import argparse
import random
import sys
from collections import Counter, defaultdict

from tests.powercut import disk, workers
from tests.powercut.stage import verbs
from tests.powercut.workers import WORKERS, Job


def main(words: list[str]) -> int:
    """Leave out each sync and print how many cuts end wrong."""
    options = _options(words)
    among = options.among.split(";") if options.among else None
    jobs = [Job(kind, verb) for kind in options.fs.split(",") for verb in verbs(kind) if not among or verb in among]
    doing: dict[tuple[str, str], list[str]] = defaultdict(list)
    for job, sites in workers.done(workers.syncs, jobs, options.workers):
        for site in sites:
            doing[job.kind, site].append(job.verb)
    chance = random.Random(options.seed)
    chosen = {at: chance.sample(sorted(found), min(len(found), options.verbs)) for at, found in sorted(doing.items())}
    jobs = [
        Job(kind, verb, seed, options.cuts, site)
        for (kind, site), found in chosen.items()
        for verb in found
        for seed in range(options.seed, options.seed + options.seeds)
    ]
    ends: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for job, outcomes in workers.done(workers.tried, jobs, options.workers):
        ends[job.kind, job.broken or ""].update(outcome.end for outcome in outcomes)
    for (kind, site), count in sorted(ends.items()):
        print(f"{kind:6}{site:48}{count.total():6} cuts{count['wrong']:6} wrong   {'; '.join(chosen[kind, site])}")
    return 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.powercut.survey", description=__doc__)
    parser.add_argument("--fs", default=",".join(disk.KINDS), help="file systems, with commas (default: all)")
    parser.add_argument("--among", help="look at these verbs only, with semicolons (default: all)")
    parser.add_argument("--verbs", type=int, default=3, help="how many verbs for each sync (default: 3)")
    parser.add_argument("--seeds", type=int, default=2, help="how many recordings of each verb (default: 2)")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--cuts", type=int, default=8, help="how many cuts of each recording (default: 8)")
    parser.add_argument("--workers", type=int, default=WORKERS, help=f"how many at once (default: {WORKERS})")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
