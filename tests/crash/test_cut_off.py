"""A verb that is cut off leaves the state before or after it, never another, and the next command works (DESIGN, 4)."""

import pytest

from tests.crash import points
from tests.crash.bench import Bench, all_right
from tests.crash.cases import VERBS
from tests.crash.judge import Failure
from tests.crash.strace import Kill, Point

pytestmark = pytest.mark.crash

FEW = 2  # points of those ways that have many
BY_THE_MATRIX = ("repair other names", "delete by pull without reflinks")  # which differs on XFS only
CUT = [name for name in VERBS if name not in ("recover", *BY_THE_MATRIX)]


@pytest.mark.parametrize("name", CUT)
def test_a_kill_leaves_the_state_before_or_after(bench: Bench, name: str) -> None:
    all_right(bench.kills(bench.prepared(name)))


@pytest.mark.parametrize("name", CUT)
def test_a_failing_system_call_leaves_the_state_before_or_after(bench: Bench, name: str) -> None:
    all_right(bench.failures(bench.prepared(name)))


@pytest.mark.parametrize("name", ["create", "delete by pull", "revert to a group"])
def test_a_call_that_only_looks_and_fails_or_a_ctrl_c_leaves_the_state_before_or_after(bench: Bench, name: str) -> None:
    prepared = bench.looked(bench.prepared(name))
    own = [call for call in prepared.calls if call.own]  # the same ones each time

    all_right(bench.failures(prepared, points.one_in(len(own) // FEW, points.looks(own), name)))
    all_right(bench.interrupts(prepared, points.one_in(len(own) // FEW, points.interrupts(own), name)))


@pytest.mark.parametrize("name", ["import", "create a full one"])
def test_a_copy_that_says_it_worked_although_its_last_writes_failed_is_not_believed(bench: Bench, name: str) -> None:
    prepared = bench.prepared(name)
    calls = [call for call in points.distinct(prepared.calls) if call.point.name == "fdatasync"]

    all_right(bench.failures(prepared, [Failure(call, "ENOSPC") for call in calls]))


@pytest.mark.parametrize("name", ["create", "revert", "restore as a snapshot", "create a volume"])
@pytest.mark.parametrize("nth", [1, 2], ids=["before the commit", "after it"])
def test_a_recovery_that_is_killed_itself_is_made_good_by_the_next(bench: Bench, name: str, nth: int) -> None:
    prepared = bench.prepared(name)
    renames = [call.point for call in prepared.calls if call.point.name == "rename"]  # the first one commits
    point = Point("rename", nth) if nth <= len(renames) else Point("unlink", 1)

    all_right(bench.kills(bench.crashed(prepared, Kill(point, True))))


def test_a_purge_that_is_killed_in_its_recovery_too_goes_on(bench: Bench) -> None:
    all_right(bench.kills(bench.crashed(bench.prepared("purge"), Kill(Point("unlink", 1), True))))


def test_a_repair_that_is_killed_in_its_recovery_too_is_done_again(bench: Bench) -> None:
    all_right(bench.kills(bench.crashed(bench.prepared("repair names"), Kill(Point("rename", 1), True))))
