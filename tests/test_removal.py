"""Removals: who moves onto what so that snapshots can go, and the records after each step, for every shape of tree."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapengine import removal, tree
from snapengine.removal import Family, Step
from tests import families
from tests.families import EARLIER, family, told

NOW = "Jun 7, 2017 9:20:17 PM"


def step(child: str | None, run: str, onto: str | None, drop: str) -> Step:
    return Step(child, tuple(run), onto, tuple(drop))


def all_applied(before: Family, doomed: str, purged: str = "") -> Family:
    """Return a family after all steps; the trees that they open are called N0, N1, … by the number of the step."""
    for number, each in enumerate(removal.steps(before, set(doomed), set(purged))):
        before = removal.applied(before, each, f"N{number}", NOW)
    return before


STEPS: dict[str, tuple[str, str, str, list[Step]]] = {
    "nothing": ("a v:a", "", "", []),
    "a leaf": ("a b:a c:a v:c", "b", "", [step(None, "", None, "b")]),
    "a leaf in a tree that is not current": ("a b:a x v:x", "b", "", [step(None, "", None, "b")]),
    "an origin alone": ("a x v:x", "a", "", [step(None, "", None, "a")]),
    "the only one": ("a v:a", "a", "", [step("v", "a", None, "a")]),
    "the latest": ("a b:a v:b", "b", "", [step("v", "b", "a", "b")]),
    "a middle one": ("a b:a c:b v:c", "b", "", [step("c", "b", "a", "b")]),
    "an origin with one child": ("a b:a v:b", "a", "", [step("b", "a", None, "a")]),
    "an origin with children, the live one last": (
        "a b:a c:a d:a v:c", "a", "", [step("d", "a", None, ""), step("b", "a", None, ""), step("c", "a", None, "a")],
    ),
    "an origin with children, none of them live, the oldest last": (
        "a b:a c:a d:a x v:x", "a", "",
        [step("d", "a", None, ""), step("c", "a", None, ""), step("b", "a", None, "a")],
    ),
    "an origin that the volume stands on, with children": (
        "a b:a c:a v:a", "a", "", [step("v", "a", None, ""), step("c", "a", None, ""), step("b", "a", None, "a")],
    ),
    "a branch point": ("a b:a c:b d:b v:d", "b", "", [step("c", "b", "a", ""), step("d", "b", "a", "b")]),
    "trash items are children": (
        "a b:a c:b i:b j:b v:c", "b", "", [step("i", "b", "a", ""), step("j", "b", "a", ""), step("c", "b", "a", "b")],
    ),
    "a trash item is the only child": ("a b:a c:a i:b v:c", "b", "", [step("i", "b", "a", "b")]),
    "a trash item of an origin": ("a i:a v", "a", "", [step("i", "a", None, "a")]),
    "neighbours in one pass": ("a b:a c:b d:c v:d", "bc", "", [step("d", "cb", "a", "cb")]),
    "all": ("a b:a c:b v:c", "abc", "", [step("v", "cba", None, "cba")]),
    "a hole between": ("a b:a c:b d:c v:d", "ac", "", [step("d", "c", "b", "c"), step("b", "a", None, "a")]),
    "neighbours with a branch: what is free goes with who leaves it": (
        "a b:a c:b d:b v:d", "abd", "", [step("v", "dba", None, "d"), step("c", "ba", None, "ba")],
    ),
    "a leaf beside what moves goes at the end": ("a b:a c:b v:a", "bc", "", [step(None, "", None, "cb")]),
    "a doomed leaf on what moves away": ("a b:a c:b v:b", "bc", "", [step("v", "b", "a", "cb")]),
    "two trees": ("a b:a x y:x v:y", "ax", "", [step("b", "a", None, "a"), step("y", "x", None, "x")]),
    "a doomed leaf goes with what it stands on": (
        "a b:a x y:x z:x v", "axy", "", [step("z", "x", None, "yx"), step("b", "a", None, "a")],
    ),
    "descendants with the volume inside": (
        "a b:a c:b d:b i:d v:c", "bcd", "i", [step("v", "cb", "a", "cidb")],
    ),
    "descendants with the volume outside": ("a b:a c:b d:a i:c v:d", "bc", "i", [step(None, "", None, "icb")]),
    "an item alone": ("a i:a v:a", "", "i", [step(None, "", None, "i")]),
}  # fmt: skip


@pytest.mark.parametrize("row", STEPS.values(), ids=STEPS.keys())
def test_steps(row: tuple[str, str, str, list[Step]]) -> None:
    before, doomed, purged, expected = row
    assert list(removal.steps(family(before), set(doomed), set(purged))) == expected


APPLIED: dict[str, tuple[str, str, str, str, Mapping[str, tuple[str, str]]]] = {
    "a leaf": ("a b:a c:a v:c", "b", "", "a c:a v:c", {"Ta": ("ac", "c*")}),
    "the latest: its parent becomes it": ("a b:a v:b", "b", "", "a v:a", {"Ta": ("a", "a*")}),
    "the latest of a tree that is not current": ("a b:a c:b x v:x", "c", "", "a b:a v:x x",
                                                 {"Ta": ("ab", "b"), "Tx": ("x", "x*")}),
    "the latest of one, with another leaf": ("a b:a* c:a d:c x v:x", "b", "", "a c:a d:c v:x x",
                                             {"Ta": ("acd", "a"), "Tx": ("x", "x*")}),
    "a middle one": ("a b:a c:b v:c", "b", "", "a c:a v:c", {"Ta": ("ac", "c*")}),
    "the only one": ("a v:a", "a", "", "v", {}),
    "an origin with one child": ("a b:a v:b", "a", "", "b v:b", {"Ta": ("b", "b*")}),
    "an origin with children: the live one keeps the tree": (
        "a b:a c:a d:a v:c", "a", "", "b c d v:c", {"N0": ("d", "d"), "N1": ("b", "b"), "Ta": ("c", "c*")},
    ),
    "an origin with children: else the oldest keeps it": (
        "a b:a c:a d:a* x v:x", "a", "", "b c d v:x x",
        {"N0": ("d", "d"), "N1": ("c", "c"), "Ta": ("b", "b"), "Tx": ("x", "x*")},
    ),
    "an origin whose live child holds no latest": (
        "a b:a c:b d:a v:b", "a", "", "b c:b d v:b", {"N0": ("d", "d"), "Ta": ("bc", "b*")},
    ),
    "an origin: a tree without a latest takes its newest leaf": (
        "a b:a c:b d:b e:a v:e", "a", "", "b c:b d:b e v:e", {"N0": ("bcd", "d"), "Ta": ("e", "e*")},
    ),
    "an origin that the volume stands on: no tree is current then": (
        "a b:a c:a v:a", "a", "", "b c v", {"N1": ("c", "c"), "Ta": ("b", "b")},
    ),
    "the origins of two trees, on one of them a leaf that goes too": (
        "a b:a x y:x z:x v", "axy", "", "b v z", {"Ta": ("b", "b"), "Tx": ("z", "z")},
    ),
    "a branch point": ("a b:a c:b d:b v:d", "b", "", "a c:a d:a v:d", {"Ta": ("acd", "d*")}),
    "a trash item of an origin stands on nothing": ("a b:a i:a v:b", "a", "", "b i v:b", {"Ta": ("b", "b*")}),
    "a trash item of a middle one": ("a b:a i:b v:a", "b", "", "a i:a v:a", {"Ta": ("a", "a*")}),
    "all of one tree": ("a b:a x v:x", "ab", "", "v:x x", {"Tx": ("x", "x*")}),
    "descendants with the volume inside": ("a b:a c:b d:b i:d v:c", "bcd", "i", "a v:a", {"Ta": ("a", "a*")}),
    "descendants from the origin": ("a b:a i:b v:b", "ab", "i", "v", {}),
}  # fmt: skip


@pytest.mark.parametrize("row", APPLIED.values(), ids=APPLIED.keys())
def test_applied(row: tuple[str, str, str, str, Mapping[str, tuple[str, str]]]) -> None:
    before, doomed, purged, after, trees = row
    found = all_applied(family(before), doomed, purged)
    assert told(found) == after
    assert families.trees(found) == trees


def test_the_volumes_record_tells_what_is_gone_and_who_moved() -> None:
    before = family("a b:a c:a i:a v:c")
    first, second, third = removal.steps(before, {"a"})
    found = removal.applied(before, first, "N0", NOW)
    assert found.volume.gone == () and [(m.uuid, m.parent_uuid) for m in found.volume.moved] == [("i", None)]
    found = removal.applied(found, second, "N1", NOW)
    assert found.volume.gone == () and [(m.uuid, m.tree_uuid) for m in found.volume.moved] == [("b", "N1")]
    found = removal.applied(found, third, "N2", NOW)
    assert found.volume.gone == ("a",) and [(m.uuid, m.tree_uuid) for m in found.volume.moved] == [("c", "Ta")]


def test_records_that_do_not_change_are_the_same_objects() -> None:
    before = family("a b:a c:b d:c x i:x v:d")
    (only,) = removal.steps(before, {"c"})
    found = removal.applied(before, only, "N0", NOW)
    assert {u for u, r in found.snapshots.items() if r is before.snapshots[u]} == {"a", "b", "x"}
    assert found.trash["i"] is before.trash["i"]
    assert [t.last_op_date for t in found.volume.trees] == [EARLIER, EARLIER]


def test_a_tree_whose_latest_moves_has_a_new_date_and_a_new_one_begins_now() -> None:
    found = all_applied(family("a b:a c:a v:c"), "a")
    dates = {t.uuid: (t.create_date, t.last_op_date) for t in found.volume.trees}
    assert dates["N0"] == (NOW, NOW) and dates["Ta"][0] == EARLIER
    (after,) = all_applied(family("a b:a v:b"), "b").volume.trees
    assert (after.create_date, after.last_op_date) == (EARLIER, NOW)


LINKED = {
    "the volume": ("a v:a", "a", "v"),
    "a snapshot": ("a b:a v:b", "a", "b"),
    "a trash item": ("a i:a v", "av", "iv"),
    "each child of an origin": ("a b:a c:a i:a v:c", "a", "bci"),
    "nobody, where a middle one goes": ("a b:a v:b", "a", "a"),
}


@pytest.mark.parametrize("row", LINKED.values(), ids=LINKED.keys())
def test_who_takes_in_a_linked_origin_is_linked(row: tuple[str, str, str]) -> None:
    text, linked, expected = row
    found = all_applied(family(text, linked), "a" if expected != "a" else "b")
    records = {"v": found.volume.linked}
    records |= {u: r.linked for u, r in found.snapshots.items()} | {u: r.linked for u, r in found.trash.items()}
    assert "".join(sorted(u for u, is_linked in records.items() if is_linked)) == expected


@st.composite
def cases(draw: st.DrawFn) -> tuple[Family, set[str], set[str]]:
    """Return a family of up to nine snapshots, some of them doomed, with all that stands on them or without."""
    names = "abcdefgh"[: draw(st.integers(1, 8))]
    words = []
    for number, name in enumerate(names):
        parent = draw(st.sampled_from(["", *names[:number]]))
        star = "*" if draw(st.booleans()) else ""
        words.append(f"{name}:{parent}{star}" if parent else f"{name}{star}")
    for other in "ijv":
        parent = draw(st.sampled_from(["", *names]))
        words.append(f"{other}:{parent}" if parent else other)
    before = family(" ".join(words))
    doomed = draw(st.sets(st.sampled_from(names), min_size=1))
    if not draw(st.booleans()):
        return before, doomed, set()
    above = {u for u in before.snapshots if doomed & set(line(before.parents, u))}
    return before, above, {u for u, r in before.trash.items() if r.snapshot_uuid in above}


def line(parents: Mapping[str, str | None], uuid: str) -> list[str]:
    found, at = [uuid], parents[uuid]
    while at is not None:
        found.append(at)
        at = parents[at]
    return found


@given(cases())
def test_each_step_leaves_a_whole_store_and_the_last_one_what_was_asked_for(
    case: tuple[Family, set[str], set[str]]
) -> None:
    before, doomed, purged = case
    at = before
    for number, each in enumerate(removal.steps(before, doomed, purged)):
        after = removal.applied(at, each, f"N{number}", NOW)
        check_step(at, each, after)
        check_whole(after)
        at = after
    stays = set(before.parents) - doomed - purged
    wanted = {u: next((p for p in line(before.parents, u)[1:] if p not in doomed), None) for u in stays}
    assert at.parents == wanted
    check_keepers(before, at)


def check_step(before: Family, step: Step, after: Family) -> None:
    """What is dropped had nobody on it, who moves moves alone, and the volume's record tells all of it."""
    assert set(before.parents) - set(after.parents) == set(step.drop)
    moved = {u for u, parent in after.parents.items() if parent != before.parents[u]}
    assert moved == ({step.child} if step.child else set())
    assert {p for u, p in after.parents.items()} & set(step.drop) == set()
    if step.child is not None:
        assert list(step.run) == line(before.parents, step.child)[1 : len(step.run) + 1]
        assert step.onto == before.parents[step.run[-1]] == after.parents[step.child]
    told = {m.uuid: (m.parent_uuid, m.tree_uuid) for m in after.volume.moved}
    seen = {u: told.get(u, place) for u, place in places(before).items() if u not in after.volume.gone}
    assert seen == places(after)


def places(found: Family) -> dict[str, tuple[str | None, str | None]]:
    """Return parent and tree of each snapshot and trash item."""
    kept: dict[str, tuple[str | None, str | None]] = {u: (r.snapshot_uuid, None) for u, r in found.trash.items()}
    return kept | {u: (r.parent_uuid, r.tree_uuid) for u, r in found.snapshots.items()}


def check_whole(found: Family) -> None:
    trees = {t.uuid: t for t in found.volume.trees}
    assert len(trees) == len(found.volume.trees)
    assert set(trees) == {r.tree_uuid for r in found.snapshots.values()}
    origins = [r.tree_uuid for r in found.snapshots.values() if r.parent_uuid is None]
    assert sorted(origins) == sorted(trees)
    assert sum(t.current for t in trees.values()) == (found.parents["v"] is not None)
    for uuid, record in found.snapshots.items():
        assert record.latest == (trees[record.tree_uuid].latest == uuid)
        assert record.distance == len(line(found.parents, uuid))
        assert {found.snapshots[u].tree_uuid for u in line(found.parents, uuid)} == {record.tree_uuid}
    assert all(found.snapshots[t.latest].tree_uuid == t.uuid for t in trees.values())


def check_keepers(before: Family, after: Family) -> None:
    """
    Of what is left of a tree the part on the live chain, else the oldest, has its uuid.

    It has its latest too where it holds that; a part that does not has its newest leaf.
    """
    live = line(after.parents, "v")
    for old in before.volume.trees:
        left = [u for u, r in after.snapshots.items() if before.snapshots[u].tree_uuid == old.uuid]
        origins = [u for u in left if after.parents[u] is None]
        if origins:
            first = min(origins, key=lambda u: (u not in live, tree.age(before.snapshots[u])))
            assert after.snapshots[first].tree_uuid == old.uuid
            assert len({after.snapshots[u].tree_uuid for u in origins}) == len(origins)
        if old.latest in left and not old.current:
            assert after.snapshots[old.latest].latest


def test_dates_and_names_of_who_stays_do_not_change() -> None:
    before = family("a b:a c:a v:c")
    after = all_applied(before, "a")
    for uuid, record in after.snapshots.items():
        old = before.snapshots[uuid]
        same = msgspec.structs.replace(
            record, parent_uuid=old.parent_uuid, tree_uuid=old.tree_uuid, latest=old.latest, distance=old.distance
        )
        assert same == old
