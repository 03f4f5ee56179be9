"""Bring every hostile image to every door: `python -m tests.hostile`; see docs/reliability.md, "Hostile images"."""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from fixtures.hostile import corpus
from tests.hostile import doors, judge, mutants, watch
from tests.hostile.judge import Verdict
from tests.hostile.watch import Case, Seen

MEMORY = Path("/dev/shm")  # where syncs cost nothing
Judged = tuple[Case, Seen, Verdict]


def main(words: list[str]) -> int:
    """Run, print the tables, and return the exit code: 1 for a loss, or a mutant that was not caught."""
    options = _options(words)
    started = time.monotonic()
    known = [image for image in corpus.images() if options.image in image.name]
    gates = [door for door in doors.DOORS if options.door in door.name]
    with TemporaryDirectory(prefix="hostile-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        cases = list(_cases(known, gates, options.door))
        judged = tried(cases, Path(scratch), mutants.NONE, options.jobs)
        _report(judged, gates, time.monotonic() - started)
        losses = sum(verdict.loss is not None for _, _, verdict in judged)
        missed = [] if losses or not options.mutants else _mutants(Path(scratch), options.jobs)
    return 1 if losses or missed else 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--image", default="", help="only images whose name has this in it")
    parser.add_argument("--door", default="", help="only doors whose name has this in it")
    parser.add_argument("--jobs", type=int, default=2, help="how many cases at a time")
    parser.add_argument("--mutants", action="store_true", help="then prove that each broken build is caught")
    return parser.parse_args(words)


def _cases(known: Sequence[corpus.Image], gates: Sequence[doors.Door], asked: str) -> Iterator[Case]:
    """Give what is to be tried; a server takes its time, so each image comes to one of its doors, unless asked for."""
    served = [door for door in gates if door.name.startswith("serve")]
    for number, image in enumerate(known):
        left_out = [] if asked else [door for door in served if door != served[number % len(served)]]
        for door in gates:
            if door not in left_out and re.fullmatch(image.doors, door.name):
                yield image.name, door.name


def tried(cases: Sequence[Case], scratch: Path, mutant: str, jobs: int) -> list[Judged]:
    """Try cases, shared out among so many workers, and return how each went; mutant names a broken build."""
    images = {image.name: image for image in corpus.images()}
    gates = {door.name: door for door in doors.DOORS}
    shares = [cases[start::jobs] for start in range(min(jobs, len(cases)))]

    def work(number: int) -> list[Judged]:
        directory = scratch / f"{mutant.replace(' ', '-')}-{number}"
        usual, seen = run(shares[number], directory, mutant)
        return [
            (case, each, judge.judge(images[case[0]], gates[case[1]], each, usual, directory / "scene"))
            for case, each in zip(shares[number], seen, strict=True)
        ]

    with ThreadPoolExecutor(jobs) as pool:
        return [each for judged in pool.map(work, range(len(shares))) for each in judged]


def run(cases: Sequence[Case], directory: Path, mutant: str) -> tuple[frozenset[tuple[str, str]], list[Seen]]:
    """Return what sound images ask for at the doors of these cases, and how the cases went."""
    sound = [(mutants.SOUND.name, door) for door in dict.fromkeys(door for _, door in cases)]
    seen = list(watch.run([*sound, *cases], directory, mutant))
    for each in seen[: len(sound)]:
        well = each.answer.code == 0 or judge.STRAY.search(each.answer.stdout)
        assert mutant != mutants.NONE or well, f"a sound image fails: {each.answer}"
    return judge.usual(seen[: len(sound)]), seen[len(sound) :]


def _report(judged: Iterable[Judged], gates: Sequence[doors.Door], seconds: float) -> None:
    judged = list(judged)
    by_door = {door.name: Counter[str]() for door in gates}
    for (_, door), _, verdict in judged:
        by_door[door]["loss" if verdict.loss else verdict.outcome] += 1
    kinds = ("refused", "failed", "harmless", "unopened", "loss")
    print(f"{'door':26}" + "".join(f"{kind:>10}" for kind in kinds))
    for door, counts in by_door.items():
        print(f"{door:26}" + "".join(f"{counts[kind]:>10}" for kind in kinds))
    for (image, door), _, verdict in judged:
        if verdict.loss:
            print(f"LOSS {image!r} at {door!r}: {verdict.loss}")
    for why, number in Counter(v.why for _, _, v in judged if v.why and not v.loss).most_common():
        print(f"let in or passed by {number} times: {why}")
    totals = sum(by_door.values(), Counter[str]())
    cpu, memory = max(s.answer.cpu for _, s, _ in judged), max(s.answer.memory for _, s, _ in judged)
    print(f"{len({image for (image, _), _, _ in judged})} images, {len(by_door)} doors, {len(judged)} cases, "
          f"{totals['refused'] + totals['failed']} refused, {totals['harmless'] + totals['unopened']} harmless, "
          f"losses: {totals['loss']}; at most {cpu:.1f} s of processor time and {memory >> 20} MiB a case; "
          f"{seconds:.0f} s in all")


def cases_of(mutant: str) -> list[Case]:
    """Return the cases that must catch a mutant: images of the check that it lacks, or of its kind, at some doors."""
    some = ("import", "import --chain", "snapshot: export", "active: create", "trash: restore")
    kinds = {
        "follows symbolic links": "symbolic link", "opens what is no regular file": "device",
        "guesses formats": "backing /", "believes other formats": "vmdk", "believes L2 tables": "data ",
        "follows chains without end": "chain of 600",
    }  # fmt: skip
    wanted = kinds.get(mutant, mutant.removeprefix("without ") + ", ")
    known = [image.name for image in corpus.images() if image.name.startswith(wanted) or
             (mutant in kinds and wanted in image.name)]
    extra = {"without size-limit": "virtual size", "without backing-name": "nothing|that is not there",
             "without backing-control": "backing-control", "without backing-format": "backing format"}
    if not known or mutant in extra:
        known += [i.name for i in corpus.images() if any(w in i.name for w in extra.get(mutant, "?").split("|"))]
    return [(name, door) for name in known[:6] for door in some]


def caught(mutant: str, scratch: Path, jobs: int) -> list[Judged]:
    """Return the losses that a mutant causes."""
    return [each for each in tried(cases_of(mutant), scratch, mutant, jobs) if each[2].loss]


def _mutants(scratch: Path, jobs: int) -> list[str]:
    missed = []
    for mutant in mutants.names():
        losses = caught(mutant, scratch, jobs)
        first = f"{losses[0][0][0]!r} at {losses[0][0][1]!r}: {losses[0][2].loss}" if losses else "NOT CAUGHT"
        print(f"mutant '{mutant}': {len(losses)} losses; {first[:150]}", flush=True)
        missed += [] if losses else [mutant]
    print(f"{len(mutants.names())} mutants, {len(mutants.names()) - len(missed)} caught")
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
