"""A primary storage is there or it is not; a making that was cut off can be done again."""

import shutil
from functools import partial
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from tests import check
from tests.crash import strace
from tests.crash.strace import NAMES, Kill

pytestmark = pytest.mark.crash


def test_an_init_that_is_killed_can_be_done_again(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    root = tmp_path / "storage"
    init = partial(Engine.init, root)
    calls = strace.listed(init, root).calls
    kills = [call.point for call in calls if pytestconfig.getoption("--crash-all") or call.point.name in NAMES]
    assert len(kills) > 5
    for point in kills:
        shutil.rmtree(root)
        strace.killed(init, root, Kill(point, True), patience=4)
        try:
            engine = Engine.open(root)
        except errors.NoStorage:
            engine = Engine.init(root)
        check.full(Engine.open(engine.root), {})
