"""The engine writes no record that it could not read itself; it refuses before anything is done."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from snapengine import arguments, errors, inventory
from snapengine.engine import Engine
from tests import prepared
from tests.oracle import MIB
from tests.prepared import Prepared

MANY = tuple(f"{number:04}{'x' * 2000}" for number in range(1100))


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("records") / "master")


@pytest.fixture
def store(master: Prepared, tmp_path: Path) -> Prepared:
    return master.copied(tmp_path / "storage")


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


LARGE: dict[str, Callable[[Prepared], object]] = {
    "a volume": lambda s: s.engine.create_volume("new", MIB, tags=MANY),
    "system tags": lambda s: s.engine.create_snapshot(s.volume, "new", system_tags=MANY),
    "user tags": lambda s: s.engine.create_snapshot(s.volume, "new", user_tags=MANY),
}


@pytest.mark.parametrize("verb", LARGE.values(), ids=LARGE)
def test_more_tags_than_a_record_can_hold_are_refused(store: Prepared, verb: Callable[[Prepared], object]) -> None:
    before = files(store.root)
    with pytest.raises(errors.Invalid, match="an object has at most 200 tags of a kind, this one would have 1100"):
        verb(store)
    assert files(store.root) == before


def test_one_tag_more_than_there_may_be_is_refused_and_one_of_them_given_again_is_not(store: Prepared) -> None:
    for number in range(arguments.MAX_TAGS):
        store.engine.add_tag(store.first, f"tag {number}", user=True)
    store.engine.add_tag(store.first, "tag 7", user=True)
    with pytest.raises(errors.Invalid, match="at most 200 tags"):
        store.engine.add_tag(store.first, "one more", user=True)
    store.engine.add_tag(store.first, "of the other kind")
    store.oracle.check()


def test_as_much_as_may_be_said_of_a_snapshot_fits_into_its_record(store: Prepared) -> None:
    wide = "\N{GRINNING FACE}" * 2048
    tags = tuple(f"{number:04}{wide[4:]}" for number in range(arguments.MAX_TAGS))
    told = store.engine.create_snapshot(store.volume, wide[:255], description=wide, system_tags=tags, user_tags=tags)
    store.oracle.expected[told.uuid] = store.oracle.expected[store.volume]
    store.oracle.check()


GROWN: dict[str, Callable[[Prepared], object]] = {
    "create, which opens a tree": lambda s: s.engine.create_snapshot(s.other, "new"),
    "update": lambda s: s.engine.update_volume(s.other, description="x" * 100),
    "attach": lambda s: s.engine.attach_volume(s.other, "x" * 100),
}


@pytest.mark.parametrize("verb", GROWN.values(), ids=GROWN)
def test_a_record_that_has_grown_too_large_over_the_years_is_not_written(
    store: Prepared, verb: Callable[[Prepared], object]
) -> None:
    """Here by the name of a bitmap that a revert has cut off."""
    path = store.engine.volume_path(store.other).with_suffix(".json")
    record = msgspec.json.decode(path.read_bytes())
    long = "x" * (inventory.MAX_RECORD - len(msgspec.json.encode({**record, "brokenBitmaps": [""]})) - 40)
    path.write_bytes(msgspec.json.encode({**record, "brokenBitmaps": [long]}))
    before = files(store.root)

    with pytest.raises(errors.Invalid, match="a record has at most 4194304 bytes, this one would have 4194"):
        verb(store)
    assert files(store.root) == before


LATE: dict[str, Callable[[Prepared], object]] = {
    "create a volume": lambda s: s.engine.create_volume("new", MIB),
    "create": lambda s: s.engine.create_snapshot(s.volume, "new"),
    "revert": lambda s: s.engine.revert(s.second),
    "update": lambda s: s.engine.update_volume(s.volume, name="new"),
    "delete": lambda s: s.engine.delete_snapshots((s.second,)),
    "purge": lambda s: s.engine.purge_trash(s.engine.list_trash()),
    "create a group": lambda s: s.engine.create_group("new", (s.volume, s.other)),
    "create an account": lambda s: s.engine.create_account("new"),
    "init": lambda s: Engine.init(s.root.parent / "another"),
}


@pytest.mark.parametrize("verb", LATE.values(), ids=LATE)
def test_under_a_clock_that_no_record_can_hold_nothing_is_done(
    store: Prepared, monkeypatch: pytest.MonkeyPatch, verb: Callable[[Prepared], object]
) -> None:
    before = files(store.root.parent)
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 253_402_300_800.0)
        with pytest.raises(errors.Conflict, match=re.escape("the system's clock says Jan 1, 10000 12:00:00 AM")):
            verb(store)
        assert len(store.engine.list_snapshots()) == 2
    assert files(store.root.parent) == before and not (store.root.parent / "another").exists()
    store.oracle.check()
