"""A primary storage is there or it is not; a making that was cut off can be done again."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from tests import check
from tests.crash import points, strace

pytestmark = pytest.mark.crash


def _require_made(root: Path) -> None:
    """Assert that there is a storage or that one can be made."""
    try:
        engine = Engine.open(root)
    except errors.NoStorage:
        engine = Engine.init(root)
    check.full(Engine.open(engine.root), {})


def test_an_init_that_is_killed_can_be_done_again(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    init = partial(Engine.init, root)
    kills = points.kills(strace.listed(init, root).calls)
    assert len(kills) > 20
    for kill in kills:
        shutil.rmtree(root)
        strace.killed(init, root, kill, patience=2)
        _require_made(root)


def test_an_init_that_fails_can_be_done_again(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    init = partial(Engine.init, root)
    failures = points.failures(strace.listed(init, root).calls)
    assert len(failures) > 40
    for failure in failures:
        shutil.rmtree(root)
        run = strace.failed(init, root, failure.call, failure.error)
        assert not run.said.startswith(("!", "ENOSPC")), run.said
        _require_made(root)
