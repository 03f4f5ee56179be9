"""Something odd in the journal stops nobody who only looks; whoever works on a volume is told its path."""

from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine import errors, journal, translation
from snapengine.engine import Engine
from tests import privileged
from tests.oracle import MIB, Oracle

NAME = f"{'f' * 32}.json"
ODD: dict[str, Callable[[Path], object]] = {
    "a link to nowhere": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "a link to a record": lambda path: path.symlink_to("../accounts.json"),
    "a directory": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("name", [NAME, NAME.replace(".json", ".decided.json")], ids=["begun", "decided"])
@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_an_odd_entry_stops_no_reader(oracle: Oracle, make: Callable[[Path], object], name: str) -> None:
    volume = oracle.volume()
    oracle.create(volume, "a")
    path = oracle.engine.root / "journal" / name
    make(path)

    engine = Engine.open(oracle.engine.root)
    assert engine.recovered == ()
    assert [v.uuid for v in engine.list_volumes()] == [volume]
    assert [s.name for s in engine.list_snapshots()] == ["a"]
    assert engine.status().unfinished == ()
    assert [(p.kind, p.path) for p in engine.verify()] == [("journal-damaged", str(path))]
    with pytest.raises(errors.Corrupt, match=str(path)):
        engine.create_snapshot(volume, "b")
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    oracle.create(volume, "b")
    oracle.check()


@privileged.needs_root
@pytest.mark.root
def test_one_that_is_not_for_us_to_read_stops_no_reader_either() -> None:
    with privileged.open_directory() as directory:
        engine = Engine.init(directory / "storage")
        volume = engine.create_volume("db", MIB).uuid
        path = engine.root / "journal" / NAME
        path.write_text("{}")
        path.chmod(0)

        def look() -> tuple[list[str], int, list[tuple[str, str]]]:
            seen = Engine.open(engine.root)
            found: list[tuple[str, str]] = [(p.kind, p.path) for p in seen.verify()]
            return [v.uuid for v in seen.list_volumes()], seen.status().damaged, found

        listed, damaged, found = privileged.as_nobody(look)
        assert (listed, damaged) == ([volume], 1)
        assert ("unreadable", str(path)) in found
        with pytest.raises(errors.Denied, match=f"permission denied: {path}"):
            privileged.as_nobody(lambda: _listed(engine.root))


def _listed(root: Path) -> None:
    with translation.translated():
        journal.entries(root)
