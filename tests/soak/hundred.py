"""A hundred snapshots of a volume, one after the other and all at once: scenario 3."""

import multiprocessing
import time
import traceback
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path

from snapengine.engine import Engine
from snapengine.inventory import Snapshot
from tests import check
from tests.oracle import CLUSTER, Oracle
from tests.soak import broken

PROCESSES, EACH = 8, 13
DEPTH = 119


def hundred(place: Path, sabotage: str = "") -> str:
    """Make them in the directory place, with the full check in between and in the end; returns what was wrong."""
    oracle = Oracle(Engine.init(place / "hundred", depth_limit=DEPTH))
    try:
        _in_sequence(oracle)
        volume = oracle.volume("at once")
        with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("forkserver")) as workers:
            made = at_once(oracle, volume, workers, PROCESSES, EACH, sabotage)
        oracle.expected.update((snapshot.uuid, oracle.expected[volume]) for snapshot in made)
        oracle.check()
    except Exception:
        return traceback.format_exc()
    return ""


def _in_sequence(oracle: Oracle) -> None:
    """Create a hundred snapshots one on the other, each of what a guest has written since; check every tenth."""
    volume = oracle.volume("in sequence")
    for number in range(PROCESSES * EACH):
        oracle.write(volume, number % 16 * CLUSTER, CLUSTER // 2)
        assert oracle.create(volume, f"s{number}").distance == number + 1
        if number % 10 == 0:
            check.full(oracle.engine, oracle.expected, deep=False)


def at_once(
    oracle: Oracle, volume: str, workers: Executor, processes: int, each: int, sabotage: str = ""
) -> tuple[Snapshot, ...]:
    """Have so many processes create so many snapshots each, assert that they are one straight line, and return it."""
    oracle.write(volume)
    root, start = oracle.engine.root, time.monotonic() + 0.5
    names = [[f"{process}-{number}" for number in range(each)] for process in range(processes)]

    for made in [workers.submit(_create, root, volume, start, own, sabotage) for own in names]:
        made.result()

    snapshots = oracle.engine.list_snapshots(volume)
    assert sorted(s.distance for s in snapshots) == list(range(1, processes * each + 1))
    assert len({s.parent_uuid for s in snapshots}) == len(snapshots), "two have one parent"
    assert {s.name for s in snapshots} == {name for own in names for name in own}
    return tuple(snapshots)


def _create(root: Path, volume: str, start: float, names: list[str], sabotage: str) -> None:
    """Create snapshots one after the other, from the moment start of the monotonic clock on."""
    engine = Engine.open(root)
    time.sleep(max(0.0, start - time.monotonic()))
    with broken.broken(sabotage):
        for name in names:
            engine.create_snapshot(volume, name)
