"""Snapshot trees: every shape as a table, and the shapes that no record may have."""

import time
from collections.abc import Mapping

import msgspec
import pytest

from snapengine import errors, tree
from snapengine.inventory import Snapshot, SnapshotRecord, Tree, VolumeRecord
from snapengine.tree import DrawnTree, Node

Parents = Mapping[str, str | None]
NOW, EARLIER = "Jun 7, 2017 9:20:17 PM", "Jan 1, 2017 12:00:00 AM"


def snapshot(
    uuid: str, parent: str | None, of: str = "t", *, latest: bool = False, distance: int = 0
) -> SnapshotRecord:
    return SnapshotRecord(
        uuid=uuid, name=uuid, type="Hypervisor", volume_uuid="v", tree_uuid=of, primary_storage_uuid="p",
        primary_storage_install_path=f"/{uuid}.qcow2", volume_type="Data", format="qcow2", latest=latest, size=1,
        state="Enabled", status="Ready", create_date=EARLIER, last_op_date=EARLIER, backup_storage_refs=(),
        distance=distance, parent_uuid=parent, schema_version=1, generation=1, system_tags=("a::b",),
    )  # fmt: skip


def snapshots(parents: Parents, trees: Mapping[str, str] | None = None) -> dict[str, SnapshotRecord]:
    """Return records with these parents, each in the tree that trees says, else in that of its origin."""

    def origin(uuid: str) -> str:
        above = parents[uuid]
        return uuid if above is None else origin(above)

    return {uuid: snapshot(uuid, parents[uuid], (trees or {}).get(uuid) or origin(uuid).upper()) for uuid in parents}


def one(uuid: str, latest: str, current: bool = False) -> Tree:
    return Tree(uuid=uuid, latest=latest, current=current, create_date=EARLIER, last_op_date=EARLIER)


def volume(*trees: Tree, tags: tuple[str, ...] = ()) -> VolumeRecord:
    return VolumeRecord(
        uuid="v", name="db", primary_storage_uuid="p", install_path="/v.qcow2", type="Data", format="qcow2", size=512,
        actual_size=0, state="Enabled", status="Ready", create_date=EARLIER, last_op_date=EARLIER, is_shareable=False,
        schema_version=1, generation=1, account="a", trees=trees, system_tags=tags,
    )  # fmt: skip


SHAPES: list[tuple[str, Parents, Mapping[str, int]]] = [
    ("nothing", {}, {}),
    ("one origin", {"a": None}, {"a": 1}),
    ("a line", {"a": None, "b": "a", "c": "b"}, {"a": 1, "b": 2, "c": 3}),
    ("a line, the last first", {"c": "b", "b": "a", "a": None}, {"a": 1, "b": 2, "c": 3}),
    ("a fork", {"a": None, "b": "a", "c": "a"}, {"a": 1, "b": 2, "c": 2}),
    ("a comb", {"a": None, "b": "a", "x": "a", "c": "b", "y": "b"}, {"a": 1, "b": 2, "x": 2, "c": 3, "y": 3}),
    ("two trees", {"a": None, "b": "a", "x": None, "y": "x"}, {"a": 1, "b": 2, "x": 1, "y": 2}),
]


@pytest.mark.parametrize(("parents", "distances"), [s[1:] for s in SHAPES], ids=[s[0] for s in SHAPES])
def test_a_distance_counts_the_layers_down_to_the_origin(parents: Parents, distances: Mapping[str, int]) -> None:
    assert tree.distances(snapshots(parents)) == distances


@pytest.mark.parametrize(
    ("parents", "why"),
    [
        ({"a": "z"}, "snapshot a has the parent z, which has no record"),
        ({"a": None, "b": "a", "c": "z"}, "snapshot c has the parent z, which has no record"),
        ({"a": ""}, "snapshot a has the parent , which has no record"),
        ({"a": "a"}, "the parents of snapshot a run in a circle"),
        ({"a": "b", "b": "a"}, "run in a circle"),
        ({"o": None, "a": "c", "b": "a", "c": "b"}, "run in a circle"),
        ({"x": "a", "a": "b", "b": "a"}, "run in a circle"),
    ],
    ids=["missing", "missing in a line", "empty", "itself", "each other", "three beside a tree", "a tail to a circle"],
)
def test_parents_that_are_missing_or_run_in_a_circle_are_corrupt(parents: Parents, why: str) -> None:
    records = snapshots(parents, dict.fromkeys(parents, "T"))
    with pytest.raises(errors.Corrupt, match=why):
        tree.distances(records)
    with pytest.raises(errors.Corrupt, match=why):
        tree.fresh(volume(), records)


@pytest.mark.parametrize("order", [1, -1], ids=["origin first", "origin last"])
def test_a_straight_line_of_ten_thousand_needs_neither_recursion_nor_patience(order: int) -> None:
    names = [f"{count:05}" for count in range(10_000)]
    made = {name: snapshot(name, parent) for name, parent in zip(names, [None, *names])}
    began = time.process_time()
    distances = tree.distances(dict([*made.items()][::order]))

    assert [distances[name] for name in names] == list(range(1, 10_001))
    assert time.process_time() - began < 5  # a fifth is usual; steps for each pair would take far more


@pytest.mark.parametrize("length", [1000, 10_000])
def test_a_long_line_is_drawn_without_recursion(length: int) -> None:
    names = [f"{count:05}" for count in range(length)]
    made = {n: snapshot(n, p, distance=d) for d, (n, p) in enumerate(zip(names, [None, *names]), 1)}
    (drawn,) = tree.draw(volume(one("t", names[-1])), made)
    node, depth = drawn.tree, 1
    while node.children:
        (node,) = node.children
        depth += 1
    assert depth == length


@pytest.mark.parametrize(
    ("trees", "current", "latest"),
    [
        ((), None, None),
        ((one("t", "a", True),), "t", "a"),
        ((one("t", "a"), one("u", "b", True), one("w", "c")), "u", "b"),
        ((one("t", "a"), one("u", "b")), None, None),
    ],
    ids=["none", "one", "the middle one", "none is current"],
)
def test_the_volume_stands_on_the_latest_of_its_current_tree(
    trees: tuple[Tree, ...], current: str | None, latest: str | None
) -> None:
    found = tree.current(volume(*trees))
    assert (found.uuid if found else None, tree.latest(volume(*trees))) == (current, latest)


@pytest.mark.parametrize(
    ("tags", "limit"),
    [
        ((), 64),
        (("volumeMaxIncrementalSnapshotNum::5",), 5),
        (("volumeMaxIncrementalSnapshotNum::5", "x::y", "volumeMaxIncrementalSnapshotNum::119"), 119),
        (("volumeMaxIncrementalSnapshotNum", "xvolumeMaxIncrementalSnapshotNum::5"), 64),
    ],
    ids=["default", "own", "the last", "other tags"],
)
def test_the_depth_limit_is_the_volumes_last_tag_or_the_default(tags: tuple[str, ...], limit: int) -> None:
    assert tree.depth_limit(volume(tags=tags), 64) == limit


def test_a_depth_tag_that_somebody_broke_is_an_error_and_no_limit() -> None:
    with pytest.raises(errors.Invalid, match="'0' is no depth limit"):
        tree.depth_limit(volume(tags=("volumeMaxIncrementalSnapshotNum::0",)), 64)


def told(trees: tuple[Tree, ...]) -> list[tuple[str, str, bool, bool, bool]]:
    """Return uuid and latest of trees, and whether each is current, was made now, was changed now."""
    return [(t.uuid, t.latest, t.current, t.create_date == NOW, t.last_op_date == NOW) for t in trees]


@pytest.mark.parametrize(
    ("before", "into", "after"),
    [
        ((), "t", [("t", "new", True, True, True)]),
        ((one("t", "a", True),), "t", [("t", "new", True, False, True)]),
        ((one("t", "a"),), "t", [("t", "new", True, False, True)]),
        ((one("t", "a", True),), "u", [("t", "a", False, False, True), ("u", "new", True, True, True)]),
        (
            (one("t", "a"), one("u", "b", True), one("w", "c")),
            "w",
            [("t", "a", False, False, False), ("u", "b", False, False, True), ("w", "new", True, False, True)],
        ),
    ],
    ids=["the first tree", "the current tree", "an idle tree", "a new tree", "another tree"],
)
def test_a_tree_grows_and_becomes_the_only_current_one(
    before: tuple[Tree, ...], into: str, after: list[tuple[str, str, bool, bool, bool]]
) -> None:
    assert told(tree.grown(before, into, "new", NOW)) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((), []),
        ((one("t", "a"),), [("t", "a", False, False, False)]),
        ((one("t", "a"), one("u", "b", True)), [("t", "a", False, False, False), ("u", "b", False, False, True)]),
    ],
    ids=["no tree", "none current", "one current"],
)
def test_after_detaching_no_tree_is_current_and_each_keeps_its_latest(
    before: tuple[Tree, ...], after: list[tuple[str, str, bool, bool, bool]]
) -> None:
    assert told(tree.detached(before, NOW)) == after


def test_an_added_tree_is_not_current_and_changes_no_other() -> None:
    before = (one("t", "a", True),)
    assert told(tree.added(before, "u", "b", NOW)) == [("t", "a", True, False, False), ("u", "b", False, True, True)]


def test_children_stand_oldest_first_then_by_name_and_origins_below_none() -> None:
    records = snapshots({"a": None, "c": "a", "b": "a", "d": "c", "x": None})
    assert tree.children(records.values()) == {None: ["a", "x"], "a": ["b", "c"], "c": ["d"]}


def test_fresh_copies_replace_stale_ones_and_nothing_else_changes() -> None:
    records = {
        "a": snapshot("a", None, latest=True, distance=7),
        "b": snapshot("b", "a", latest=False, distance=2),
        "c": snapshot("c", "a", latest=False, distance=2),
        "x": snapshot("x", None, "u", latest=True, distance=1),
    }
    fresh = tree.fresh(volume(one("t", "b", True), one("u", "x")), records)

    assert {u: (r.latest, r.distance) for u, r in fresh.items()} == {
        "a": (False, 1), "b": (True, 2), "c": (False, 2), "x": (True, 1),
    }  # fmt: skip
    assert fresh["c"] is records["c"] and fresh["x"] is records["x"]
    assert fresh["a"] == msgspec.structs.replace(records["a"], latest=False, distance=1)
    assert list(fresh) == list(records)


def shape(node: Node) -> tuple[str, list[object]]:
    return node.inventory.uuid, [shape(child) for child in node.children]


@pytest.mark.parametrize(
    ("parents", "trees", "shapes"),
    [
        ({}, (), []),
        ({"a": None}, (one("A", "a", True),), [("a", [])]),
        (
            {"a": None, "b": "a", "c": "b", "d": "a"},
            (one("A", "d", True),),
            [("a", [("b", [("c", [])]), ("d", [])])],
        ),
        (
            {"x": None, "a": None, "b": "a"},
            (one("A", "b"), one("X", "x", True)),
            [("a", [("b", [])]), ("x", [])],
        ),
    ],
    ids=["no snapshot", "one", "a fork", "two trees, in the record's order"],
)
def test_trees_are_drawn_from_their_origins_with_all_that_stands_on_them(
    parents: Parents, trees: tuple[Tree, ...], shapes: list[object]
) -> None:
    of = volume(*trees)
    drawn = tree.draw(of, tree.fresh(of, snapshots(parents)))

    assert [shape(t.tree) for t in drawn] == shapes
    assert [(t.uuid, t.volume_uuid, t.current) for t in drawn] == [(t.uuid, "v", t.current) for t in trees]


def test_a_drawn_tree_has_the_contracts_keys_and_leaves_nulls_out() -> None:
    of = volume(one("A", "b", True))
    (drawn,) = tree.draw(of, tree.fresh(of, snapshots({"a": None, "b": "a"})))
    shown = msgspec.to_builtins(drawn)

    assert set(shown) == {"uuid", "volumeUuid", "current", "status", "tree", "createDate", "lastOpDate"}
    assert set(shown["tree"]) == {"inventory", "children"}
    (child,) = shown["tree"]["children"]
    assert set(child) == {"inventory", "children", "parentUuid"} and child["parentUuid"] == "a"
    assert msgspec.convert(shown, DrawnTree) == drawn


def test_a_view_shows_the_contracts_fields_only() -> None:
    record = snapshot("a", None)
    view = tree.view(record)

    assert type(view) is Snapshot
    assert {name: getattr(record, name) for name in Snapshot.__struct_fields__} == msgspec.structs.asdict(view)
    assert not hasattr(view, "generation") and not hasattr(view, "system_tags")
