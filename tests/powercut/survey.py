"""
Which syncs a power cut would miss: each that the engine does is left out, alone, in verbs that do it.

`python -m tests.powercut.survey --fs ext4 --seeds 6`. A sync is tried on until it is missed. One that is missed nowhere
is needless as far as this file system goes; that does not say that it may go.
"""

import argparse
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.powercut import disk, workers
from tests.powercut.stage import verbs
from tests.powercut.workers import WORKERS, Job

Site = tuple[str, str]  # a kind of file system, and a sync as sabotage.site() tells it
Ends = dict[Site, Counter[str]]


def main(words: list[str]) -> int:
    """Leave out each sync and print how many cuts end wrong; Ctrl-C ends it early."""
    options, ends, doing = _options(words), Ends(), dict[Site, list[str]]()
    try:
        with workers.pool(options.workers) as pool:
            doing = _doing(pool, options)
            ends = {site: Counter() for site in doing}
            for job, outcomes in workers.done(pool, workers.tried, _jobs(options, doing, ends)):
                count = Counter(outcome.end for outcome in outcomes)
                ends[job.kind, job.broken or ""].update(count)
                print(f"{job.kind} {job.broken}, {job.verb}, seed {job.seed}: {count['wrong']} wrong", file=sys.stderr)
    except KeyboardInterrupt:
        print("survey: stopped early")
    for site, count in sorted(ends.items()):
        print(f"{site[0]:6}{site[1]:56}{count.total():6} cuts{count['wrong']:6} wrong   {'; '.join(doing[site])}")
    return 0


def _doing(pool: ProcessPoolExecutor, options: argparse.Namespace) -> dict[Site, list[str]]:
    """Return all syncs, each with the verbs that do it."""
    among = options.among.split(";") if options.among else None
    jobs = [Job(kind, verb) for kind in options.fs.split(",") for verb in verbs(kind) if not among or verb in among]
    doing: dict[Site, list[str]] = defaultdict(list)
    for job, sites in workers.done(pool, workers.syncs, jobs):
        for site in sites:
            doing[job.kind, site].append(job.verb)
    return {site: sorted(doing[site]) for site in sorted(doing)}


def _jobs(options: argparse.Namespace, doing: Mapping[Site, Sequence[str]], ends: Ends) -> Iterator[Job]:
    """Give what is to be tried, some verbs of each sync, in turn, and no sync that was missed already."""
    chance = random.Random(options.seed)
    chosen = {site: chance.sample(found, min(len(found), options.verbs)) for site, found in doing.items()}
    for seed in range(options.seed, options.seed + options.seeds):
        for number in range(options.verbs):
            for site, found in chosen.items():
                if number < len(found) and not ends[site]["wrong"]:
                    yield Job(site[0], found[number], seed, options.cuts, site[1])


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
