"""Locks among engines, and between an engine and a running VM (DESIGN, invariants 6 and 7)."""

import hashlib
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapengine import errors, lock
from snapengine.engine import Engine
from tests import at_work, check, qemu
from tests.oracle import CLUSTER, MIB, Oracle

NO_WRITE_LOCK = 'Failed to get "write" lock'
SIZE = 64 * MIB  # so much to copy that a full snapshot can be met at work

Verb = Callable[[Oracle, str], object]


def _create(oracle: Oracle, volume: str) -> object:
    return oracle.create(volume, "new")


def _revert(oracle: Oracle, volume: str) -> object:
    return oracle.revert(oracle.engine.list_snapshots(volume)[0].uuid)


def _restore(oracle: Oracle, volume: str) -> object:
    return oracle.restore(oracle.engine.list_trash()[0].uuid)


replacing = pytest.mark.parametrize("verb", [_create, _revert, _restore], ids=["create", "revert", "restore"])


@pytest.fixture
def volume(oracle: Oracle) -> str:
    """Return a volume with two snapshots, one item in the trash, and something of its own."""
    volume = oracle.volume()
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, CLUSTER)
    oracle.revert(first)
    oracle.create(volume, "second")
    oracle.write(volume, 2 * CLUSTER)
    return volume


@pytest.fixture
def large(oracle: Oracle) -> str:
    """Return a volume at its depth limit, with so much in it that copying it takes a while."""
    oracle.engine.set_depth_limit(2)
    volume = oracle.volume(size=SIZE)
    for name in ("first", "second"):
        oracle.create(volume, name)
    oracle.write(volume, 0, SIZE)
    return volume


@contextmanager
def unchanged(root: Path) -> Iterator[None]:
    """Assert that the block changes no file of the store."""
    before = _files(root)
    yield
    assert _files(root) == before


def _files(root: Path) -> dict[Path, tuple[int, str]]:
    """Return inode and sha256 of every file of the store but its locks."""
    files = [Path(at, name) for at, _, names in os.walk(root) for name in names if name != ".lock"]
    return {path: (path.stat().st_ino, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


@replacing
def test_a_volume_of_a_running_vm_is_refused_with_the_name_of_the_vm(oracle: Oracle, volume: str, verb: Verb) -> None:
    with qemu.running(oracle.engine.volume_path(volume), "db") as machine, unchanged(oracle.engine.root):
        with pytest.raises(errors.InUse) as refused:
            verb(oracle, volume)

    assert f"qemu-system-x86_64 (pid {machine.pid}, guest db)" in str(refused.value)
    assert "shut the VM down first" in str(refused.value)
    oracle.check()
    verb(oracle, volume)
    oracle.check()


def test_what_leaves_the_active_image_alone_works_while_a_vm_runs(oracle: Oracle, volume: str) -> None:
    with qemu.running(oracle.engine.volume_path(volume)):
        oracle.engine.update_snapshot(oracle.engine.list_snapshots(volume)[0].uuid, name="renamed")
        oracle.restore_as_snapshot(oracle.engine.list_trash()[0].uuid, "kept")
        oracle.purge()
        assert oracle.engine.verify(deep=True) == ()

    oracle.check()


@replacing
@pytest.mark.parametrize("flags", [os.O_RDWR, os.O_RDONLY], ids=["to write", "to read"])
def test_who_has_the_image_open_without_any_lock_is_refused_by_the_lease(
    oracle: Oracle, volume: str, verb: Verb, flags: int
) -> None:
    code = f"import os, sys; os.open({str(oracle.engine.volume_path(volume))!r}, {flags}); print(); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as holder, unchanged(oracle.engine.root):
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            with pytest.raises(errors.InUse, match=rf"\(pid {holder.pid}\)"):
                verb(oracle, volume)
        finally:
            holder.kill()

    oracle.check()


def test_a_vm_that_starts_while_a_verb_works_does_not_get_the_write_lock(oracle: Oracle, large: str) -> None:
    with at_work.stopped(oracle.engine.root, f"engine.create_snapshot({large!r}, 'full')") as work:
        started = qemu.start(oracle.engine.volume_path(large))
        assert at_work.resume(work) == ""

    assert started.returncode != 0
    assert NO_WRITE_LOCK in started.stderr
    assert {s.name for s in oracle.engine.list_snapshots(large)} == {"first", "second", "full"}


PAUSES = (1, 5, 25)  # seconds: where a machine is so busy that a try comes too late, a longer one is needed


@contextmanager
def held_at_the_commit(oracle: Oracle, volume: str, side: str, seconds: float) -> Iterator[Path]:
    """Have another engine create a snapshot and stand still for seconds before (enter) or after (exit) the rename."""
    path = oracle.engine.volume_path(volume)
    old = path.stat().st_ino
    hold = ("-e", "trace=rename", "-e", f"inject=rename:delay_{side}={seconds * 1e6:.0f}:when=1")
    verb = f"print(engine.create_snapshot({volume!r}, 'new').uuid)"
    with at_work.started(oracle.engine.root, verb, "strace", "-f", "-qq", "-o", "/dev/null", *hold) as engine:
        if side == "exit":
            at_work.until(lambda: path.stat().st_ino != old)
        else:
            at_work.until(lambda: _is_leased(oracle.engine.root) or engine.poll() is not None)  # or it was missed
        yield path
        said, complaints = engine.communicate(timeout=at_work.PATIENCE)
    assert complaints == ""
    oracle.expected[said.strip()] = oracle.expected[volume]


def _is_leased(root: Path) -> bool:
    return any("LEASE" in line for line in check.locks(root))


@pytest.mark.parametrize("side", ["enter", "exit"])
def test_a_vm_that_starts_at_the_commit_does_not_get_the_write_lock(oracle: Oracle, volume: str, side: str) -> None:
    for seconds in PAUSES:
        with held_at_the_commit(oracle, volume, side, seconds) as path:
            started = qemu.start(path)
        if started.returncode != 0:
            break

    assert started.returncode != 0
    assert NO_WRITE_LOCK in started.stderr
    oracle.check()


def test_who_opens_the_image_during_the_lease_waits_and_the_verb_ends_well(oracle: Oracle, volume: str) -> None:
    for seconds in PAUSES:
        read: list[int] = []
        with held_at_the_commit(oracle, volume, "enter", seconds) as path:
            reader = threading.Thread(target=lambda: read.append(len(path.read_bytes())))
            reader.start()
            time.sleep(0.1)
            waited = not read
        reader.join()
        if waited:
            break

    assert waited and read[0] > 0
    oracle.check()


def test_a_second_verb_waits_its_time_and_then_names_pid_and_verb_of_the_first(oracle: Oracle, large: str) -> None:
    with at_work.stopped(oracle.engine.root, f"engine.create_snapshot({large!r}, 'full')") as work:
        oracle.engine.wait = 0.2
        with pytest.raises(errors.Copying, match=rf"create full snapshot \(pid {work.engine.pid}\); waited 0.2 s"):
            _create(oracle, large)
        oracle.engine.wait = at_work.PATIENCE
        other = oracle.volume("other")
        oracle.create(other, "not in the way")
        assert at_work.resume(work) == ""
        _create(oracle, large)

    assert {s.name for s in oracle.engine.list_snapshots(large)} == {"first", "second", "full", "new"}


def test_a_lock_that_is_a_second_name_of_another_file_leaves_what_that_holds(
    oracle: Oracle, volume: str, tmp_path: Path
) -> None:
    other, path = tmp_path / "other", oracle.engine.volume_path(volume).parents[1] / ".lock"
    other.write_text("precious")
    path.unlink()
    os.link(other, path)

    oracle.create(volume, "new")
    assert other.read_text() == "precious"


def test_whoever_waits_for_a_reader_is_told_its_pid(oracle: Oracle, volume: str) -> None:
    directory = oracle.engine.volume_path(volume).parents[1]
    reading = f"""
import sys
from pathlib import Path
from snapengine import lock
with lock.shared(Path({str(directory)!r}), "export"):
    print(flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", reading], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as reader:  # fmt: skip
        assert reader.stdout is not None and reader.stdout.readline() == b"\n"
        oracle.engine.wait = 0
        with pytest.raises(errors.Locked, match=rf"is locked by another operation \(pid {reader.pid}\); waited 0 s"):
            _create(oracle, volume)
        reader.communicate()
    _create(oracle, volume)


def test_a_dead_holder_never_blocks_and_what_became_of_its_verb_is_told(
    oracle: Oracle, large: str, caplog: pytest.LogCaptureFixture
) -> None:
    with at_work.stopped(oracle.engine.root, f"engine.create_snapshot({large!r}, 'full')") as work:
        at_work.die(work)
        oracle.engine.wait = 0
        oracle.create(large, "next")

    (told,) = (record.getMessage() for record in caplog.records if record.name == "snapengine.hold")
    assert re.fullmatch(rf"recovered: create snapshot of {large}, begun .*: undone", told)
    oracle.check()


def test_recovery_leaves_a_running_operation_alone_and_never_waits(oracle: Oracle, large: str) -> None:
    with at_work.stopped(oracle.engine.root, f"engine.create_snapshot({large!r}, 'full')") as work:
        begun = time.monotonic()
        with unchanged(oracle.engine.root):
            engine = Engine.open(oracle.engine.root)
        assert time.monotonic() - begun < lock.DEFAULT_WAIT / 2
        assert engine.recovered == ()
        assert [(left.verb, left.running) for left in engine.status().unfinished] == [("create snapshot", True)]
        assert at_work.resume(work) == ""

    assert engine.status().unfinished == ()


def test_readers_go_on_while_a_verb_works(oracle: Oracle, large: str) -> None:
    before = oracle.engine.snapshot_trees(large)
    with at_work.stopped(oracle.engine.root, f"engine.create_snapshot({large!r}, 'full')"):
        assert oracle.engine.snapshot_trees(large) == before
        assert len(oracle.engine.list_snapshots()) == 2
        assert len(oracle.engine.volume_chain(large)) == 3
        assert oracle.engine.status().snapshots == 2


@pytest.mark.parametrize("side", ["enter", "exit"])
def test_readers_at_the_commit_see_the_old_or_the_new(oracle: Oracle, volume: str, side: str) -> None:
    with held_at_the_commit(oracle, volume, side, seconds=0.3):
        assert len(oracle.engine.volume_chain(volume)) in (3, 4)
        assert len(oracle.engine.list_snapshots(volume)) in (2, 3)
        assert len(oracle.engine.snapshot_trees(volume)) == 1
        assert oracle.engine.status().snapshots in (2, 3)

    assert len(oracle.engine.volume_chain(volume)) == 4
