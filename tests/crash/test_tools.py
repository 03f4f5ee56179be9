"""A tool that works for an engine dies with it, and the locks too: it must not write while recovery works."""

from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests import at_work
from tests.oracle import MIB, Oracle

pytestmark = pytest.mark.crash

SIZE = 64 * MIB


@pytest.fixture
def volume(oracle: Oracle) -> str:
    """Return a volume at its depth limit, with much in it that a full snapshot must copy."""
    oracle.engine.set_depth_limit(2)
    volume = oracle.volume(size=SIZE)
    for number in range(2):
        oracle.create(volume, f"s{number}")
    oracle.write(volume, 0, SIZE)
    return volume


def _full_snapshot(oracle: Oracle, volume: str, tmp_path: Path) -> str:
    return f"engine.create_snapshot({volume!r}, 'full')"


def _import(oracle: Oracle, volume: str, tmp_path: Path) -> str:
    source = tmp_path / "source.raw"
    source.write_bytes(b"data" * (SIZE // 4))
    return f"engine.import_volume({str(source)!r}, format='raw')"


@pytest.mark.parametrize("verb", [_full_snapshot, _import], ids=["full snapshot", "import"])
def test_a_tool_is_gone_soon_after_its_engine_was_killed(
    oracle: Oracle, volume: str, tmp_path: Path, verb: Callable[[Oracle, str, Path], str]
) -> None:
    with at_work.stopped(oracle.engine.root, verb(oracle, volume, tmp_path)) as work:
        at_work.die(work)

    oracle.engine = Engine.open(oracle.engine.root, wait=0)
    assert [found.outcome for found in oracle.engine.recovered] == ["undone"]
    oracle.check()
    oracle.create(volume, "next")
    oracle.check()


def test_a_tool_that_is_killed_alone_fails_the_verb_and_leaves_nothing(oracle: Oracle, volume: str) -> None:
    with at_work.stopped(oracle.engine.root, _full_snapshot(oracle, volume, Path())) as work:
        at_work.kill(work.tool)
        said = work.engine.communicate(timeout=at_work.PATIENCE)[1]

    assert "CommandFailed" in said
    oracle.check()
    oracle.create(volume, "next")
    oracle.check()
