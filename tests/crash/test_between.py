"""What may happen between a crash and its recovery, and beside a recovery: a VM starts, another engine is quicker."""

import os
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests import at_work, images, qemu
from tests.crash import strace
from tests.crash.strace import Call, Point
from tests.oracle import CLUSTER, Oracle

pytestmark = pytest.mark.crash

GIVEN = "0123456789ab4def8123456789abcdef"
COMMIT = Point("rename", 1)


@pytest.fixture
def volume(oracle: Oracle) -> str:
    """Return a volume with one snapshot, and something of its own."""
    volume = oracle.volume()
    oracle.write(volume)
    oracle.create(volume, "first")
    oracle.write(volume, CLUSTER)
    return volume


def create(root: Path, volume: str) -> None:
    """Create a snapshot with a uuid that is known beforehand."""
    Engine.open(root).create_snapshot(volume, "new", uuid=GIVEN)


def crash(oracle: Oracle, volume: str, nth: int) -> None:
    """Kill a create at its nth rename: the first one commits."""
    root = oracle.engine.root
    strace.killed_within(partial(create, root, volume), root, Point("rename", nth))


@pytest.mark.parametrize("nth", [1, 2], ids=["before the commit", "after it"])
def test_a_vm_that_starts_between_the_crash_and_the_recovery_loses_nothing(
    oracle: Oracle, volume: str, nth: int
) -> None:
    crash(oracle, volume, nth)
    path = oracle.engine.volume_path(volume)
    with qemu.running(path) as machine:
        machine.poke(0xAA, 2 * CLUSTER, CLUSTER)
        oracle.engine = Engine.open(oracle.engine.root)
        assert [found.outcome for found in oracle.engine.recovered] == [["undone", "finished"][nth - 1]]
        machine.poke(0xBB, 3 * CLUSTER, CLUSTER)
        machine.command("human-monitor-command", **{"command-line": 'qemu-io disk "flush"'})

    if nth == 2:
        oracle.expected[GIVEN] = oracle.expected[volume]
    old = oracle.expected[volume]
    new = old[: 2 * CLUSTER] + b"\xaa" * CLUSTER + b"\xbb" * CLUSTER + old[4 * CLUSTER :]
    assert images.read(path) == new
    subprocess.run(["qemu-img", "check", "-q", "-r", "leaks", "-f", "qcow2", path], check=False)  # QEMU was killed
    oracle.expected[volume] = new
    oracle.check()


def test_a_recovery_that_can_not_see_whether_an_image_is_there_takes_nothing_back(
    oracle: Oracle, volume: str
) -> None:
    crash(oracle, volume, 2)
    root = oracle.engine.root
    image = os.path.relpath(oracle.engine.volume_path(volume).with_name(f"{GIVEN}.qcow2"), root)
    for number in range(1, 9):  # each look at it fails once
        look = Call(Point("newfstatat", number), 0, image, number, own=True)
        strace.failed(partial(Engine.open, root), root, look, "EIO")
        if not os.listdir(root / "journal"):
            break

    oracle.engine = Engine.open(root)
    oracle.expected[GIVEN] = oracle.expected[volume]
    oracle.check()
    assert number > 2


@pytest.mark.parametrize("verb", ["revert", "restore_trash"])
def test_an_active_image_that_can_not_be_read_is_not_taken_for_damaged(oracle: Oracle, verb: str) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    uuid = oracle.create(volume, "first").uuid
    oracle.write(volume, CLUSTER)
    item = oracle.revert(uuid)
    oracle.write(volume, 2 * CLUSTER)
    root, path = oracle.engine.root, oracle.engine.volume_path(volume)
    header = Call(Point("pread64", 1), 0, os.path.relpath(path, root), 1, own=True)
    named = uuid if verb == "revert" else item

    done = strace.failed(lambda: getattr(Engine.open(root), verb)(named), root, header, "EIO")

    assert done.said.startswith("Denied: ") and "Input/output error" in done.said
    oracle.check()


@pytest.mark.parametrize("nth", [1, 2], ids=["before the commit", "after it"])
def test_a_recovery_that_comes_late_leaves_alone_what_others_have_built_since(
    oracle: Oracle, volume: str, nth: int
) -> None:
    crash(oracle, volume, nth)
    root = oracle.engine.root
    verb = "import sys; print(engine.recovered, file=sys.stderr)"
    with at_work.held(root, verb, "fcntl.flock", nth=2) as late:  # it has the entry's lock, and comes for the volume's
        oracle.engine = Engine.open(root, recover=False)
        if nth == 2:
            oracle.expected[GIVEN] = oracle.expected[volume]
        oracle.create(volume, "second")
        oracle.create(volume, "third")
        said = at_work.resume(late)

    assert "Traceback" not in said
    assert "put right by another operation" in said
    oracle.check()


def test_a_setting_is_not_lost_to_a_verb_that_notes_the_stores_new_place(
    oracle: Oracle, volume: str, tmp_path: Path
) -> None:
    root = tmp_path / "moved"
    oracle.engine.root.rename(root)
    oracle.engine = Engine.open(root)
    verb = f"engine.update_volume({volume!r}, name='renamed')"
    with at_work.held(root, verb, "os.rename") as late:
        assert [path.name for path in root.iterdir() if path.name.startswith(".primary")]
        going_on = threading.Timer(0.3, at_work.resume, (late,))
        going_on.start()
        oracle.engine.set_depth_limit(7)  # waits for who stands before the rename of the same record
        going_on.join()

    assert oracle.engine.storage.max_incremental_snapshot_num == 7
    assert oracle.engine.storage.root == str(root)
    oracle.check()
