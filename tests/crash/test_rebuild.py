"""A rebuild that was cut off is made good by doing it again: killed, or failed, at any of its calls."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests import prepared
from tests.crash import strace
from tests.crash.strace import NAMES, Kill
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


def test_a_rebuild_that_is_cut_off_is_made_good_by_another(lost: Prepared, pytestconfig: pytest.Config) -> None:
    rebuild = partial(Engine.rebuild, lost.root)
    calls = strace.listed(rebuild, lost.root).calls
    lost.oracle.check()
    every = pytestconfig.getoption("--crash-all")
    renames = [call for call in calls if call.point.name in NAMES]
    chosen = calls if every else renames[:: max(len(renames) // 6, 1)]
    assert len(renames) > 5
    for call in chosen:
        renew(lost)
        strace.killed(rebuild, lost.root, Kill(call.point, True), patience=4)
        assert Engine.rebuild(lost.root).left == ()
        lost.oracle.check()
    for call in calls if every else renames[1:4]:
        renew(lost)
        strace.failed(rebuild, lost.root, call, "ENOSPC")
        assert Engine.rebuild(lost.root).left == ()
        lost.oracle.check()
    assert {s.name for s in lost.engine.list_snapshots()} == {"first", "second"}
