"""A short load run, and a broken server that it must notice; `make load` goes on for a minute."""

from pathlib import Path

import pytest

from tests.load import judge, run
from tests.load.book import Call

pytestmark = pytest.mark.crash

FEW = run.Crew(volumes=2, writers=2, readers=3)


def test_reads_wait_for_nobody_changes_for_those_before_them_and_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    report = run.load(tmp_path, 2, 1, FEW)

    assert report.faults == []
    assert report.alone and report.beside and report.held and report.left_done and report.there


def test_a_server_that_is_broken_on_purpose_is_noticed(tmp_path: Path) -> None:
    assert "lost" in str(run.load(tmp_path, 1, 1, FEW, "some_creates_are_only_told").faults)


def test_a_change_that_lets_all_others_pass_is_noticed() -> None:
    first = Call("a", "create", "v", sent=0, answered=100, took=1.0)
    others = [Call("b", "create", "v", sent=n, answered=n + 1, took=1.0) for n in range(1, 20, 2)]

    assert judge.most_overtaken([*others, first]) == len(others)
    assert judge.most_overtaken(others) == 0
