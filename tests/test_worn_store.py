"""A store that lost a part which it can do without, or that cannot be written: whatever is whole goes on working."""

import shutil
from pathlib import Path

from snapengine.engine import Engine
from tests.command_line import CommandLine
from tests.oracle import Oracle


def test_a_store_whose_empty_journal_directory_was_not_backed_up_goes_on(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    shutil.rmtree(oracle.engine.root / "journal")

    engine = Engine.open(oracle.engine.root)
    assert engine.verify() == ()
    assert engine.status().unfinished == ()
    oracle.create(volume, "a")
    oracle.check()


def test_a_volume_is_created_where_the_journal_directory_is_gone(tmp_path: Path) -> None:
    command = CommandLine(tmp_path / "storage")
    command.text("init")
    shutil.rmtree(tmp_path / "storage" / "journal")
    command.text("volume", "create", "db", "--size", "1M")
    assert command.text("verify") == "no problems\n"
