"""Several engines on one store at once, in processes and in threads: writers in line, readers never in between."""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from snapengine.tree import Node
from tests import at_work, check, images
from tests.crash import state
from tests.oracle import CLUSTER, Oracle
from tests.soak import hundred

GIVEN = "0123456789ab4def8123456789abcdef"
WORKERS = 8
OFTEN, ENOUGH = {"create", "revert", "update"}, 200  # verbs that always can work, and after how many they should have


@pytest.fixture(scope="module")
def workers() -> Iterator[ProcessPoolExecutor]:
    """Processes of their own, all of them started."""
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("forkserver")) as pool:
        for started in [pool.submit(time.sleep, 0.5) for _ in range(WORKERS)]:
            started.result()
        yield pool


def read(root: Path, volume: str, ready: Path, stop: Path) -> int:
    """Read the volume's records over and over until the file stop is there; makes ready after the first time."""
    engine, reads = Engine.open(root, recover=False), 0
    while not stop.exists():
        snapshots = {s.uuid: s for s in engine.list_snapshots(volume)}
        assert all(s.parent_uuid in snapshots for s in snapshots.values() if s.parent_uuid), "a parent is not listed"
        for tree in engine.snapshot_trees(volume):
            nodes = list(_nodes(tree.tree))
            assert [node.inventory.distance for node in nodes].count(1) == 1
            assert sum(node.inventory.latest for node in nodes) == 1, "a tree has not one latest"
        assert sum(tree.current for tree in engine.snapshot_trees(volume)) == 1
        assert engine.status().snapshots >= len(snapshots)
        assert engine.volume_chain(volume)[0].path == str(engine.volume_path(volume))
        reads += 1
        ready.touch()
    return reads


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def mix(root: Path, volume: str, seed: int, until: float) -> Counter[str]:
    """
    Run random verbs until a moment of the monotonic clock, and until each of OFTEN has worked.

    Returns how often each worked, or found things gone.
    """
    engine, choice, done = Engine.open(root), random.Random(seed), Counter[str]()
    verbs: dict[str, Callable[[], object]] = {
        "create": lambda: engine.create_snapshot(volume, f"{seed}-{done.total()}"),
        "revert": lambda: engine.revert(choice.choice(engine.list_snapshots(volume)).uuid),
        "update": lambda: engine.update_snapshot(choice.choice(engine.list_snapshots(volume)).uuid, name=f"{seed}"),
        "purge": lambda: engine.purge_trash(engine.select_trash()[:1]),
        "restore": lambda: engine.restore_trash(_any(choice, engine)),
        "keep": lambda: engine.restore_trash_as_snapshot(_any(choice, engine), "kept"),
    }
    while time.monotonic() < until or not (OFTEN <= set(done) or done.total() > ENOUGH):
        verb = choice.choice(list(verbs))
        try:
            verbs[verb]()
            done[verb] += 1
        except (errors.Busy, errors.NotFound) as e:
            done[type(e).__name__] += 1
    return done


def _any(choice: random.Random, engine: Engine) -> str:
    """Return an item of the trash; one that is not there when it is empty."""
    return choice.choice([item.uuid for item in engine.list_trash()] or [GIVEN])


@pytest.mark.parametrize(("processes", "each"), [(2, 10), (8, 13)])
def test_creates_at_once_make_one_straight_line(
    oracle: Oracle, workers: ProcessPoolExecutor, processes: int, each: int
) -> None:
    """Scenario 3; `make soak` does the full check on it, and on a hundred in sequence."""
    oracle.engine.set_depth_limit(119)
    volume = oracle.volume()

    hundred.at_once(oracle, volume, workers, processes, each)

    assert oracle.engine.verify() == ()
    assert check.locks(oracle.engine.root) == []
    assert images.read(oracle.engine.volume_path(volume)) == oracle.expected[volume]


def test_readers_see_the_old_or_the_new_and_never_an_error(
    oracle: Oracle, workers: ProcessPoolExecutor, tmp_path: Path
) -> None:
    oracle.engine.set_depth_limit(5)
    volume = oracle.volume()
    first = oracle.create(volume, "first").uuid
    stop = tmp_path / "stop"
    ready = [tmp_path / f"ready {number}" for number in range(2)]
    readers = [workers.submit(read, oracle.engine.root, volume, path, stop) for path in ready]
    at_work.until(lambda: all(path.exists() for path in ready))
    try:
        for number in range(12):
            oracle.write(volume, number % 8 * CLUSTER)
            oracle.create(volume, f"s{number}")
            oracle.engine.update_snapshot(first, name=f"first {number}")
            if number % 3 == 0:
                oracle.write(volume, CLUSTER)
                item = oracle.revert(first)
                assert item is not None
                oracle.restore(item)
    finally:
        stop.touch()

    assert all(reader.result() for reader in readers)
    oracle.check()


def test_everything_at_once_ends_well(oracle: Oracle, workers: ProcessPoolExecutor) -> None:
    oracle.engine.set_depth_limit(8)
    volume, snapshots = oracle.volume(), list[str]()
    for number in range(3):
        oracle.write(volume, number * CLUSTER)
        snapshots = [*snapshots, oracle.create(volume, f"s{number}").uuid]
    for number in range(6):
        oracle.write(volume, number * CLUSTER)
        oracle.revert(snapshots[0])
    known = {images.sha(content) for content in oracle.expected.values()}
    until = time.monotonic() + 3

    done = [workers.submit(mix, oracle.engine.root, volume, seed, until) for seed in range(4)]

    total = sum((each.result() for each in done), Counter[str]())
    assert OFTEN <= set(total)
    contents = state.contents(oracle.engine)
    assert set(contents.values()) <= known, "something has a content that nobody wrote"
    lasting = {uuid: content for uuid, content in oracle.expected.items() if uuid in snapshots}
    assert len(lasting) == 3
    check.full(oracle.engine, {**contents, **lasting})


def test_a_given_uuid_goes_to_one_of_those_who_want_it(oracle: Oracle, workers: ProcessPoolExecutor) -> None:
    wanted = [workers.submit(create_volume, oracle.engine.root, time.monotonic() + 0.3) for _ in range(4)]

    assert sorted(each.result() for each in wanted) == ["Invalid"] * 3 + ["made"]
    oracle.expected[GIVEN] = bytes(CLUSTER)
    oracle.check()


def create_volume(root: Path, start: float) -> str:
    """Create a volume with a given uuid at a moment of the monotonic clock; returns "made" or the error's name."""
    engine = Engine.open(root)
    time.sleep(max(0.0, start - time.monotonic()))
    try:
        engine.create_volume("wanted", CLUSTER, uuid=GIVEN)
    except errors.Error as e:
        return type(e).__name__
    return "made"


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # sh forks, in a process with threads
def test_one_engine_serves_several_threads(oracle: Oracle) -> None:
    shared = oracle.volume("shared")
    own = [oracle.volume(f"own {number}") for number in range(3)]

    def work(volume: str) -> None:
        for number in range(4):
            oracle.engine.create_snapshot(volume, f"{volume} {number}")
            oracle.engine.create_snapshot(shared, f"{volume} {number}")

    with ThreadPoolExecutor(len(own)) as threads:
        list(threads.map(work, own))

    assert sorted(s.distance for s in oracle.engine.list_snapshots(shared)) == list(range(1, 13))
    assert [len(oracle.engine.list_snapshots(volume)) for volume in own] == [4, 4, 4]
    snapshots = {s.uuid: oracle.expected[shared] for s in oracle.engine.list_snapshots()}
    check.full(oracle.engine, snapshots | oracle.expected)
