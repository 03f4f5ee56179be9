"""The crash tests notice an engine that is broken on purpose: what they let pass is worth something."""

import pytest

from tests.crash.bench import Bench
from tests.crash.sabotage import SABOTAGES
from tests.crash.strace import Kill, Point

pytestmark = pytest.mark.crash

TELLING = {  # where a kill shows it, and by what
    "the_frozen_image_gets_its_name_last": (Point("rename", 2), "No such file"),
    "nothing_stands_in_the_journal": (Point("linkat", 1), "_check_files"),
    "an_undo_removes_nothing": (Point("linkat", 1), "_check_files"),
    "recovery_always_undoes": (Point("rename", 2), "for its own"),
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_kill_of_a_broken_engine_is_noticed(bench: Bench, sabotage: str) -> None:
    point, sign = TELLING[sabotage]

    outcome = bench.kill_broken(bench.prepared("create"), Kill(point, True), sabotage)

    assert outcome.end == "wrong"
    assert sign in outcome.why
