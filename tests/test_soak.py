"""A short soak, and engines broken on purpose that it must notice; `make soak` goes on for minutes."""

from pathlib import Path

import pytest

from tests.soak import run, served

pytestmark = pytest.mark.crash


def test_processes_that_work_at_once_and_are_killed_lose_nothing(tmp_path: Path) -> None:
    report = run.soak(tmp_path, 10, seed=1)

    assert report.faults == []
    assert report.kills > 0
    assert report.done.total() > 0


def test_clients_of_a_server_that_is_killed_lose_nothing(tmp_path: Path) -> None:
    report = served.soak(tmp_path, 10, seed=1)

    assert report.faults == []
    assert report.kills > 0
    assert report.done.total() > 0


@pytest.mark.parametrize("broken", ["writes_no_job_down"])
def test_a_server_that_is_broken_on_purpose_is_noticed(tmp_path: Path, broken: str) -> None:
    assert served.soak(tmp_path, 240, seed=3, broken=broken).faults


@pytest.mark.parametrize("sabotage", ["nobody_locks"])
def test_an_engine_that_is_broken_on_purpose_is_noticed(tmp_path: Path, sabotage: str) -> None:
    assert run.soak(tmp_path, 240, seed=1, sabotage=sabotage, kills=False).faults
