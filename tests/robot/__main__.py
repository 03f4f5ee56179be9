"""The robot's command line: `python -m tests.robot --steps 200 --seed 1 --disk xfs`, or `--replay FILE`."""

import argparse
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests import privileged
from tests.robot import actions, walk
from tests.robot.actions import Action
from tests.robot.verbs import VERBS
from tests.robot.walk import Walk

PLACE = Path(".robot")
FIRST = ("volume", "write", "create", "write")
PATIENCE = 600.0  # seconds that a failure may be shortened for


def main(words: list[str]) -> int:
    """Walk and tell how it went; returns the exit code, 1 for a failure."""
    options = _options(words)
    PLACE.mkdir(exist_ok=True)
    if options.replay:
        what, todo = f"replay of {options.replay}", actions.read(Path(options.replay).read_text())
        if unknown := {action.verb for action in todo} - set(VERBS):
            raise SystemExit(f"no verbs: {', '.join(sorted(unknown))}; there are: {', '.join(VERBS)}")
    else:
        what = f"seed {options.seed}, {options.steps} steps"
        weights = {name: verb.weight for name, verb in VERBS.items()}
        todo = actions.draw(options.seed, options.steps, weights, FIRST)
    what = f"{what}, disk {options.disk}"
    print(f"robot: {what}", flush=True)
    with disk(options.disk) as directory:
        started = time.monotonic()
        ended = walk.walk(todo, directory, told=_told if options.verbose else None)
        _report(ended, time.monotonic() - started)
        if ended.failure is None:
            return 0
        print(f"{ended.failure.text}robot: {what}: failed at step {ended.failure.at + 1}, shortening", flush=True)
        short = walk.shortest(todo, ended.failure, directory, options.patience)
        _found(short, walk.walk(short, directory), options, what)
    return 1


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.robot", description=__doc__)
    parser.add_argument("--steps", type=int, default=200, help="how many actions (default: 200)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what they are drawn from")
    parser.add_argument("--disk", choices=("plain", "xfs"), default="plain", help="xfs: mounted for the run, as root")
    parser.add_argument("--replay", metavar="FILE", help="do the actions that this file lists")
    parser.add_argument("--patience", type=float, default=PATIENCE, help="seconds to shorten a failure for")
    parser.add_argument("--verbose", action="store_true", help="tell each action")
    return parser.parse_args(words)


@contextmanager
def disk(name: str) -> Iterator[Path]:
    """Have a directory on a disk for the block."""
    with TemporaryDirectory(dir=PLACE, prefix="run-") as place:
        if name == "plain":
            yield Path(place).absolute()
        else:
            with privileged.xfs(Path(place).absolute(), 1024) as mounted:
                yield mounted


def _told(at: int, action: Action, outcome: str) -> None:
    print(f"{at + 1:5} {' '.join(map(str, action)):40} {outcome}", flush=True)


def _report(ended: Walk, seconds: float) -> None:
    steps = ended.done.total() + ended.nothing.total()
    listed = ", ".join(f"{name} {ended.done[name]}" for name in VERBS)
    print(f"robot: {steps} steps in {seconds:.0f} s, {ended.done.total()} did something: {listed}", flush=True)


def _found(short: list[Action], again: Walk, options: argparse.Namespace, what: str) -> None:
    """Tell the shortest list that fails, and write it to a file."""
    why = again.failure.text if again.failure else "it did not fail again when it was checked after every step"
    file = PLACE / f"failure-{options.disk}-{options.seed}.txt"
    file.write_text(actions.write(short, [what, *why.splitlines()]))
    print(why)
    print(f"robot: {what}: the shortest list that fails, {len(short)} actions:")
    print(actions.write(short), end="")
    print(f"robot: it is in {file}; again: make robot DISK={options.disk} REPLAY={file}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
