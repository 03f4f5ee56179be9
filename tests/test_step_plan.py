"""Plans of a removal's steps: what commits each, what it makes, publishes and drops, by each way."""

from typing import NamedTuple

import pytest

from snapengine import intent, inventory, layout, removal, step_plan
from snapengine.cost import Way
from snapengine.draft import Place, Plan
from snapengine.intent import Entry, Rename
from snapengine.inventory import VolumeRecord
from snapengine.removal import Family
from tests import families
from tests.families import BASE, VOLUME, family

NOW = "Jun 7, 2017 9:20:17 PM"
PLACE = Place("f" * 32, "delete snapshots", "dataVolumes/acct-c/vol-v/snapshots", NOW, 4711)


def planned(before: Family, doomed: str, way: Way | None, purged: str = "", *, number: int = 0) -> Plan:
    """Return the plan of the step called number, from 0 on; those before it are over."""
    for each in removal.steps(before, set(doomed), set(purged))[:number]:
        before = removal.applied(before, each, "N", NOW)
    step = removal.steps(before, set(doomed), set(purged))[0]
    after = removal.applied(before, step, PLACE.operation, NOW)
    return step_plan.removal(PLACE, before, after, step, way)


class Row(NamedTuple):
    """A plan and what decides it; names are those before the temporary ones are put around them."""

    id: str
    made: Plan
    commit: str | None
    pulled: str | None
    counted: int | None
    into: tuple[str, str] | None
    backing: str | None
    run: tuple[str, ...]
    publish: tuple[str, ...]
    drop: tuple[str, ...]


LINE = family("a b:a c:b d:c v:d")
BRANCHES = family("a b:a c:b i:b d:b v:d")
ORIGINS = family("a b:a c:a v:c")
LINKED = family("a b:a v:b", linked="a")

ROWS = [
    Row("a middle one by clone", planned(LINE, "b", "clone"),
        "c.qcow2", None, None, None, "a.qcow2", (), ("v.json", "c.json", "d.json"), ("b.qcow2", "b.json")),
    Row("a middle one by pull", planned(LINE, "b", "pull"),
        None, "c.qcow2", None, None, "a.qcow2", ("b.qcow2",), ("v.json", "c.json", "d.json"), ("b.qcow2", "b.json")),
    Row("a middle one by rebase", planned(LINE, "b", "rebase"),
        None, "c.qcow2", None, None, "a.qcow2", ("b.qcow2",), ("v.json", "c.json", "d.json"), ("b.qcow2", "b.json")),
    Row("a middle one by commit", planned(LINE, "b", "commit"),
        None, None, 71, ("b.qcow2", "c.qcow2"), None, (), ("v.json", "c.json", "d.json"), ("b.json",)),
    Row("the latest by clone", planned(LINE, "d", "clone"),
        "v.qcow2", None, None, None, "c.qcow2", (), ("v.json", "c.json"), ("d.qcow2", "d.json")),
    Row("the latest by commit", planned(LINE, "d", "commit"),
        None, None, 71, ("d.qcow2", "v.qcow2"), None, (), ("v.json", "c.json"), ("d.json",)),
    Row("an origin by pull", planned(LINE, "a", "pull"),
        None, "b.qcow2", None, None, None, ("a.qcow2",), ("v.json", "b.json", "c.json", "d.json"),
        ("a.qcow2", "a.json")),
    Row("an origin by clone", planned(LINE, "a", "clone"),
        "b.qcow2", None, None, None, None, (), ("v.json", "b.json", "c.json", "d.json"), ("a.qcow2", "a.json")),
    Row("neighbours by pull", planned(LINE, "bc", "pull"),
        None, "d.qcow2", None, None, "a.qcow2", ("c.qcow2", "b.qcow2"), ("v.json", "d.json"),
        ("c.qcow2", "c.json", "b.qcow2", "b.json")),
    Row("neighbours by commit go into the lowest", planned(LINE, "bc", "commit"),
        None, None, 71, ("b.qcow2", "d.qcow2"), None, (), ("v.json", "d.json"), ("c.qcow2", "c.json", "b.json")),
    Row("all by commit", planned(LINE, "abcd", "commit"),
        None, None, 71, ("a.qcow2", "v.qcow2"), None, (), ("v.json",),
        ("d.qcow2", "d.json", "c.qcow2", "c.json", "b.qcow2", "b.json", "a.json")),
    Row("a branch point, a trash item moves first", planned(BRANCHES, "b", "pull"),
        None, "i.trash.qcow2", None, None, "a.qcow2", ("b.qcow2",), ("v.json", "i.trash.json"), ()),
    Row("a branch point, then the child that is not live", planned(BRANCHES, "b", "clone", number=1),
        "c.qcow2", None, None, None, "a.qcow2", (), ("v.json", "c.json"), ()),
    Row("a branch point, the last child takes its place", planned(BRANCHES, "b", "commit", number=2),
        None, None, 71, ("b.qcow2", "d.qcow2"), None, (), ("v.json", "d.json"), ("b.json",)),
    Row("an origin, the first child opens a tree", planned(ORIGINS, "a", "pull"),
        None, "b.qcow2", None, None, None, ("a.qcow2",), ("v.json", "b.json"), ()),
    Row("a leaf: nothing moves", planned(family("a b:a v:a"), "b", None),
        None, None, 71, None, None, (), ("v.json",), ("b.qcow2", "b.json")),
    Row("descendants and items: nothing moves", planned(family("a b:a c:b i:c v:a"), "bc", None, "i"),
        None, None, 71, None, None, (), ("v.json",),
        ("i.trash.qcow2", "i.trash.json", "c.qcow2", "c.json", "b.qcow2", "b.json")),
    Row("a linked origin: who takes it in stands on the base", planned(LINKED, "a", "pull"),
        None, "b.qcow2", None, None, BASE, ("a.qcow2",), ("v.json", "b.json"), ("a.qcow2", "a.json")),
    Row("a live name of the active image", planned(families.renamed(LINE, "/r/v.3.qcow2"), "d", "clone"),
        "v.3.qcow2", None, None, None, "c.qcow2", (), ("v.json", "c.json"), ("d.qcow2", "d.json")),
    Row("a live name takes what is committed", planned(families.renamed(LINE, "/r/v.3.qcow2"), "d", "commit"),
        None, None, 71, ("d.qcow2", "v.3.qcow2"), None, (), ("v.json", "c.json"), ("d.json",)),
]  # fmt: skip
EVERY = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])


def new(name: str) -> str:
    return layout.new(name, PLACE.operation)


@EVERY
def test_a_plan_says_what_decides_and_what_goes(row: Row) -> None:
    entry = row.made.entry
    commit = Rename(source=new(row.commit), target=row.commit) if row.commit else None
    into = Rename(source=row.into[0], target=row.into[1]) if row.into else None
    decided = (entry.commit, entry.pulled, entry.counted, entry.into, entry.backing)
    assert decided == (commit, row.pulled, row.counted, into, row.backing)
    assert (entry.run, entry.drop) == (row.run, row.drop)


@EVERY
def test_exactly_one_thing_decides(row: Row) -> None:
    entry = row.made.entry
    assert [entry.commit, entry.pulled, entry.counted, entry.resized].count(None) == 3


@EVERY
def test_the_volumes_record_is_published_first(row: Row) -> None:
    entry = row.made.entry
    assert tuple(rename.target for rename in entry.publish) == row.publish
    assert entry.publish[0].target == "v.json"
    assert all(rename.source == new(rename.target) for rename in entry.publish)
    assert set(row.made.records) == set(entry.made) == {rename.source for rename in entry.publish}


@EVERY
def test_readers_of_the_volumes_record_know_all_of_it_from_its_generation_on(row: Row) -> None:
    record = row.made.records[new("v.json")]
    assert isinstance(record, VolumeRecord) and record.uuid == VOLUME
    assert record.generation == (row.made.entry.counted or record.generation) > 70
    assert set(record.gone) == {layout.owner(name) for name in row.drop if name.endswith(".json")}
    moved = {layout.owner(name) for name in row.publish} - {VOLUME}
    assert {m.uuid for m in record.moved} <= moved


@EVERY
def test_what_is_merged_down_into_is_not_dropped_but_renamed(row: Row) -> None:
    entry = row.made.entry
    if entry.into is not None:
        assert {entry.into.source, entry.into.target}.isdisjoint(entry.drop)
        assert layout.record(layout.owner(entry.into.source)) in entry.drop


@EVERY
def test_the_entry_comes_back_from_its_json_and_names_only_bare_names(row: Row) -> None:
    assert inventory.decode(inventory.encode(row.made.entry), Entry, "") == row.made.entry
    assert all(map(layout.is_bare, intent.names(row.made.entry)))


def test_names_of_images_and_records() -> None:
    assert [step_plan.image_of(BRANCHES, uuid) for uuid in "vbi"] == ["v.qcow2", "b.qcow2", "i.trash.qcow2"]
    assert [step_plan.record_of(BRANCHES, uuid) for uuid in "bi"] == ["b.json", "i.trash.json"]
