"""The robot: a short walk finds nothing, a broken engine is found, and the list of actions gets as short as can be."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from snapengine import clones, operation
from tests import privileged
from tests.robot import __main__ as robot
from tests.robot import actions, shorten, walk
from tests.robot.actions import Action
from tests.robot.verbs import VERBS

STEPS = 40
QUICK = {"write": 3, "create": 3, "revert": 3, "update": 1, "tag": 1}
CLONING = {"create": 3, "clone": 3, "undo": 2, "delete": 3, "tag": 1}

EVERY = """
volume 0 0 0, write 0 9 99, create 0 0 0, tag 0 1 0, update 0 0 0, attach 0 0 0, write 0 300 50, create-group 0 0 0,
punch 0 4 0, punch 0 50 3, write-zeros 0 700 20, create 0 0 0, shrink 2 0 0, resize 0 100 0, write 0 2050 9,
create 0 0 0, diff 0 1 0, export 0 0 0, export 1 1 0, import 0 5 1, import-chain 2 0 0, sizes 1 0 0, revert 0 0 0,
write 0 80 9, revert 1 0 0, restore 0 0 0, write 0 90 9, revert 0 0 0, keep 0 0 0, revert-group 0 0 0, write 0 10 9,
flatten 0 0 0, purge 0 0 0, limit 1 3 0, limit 0 0 2, update-group 0 0 0, clone 0 1 0, delete 1 0 0, ungroup 0 0 0,
create-group 0 0 0, delete-group 0 0 0, delete-several 0 6 0, attach 0 0 0, delete-volume 1 0 0, recover-volume 0 0 0,
delete-volume 1 0 0, expunge-volume 0 0 0, create 0 0 0, undo 0 0 0, move-store 1 0 0, reflinks 1 0 0, create 0 0 0,
delete-descendants 9 0 0
"""

Break = Callable[[pytest.MonkeyPatch], None]


def reverts_keep_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let what a revert replaces be lost."""
    patch.setattr(operation, "former", lambda work, old: None)


def linked_clones_protect_nothing(patch: pytest.MonkeyPatch) -> None:
    """Let snapshots go on which linked clones stand."""
    patch.setattr(clones, "of", lambda *args: [])


BROKEN: list[tuple[Break, dict[str, int], set[str]]] = [
    (reverts_keep_nothing, QUICK, {"volume", "create", "write", "revert"}),
    (linked_clones_protect_nothing, CLONING, {"volume", "create", "clone"}),
]


@pytest.fixture(params=["plain", "xfs"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "plain":
        yield tmp_path
        return
    with privileged.xfs(tmp_path) as disk:
        yield disk


def test_a_short_walk_finds_nothing_wrong(directory: Path) -> None:
    weights = {name: verb.weight for name, verb in VERBS.items()}
    done = walk.walk(actions.draw(1, STEPS, weights, robot.FIRST), directory)

    assert done.failure is None, done.failure.text
    assert done.done.total() >= STEPS * 2 / 3
    assert list(directory.glob("store-*")) == []


def test_every_verb_does_something_where_it_can(tmp_path: Path) -> None:
    done = walk.walk(actions.read(EVERY.replace(",", "\n")), tmp_path)

    assert done.failure is None, done.failure.text
    assert set(VERBS) - set(done.done) == set()


@pytest.mark.parametrize(("sabotage", "weights", "needed"), BROKEN, ids=lambda each: getattr(each, "__name__", ""))
def test_a_broken_engine_is_found_by_a_short_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sabotage: Break, weights: dict[str, int], needed: set[str]
) -> None:
    sabotage(monkeypatch)
    todo = actions.draw(1, STEPS, weights, robot.FIRST)
    failure = walk.walk(todo, tmp_path).failure
    assert failure is not None
    short = walk.shortest(todo, failure, tmp_path, 600)

    assert len(short) <= len(needed) + 1
    assert needed <= {action.verb for action in short}
    again = walk.walk(short, tmp_path).failure
    assert again is not None and again.sign == failure.sign
    monkeypatch.undo()
    assert walk.walk(short, tmp_path).failure is None


def test_a_failure_is_told_with_its_seed_and_can_be_replayed_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given").write_text("volume 0 0 0\ntag 0 0 0\ncreate 0 0 0  # a remark\nwrite 0 0 0\nrevert 0 0 0\n")
    assert robot.main(["--replay", "given"]) == 0

    reverts_keep_nothing(monkeypatch)
    assert robot.main(["--replay", "given", "--seed", "7"]) == 1
    told = capsys.readouterr().out
    monkeypatch.chdir(tmp_path)

    assert "the shortest list that fails, 4 actions:\nvolume 0 0 0\ncreate 0 0 0\nwrite 0 0 0\nrevert 0 0 0\n" in told
    assert "again: make robot DISK=plain REPLAY=.robot/failure-plain-7.txt" in told
    assert robot.main(["--replay", ".robot/failure-plain-7.txt", "--patience", "0"]) == 1
    assert "nothing keeps what volume" in (tmp_path / ".robot/failure-plain-7.txt").read_text()


def test_a_file_that_lists_no_actions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="line 2 is no action"):
        actions.read("create 1 2 3\ncreate 1 2\n")
    (tmp_path / "given").write_text("explode 1 2 3\n")
    with pytest.raises(SystemExit, match="no verbs: explode; there are: volume, "):
        robot.main(["--replay", str(tmp_path / "given")])


def test_a_seed_always_gives_the_same_actions_and_a_file_holds_them_all() -> None:
    drawn = actions.draw(5, 30, {"create": 1, "revert": 2}, ("volume",))

    assert drawn == actions.draw(5, 30, {"create": 1, "revert": 2}, ("volume",)) != actions.draw(6, 30, {"create": 1})
    assert (len(drawn), drawn[0].verb) == (30, "volume")
    assert actions.read(actions.write(drawn, ["two\nlines"])) == drawn == [*map(Action._make, drawn)]


@pytest.mark.parametrize("needed", [[0], [99], [3, 50, 51], [0, 17, 98, 99], [*range(40, 48)]], ids=str)
def test_all_that_is_not_needed_is_dropped(needed: list[int]) -> None:
    asked: list[Sequence[int]] = []

    def fails(some: Sequence[int]) -> bool:
        asked.append(some)
        return {*needed} <= {*some}

    assert shorten.shortest(range(100), fails) == needed
    assert len(asked) < 100
