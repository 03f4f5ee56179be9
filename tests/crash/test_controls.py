"""The crash tests notice an engine that is broken on purpose: what they let pass is worth something."""

import pytest

from tests.crash import judge, points
from tests.crash.bench import Bench
from tests.crash.cases import GIVEN
from tests.crash.judge import Interrupt
from tests.crash.strace import Kill, Point

pytestmark = pytest.mark.crash

LSTAT = ("newfstatat", "lstat", "statx")  # what asks whether a name is there, as the C library has it

TELLING = {  # where a kill shows it, and by what
    "the_frozen_image_gets_its_name_last": (Point("rename", 2), "No such file"),
    "nothing_stands_in_the_journal": (Point("linkat", 1), "_check_files"),
    "an_undo_removes_nothing": (Point("linkat", 1), "_check_files"),
    "recovery_always_undoes": (Point("rename", 2), "for its own"),
}


@pytest.mark.parametrize("sabotage", TELLING)
def test_a_kill_of_a_broken_engine_is_noticed(bench: Bench, sabotage: str) -> None:
    point, sign = TELLING[sabotage]

    outcome = bench.cut_broken(judge.kill, bench.prepared("create"), Kill(point, True), sabotage)

    assert outcome.end == "wrong"
    assert sign in outcome.why


def test_a_recovery_that_takes_what_it_can_not_see_for_missing_is_noticed(bench: Bench) -> None:
    crashed = bench.crashed(bench.prepared("create"), Kill(Point("rename", 2), True))
    looks = points.looks(bench.looked(crashed).calls)
    at_image = [at for at in looks if at.call.path.endswith(f"/{GIVEN}.qcow2") and at.call.point.name in LSTAT]

    outcomes = [bench.cut_broken(judge.fail, crashed, at, "what_can_not_be_seen_is_missing") for at in at_image]

    wrong = [outcome.why for outcome in outcomes if outcome.end == "wrong"]
    assert wrong and all("FileNotFoundError" in why and f"/{GIVEN}.qcow2" in why for why in wrong)


def test_a_group_that_is_taken_back_when_interrupted_at_its_end_is_noticed(bench: Bench) -> None:
    group = bench.prepared("revert to a group")
    (end,) = [call for call in group.calls if call.point.name == "unlink" and call.path.startswith("journal/")]

    outcome = bench.cut_broken(judge.interrupt, group, Interrupt(end), "an_end_is_settled_once_more")

    assert outcome.end == "wrong"
    assert "neither before nor after" in outcome.why
