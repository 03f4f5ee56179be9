"""A rebuild that was cut off is made good by doing it again: killed, or failed, at any of its calls."""

import os
import shutil
from functools import partial
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests import prepared
from tests.crash import points, strace
from tests.prepared import Prepared

pytestmark = pytest.mark.crash


@pytest.fixture
def lost(tmp_path: Path) -> Prepared:
    """Return a store without records."""
    store = prepared.make(tmp_path / "storage")
    for path in store.root.rglob("*.json"):
        path.unlink()
    shutil.copytree(store.root, tmp_path / "kept", copy_function=shutil.copy2)
    return store


def renew(store: Prepared) -> None:
    """Put the store back as it was without records, notes among it."""
    shutil.rmtree(store.root)
    shutil.copytree(store.root.with_name("kept"), store.root, copy_function=shutil.copy2)


def rebuilt(store: Prepared) -> None:
    """Assert that a rebuild brings back all of the store, as it was."""
    assert Engine.rebuild(store.root).left == ()
    store.oracle.check()
    assert {s.name for s in store.engine.list_snapshots()} == {"first", "second"}


def test_a_rebuild_that_is_killed_is_made_good_by_another(lost: Prepared) -> None:
    rebuild = partial(Engine.rebuild, lost.root)
    kills = points.kills(strace.listed(rebuild, lost.root).calls)
    rebuilt(lost)
    assert len(kills) > 20
    for kill in kills[:: max(len(kills) // 4, 1)]:
        renew(lost)
        strace.killed(rebuild, lost.root, kill, patience=4)
        rebuilt(lost)


def test_a_rebuild_that_fails_is_made_good_by_another(lost: Prepared) -> None:
    rebuild = partial(Engine.rebuild, lost.root)
    failures = points.failures(strace.listed(rebuild, lost.root).calls)
    assert len(failures) > 20
    for failure in failures[:: max(len(failures) // 4, 1)]:
        renew(lost)
        strace.failed(rebuild, lost.root, failure.call, failure.error)
        rebuilt(lost)


def test_a_rebuild_that_can_not_read_what_was_noted_makes_nothing_up(lost: Prepared) -> None:
    rebuild = partial(Engine.rebuild, lost.root)
    calls = strace.listed(rebuild, lost.root, looks=True).calls
    notes = [call for call in points.distinct(calls) if call.point.name == "lgetxattr" and call.number == 1]
    assert len(notes) > 3
    for call in notes[::2]:
        renew(lost)
        assert strace.failed(rebuild, lost.root, call, "EIO").exact
        rebuilt(lost)


def test_a_rebuild_that_can_not_read_by_which_uuid_a_store_goes_makes_up_no_other(tmp_path: Path) -> None:
    engine = Engine.init(tmp_path / "storage")
    own = engine.storage.uuid
    record = engine.volume_path(engine.create_volume("disk", 2**20).uuid).with_suffix(".json")
    (engine.root / "primary-storage.json").unlink()
    for path in (engine.root, record.with_suffix(".qcow2")):
        for name in os.listxattr(path):
            os.removexattr(path, name)
    rebuild = partial(Engine.rebuild, engine.root)
    calls = strace.listed(lambda: rebuild(dry_run=True), engine.root, looks=True).calls
    (call,) = [c for c in calls if (c.point.name, Path(c.path).name, c.number) == ("openat", record.name, 1)]
    run = strace.failed(rebuild, engine.root, call, "EIO")
    assert run.exact and "the disk reports an error" in run.said
    assert rebuild().left == ()
    assert Engine.open(engine.root).storage.uuid == own
