"""A volume whose active image was lost or damaged: its snapshots and its trash bring it back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine import errors
from tests.command_line import CommandLine, terminal
from tests.oracle import Oracle

Harm = Callable[[Path], object]
Verb = Callable[[str, str], object]


def zero(path: Path) -> None:
    with open(path, "r+b") as f:
        f.write(bytes(4))


HARMS = pytest.mark.parametrize(
    "harm", [zero, Path.unlink, lambda path: path.write_bytes(b"")], ids=["magic", "gone", "empty"]
)


def kept_aside(oracle: Oracle, volume: str) -> list[Path]:
    return list(oracle.engine.volume_path(volume).parent.glob("*.damaged.qcow2"))


def check_and_clear(oracle: Oracle, volume: str, harmed: bytes | None) -> None:
    """Assert that a damaged image is kept as it was, told by verify and nothing else wrong."""
    problems = oracle.engine.verify()
    found = kept_aside(oracle, volume)
    assert [path.read_bytes() for path in found] == ([] if harmed is None else [harmed])
    assert [(p.kind, p.path) for p in problems] == [("stray-file", str(path)) for path in found]
    assert all("damaged image" in p.message for p in problems)
    for path in found:
        path.unlink()
    oracle.check()


@HARMS
@pytest.mark.parametrize("verb", ["revert", "restore"])
def test_a_lost_active_image_gives_way_to_what_is_whole(oracle: Oracle, harm: Harm, verb: str) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    snapshot = oracle.create(volume, "base").uuid
    oracle.write(volume, 65536)
    item = oracle.revert(snapshot)
    oracle.write(volume, 131072)
    assert item is not None
    path = oracle.engine.volume_path(volume)
    path.chmod(0o640)
    harm(path)
    harmed = path.read_bytes() if path.exists() else None

    if verb == "revert":
        oracle.engine.revert(snapshot)
        oracle.expected[volume] = oracle.expected[snapshot]
    else:
        oracle.engine.restore_trash(item)
        oracle.expected[volume] = oracle.expected.pop(item)
    if harmed is not None:
        assert path.stat().st_mode & 0o777 == 0o640
    check_and_clear(oracle, volume, harmed)
    oracle.create(volume, "after")
    oracle.check()


@HARMS
def test_every_other_verb_and_verify_say_that_a_revert_helps(oracle: Oracle, harm: Harm) -> None:
    volume = oracle.volume()
    oracle.create(volume, "base")
    harm(oracle.engine.volume_path(volume))

    with pytest.raises(errors.Corrupt, match="snapengine verify"):
        oracle.engine.create_snapshot(volume, "x")
    (problem,) = oracle.engine.verify()
    assert "snapengine snapshot revert" in problem.repair


def test_the_question_says_what_becomes_of_a_damaged_image(oracle: Oracle) -> None:
    volume = oracle.volume("db")
    oracle.create(volume, "base")
    path = oracle.engine.volume_path(volume)
    command = CommandLine(oracle.engine.root)
    zero(path)
    planned = command.text("snapshot", "revert", "base", "--dry-run")
    assert planned.startswith(f"keep {path.name} (db)\nrevert {path.name} (db) onto ")
    code, shown = terminal(oracle.engine.root, "snapshot", "revert", "base", keys="n\n")
    assert code == 2 and "its present image is damaged and is kept beside it" in shown.replace("\n", "")
    assert command("snapshot", "revert", "base", "--yes").code == 0

    kept_aside(oracle, volume)[0].unlink()
    path.unlink()
    assert command.text("snapshot", "revert", "base", "--dry-run").startswith(f"revert {path.name} (db) onto ")
    code, shown = terminal(oracle.engine.root, "snapshot", "revert", "base", keys="y\n")
    assert code == 0 and "its present image is missing" in shown.replace("\n", "")
    oracle.check()


def test_an_image_that_is_whole_but_stands_on_another_is_not_thrown_out(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.create(volume, "a")
    b = oracle.create(volume, "b").uuid
    path = oracle.engine.volume_path(volume)
    path.write_bytes((path.parent / f"{b}.qcow2").read_bytes())

    with pytest.raises(errors.Refused, match="backing file"):
        oracle.engine.revert(b)
    assert kept_aside(oracle, volume) == []
