"""Plans: what each verb will do, as one table of every shape."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import pytest

from snapengine import fate, inventory, layout, plan
from snapengine.draft import Place, Plan
from snapengine.intent import Entry, Rename
from snapengine.inventory import SnapshotRecord, TrashRecord, Tree, VolumeRecord
from snapengine.plan import Parts

NOW, EARLIER = "Jun 7, 2017 9:20:17 PM", "Jan 1, 2017 12:00:00 AM"
V, S, P, Q, X, I, J = (letter * 32 for letter in "0123456")  # volume, new snapshot, three old ones, trash items
T, U, OP = "a" * 32, "b" * 32, "f" * 32  # trees, operation
PLACE = Place(OP, "a verb", f"dataVolumes/acct-{'c' * 32}/vol-{V}/snapshots", NOW, 4711)
PARTS = Parts(S, "new", "why", ("a::b",), ("mine",), "d" * 32, f"/r/{S}.qcow2", 65536, 2**20)
LIMIT = 3


def new(name: str) -> str:
    return f".{name}.{OP}.new"


def one(uuid: str, latest: str, current: bool = False) -> Tree:
    return Tree(uuid=uuid, latest=latest, current=current, create_date=EARLIER, last_op_date=EARLIER)


def volume(*trees: Tree, broken: tuple[str, ...] = ()) -> VolumeRecord:
    return VolumeRecord(
        uuid=V, name="db", primary_storage_uuid="d" * 32, install_path=f"/r/{V}.qcow2", type="Data", format="qcow2",
        size=512, actual_size=0, state="Enabled", status="Ready", create_date=EARLIER, last_op_date=EARLIER,
        is_shareable=False, schema_version=1, generation=7, account="c" * 32, trees=trees, broken_bitmaps=broken,
    )  # fmt: skip


def snapshot(uuid: str, parent: str | None = None, of: str = T, *, latest: bool, distance: int = 1) -> SnapshotRecord:
    return SnapshotRecord(
        uuid=uuid, name="old", type="Hypervisor", volume_uuid=V, tree_uuid=of, primary_storage_uuid="d" * 32,
        primary_storage_install_path=f"/r/{uuid}.qcow2", volume_type="Data", format="qcow2", latest=latest, size=1,
        state="Enabled", status="Ready", create_date=EARLIER, last_op_date=EARLIER, backup_storage_refs=(),
        distance=distance, parent_uuid=parent, schema_version=1, generation=5,
    )  # fmt: skip


def item(uuid: str, on: str | None) -> TrashRecord:
    return TrashRecord(
        uuid=uuid, kind="ActiveImage", volume_uuid=V, size=1, create_date=NOW, snapshot_uuid=on, schema_version=1,
        generation=8,
    )  # fmt: skip


class Row(NamedTuple):
    """
    A plan and what it must be; names are those before the temporary ones are put around them.

    publish is the order in which records take their names. latest is what the records say of each snapshot
    afterwards, trees is the volume's, as uuid, latest and whether it is current.
    """

    id: str
    made: Plan
    commit: tuple[str, str] | None
    backing: str | None
    images: tuple[str, ...]
    publish: tuple[str, ...]
    reserved: tuple[str, ...]
    trees: tuple[tuple[str, str, bool], ...]
    latest: Mapping[str, bool]
    drop: tuple[str, ...] = ()
    size: int = 2**20


ONE_TREE = volume(one(T, P, True))
TWO_TREES = volume(one(T, P), one(U, X, True))
OVER_ACTIVE = (new(f"{V}.qcow2"), f"{V}.qcow2")

ROWS = [
    Row(
        "create, the first",
        plan.create_snapshot(PLACE, volume(), None, LIMIT, PARTS),
        OVER_ACTIVE, f"{S}.qcow2", (f"{S}.qcow2",), (f"{S}.json", f"{V}.json"), (S,),
        ((OP, S, True),), {S: True},
    ),
    Row(
        "create, on a parent",
        plan.create_snapshot(PLACE, ONE_TREE, snapshot(P, latest=True, distance=2), LIMIT, PARTS),
        OVER_ACTIVE, f"{S}.qcow2", (f"{S}.qcow2",), (f"{S}.json", f"{V}.json", f"{P}.json"), (S,),
        ((T, S, True),), {S: True, P: False},
    ),
    Row(
        "create, on a parent, beside another tree",
        plan.create_snapshot(PLACE, TWO_TREES, snapshot(X, of=U, latest=True), LIMIT, PARTS),
        OVER_ACTIVE, f"{S}.qcow2", (f"{S}.qcow2",), (f"{S}.json", f"{V}.json", f"{X}.json"), (S,),
        ((T, P, False), (U, S, True)), {S: True, X: False},
    ),
    Row(
        "create, full",
        plan.create_snapshot(PLACE, ONE_TREE, snapshot(P, latest=True, distance=3), LIMIT, PARTS),
        OVER_ACTIVE, f"{S}.qcow2", (f"{S}.qcow2",), (f"{S}.json", f"{V}.json"), (S,),
        ((T, P, False), (OP, S, True)), {S: True},
    ),
    Row(
        "revert, to one below the latest",
        plan.revert(PLACE, ONE_TREE, snapshot(Q, latest=False), snapshot(P, Q, latest=True), item(I, P), 1024, ()),
        OVER_ACTIVE, f"{Q}.qcow2", (f"{I}.trash.qcow2",),
        (f"{I}.trash.json", f"{V}.json", f"{P}.json", f"{Q}.json"), (I,),
        ((T, Q, True),), {P: False, Q: True}, size=1024,
    ),
    Row(
        "revert, to the latest",
        plan.revert(PLACE, ONE_TREE, snapshot(P, latest=True), None, item(I, P), 1024, ()),
        OVER_ACTIVE, f"{P}.qcow2", (f"{I}.trash.qcow2",), (f"{I}.trash.json", f"{V}.json", f"{P}.json"), (I,),
        ((T, P, True),), {P: True}, size=1024,
    ),
    Row(
        "revert, nothing to keep",
        plan.revert(PLACE, ONE_TREE, snapshot(Q, latest=False), snapshot(P, Q, latest=True), None, 1024, ()),
        OVER_ACTIVE, f"{Q}.qcow2", (), (f"{V}.json", f"{P}.json", f"{Q}.json"), (),
        ((T, Q, True),), {P: False, Q: True}, size=1024,
    ),
    Row(
        "revert, into another tree",
        plan.revert(PLACE, TWO_TREES, snapshot(Q, latest=False), snapshot(P, Q, latest=True), item(I, X), 1024, ()),
        OVER_ACTIVE, f"{Q}.qcow2", (f"{I}.trash.qcow2",),
        (f"{I}.trash.json", f"{V}.json", f"{P}.json", f"{Q}.json"), (I,),
        ((T, Q, True), (U, X, False)), {P: False, Q: True}, size=1024,
    ),
    Row(
        "restore, onto its snapshot",
        plan.restore(
            PLACE, ONE_TREE, item(J, Q), snapshot(Q, latest=False), snapshot(P, Q, latest=True), item(I, P), 512, ()
        ),
        (f"{J}.trash.qcow2", f"{V}.qcow2"), f"{Q}.qcow2", (f"{I}.trash.qcow2",),
        (f"{I}.trash.json", f"{V}.json", f"{P}.json", f"{Q}.json"), (I,),
        ((T, Q, True),), {P: False, Q: True}, (f"{J}.trash.json",), 512,
    ),
    Row(
        "restore, onto the latest, nothing to keep",
        plan.restore(PLACE, ONE_TREE, item(J, P), snapshot(P, latest=True), None, None, 512, ()),
        (f"{J}.trash.qcow2", f"{V}.qcow2"), f"{P}.qcow2", (), (f"{V}.json", f"{P}.json"), (),
        ((T, P, True),), {P: True}, (f"{J}.trash.json",), 512,
    ),
    Row(
        "restore, a standalone item",
        plan.restore(PLACE, ONE_TREE, item(J, None), None, None, item(I, P), 512, ()),
        (f"{J}.trash.qcow2", f"{V}.qcow2"), None, (f"{I}.trash.qcow2",), (f"{I}.trash.json", f"{V}.json"), (I,),
        ((T, P, False),), {}, (f"{J}.trash.json",), 512,
    ),
    Row(
        "branch, on its snapshot",
        plan.branch(PLACE, ONE_TREE, item(J, Q), snapshot(Q, latest=False, distance=2), PARTS),
        (f"{J}.trash.qcow2", f"{S}.qcow2"), f"{Q}.qcow2", (), (f"{S}.json", f"{V}.json"), (S,),
        ((T, P, True),), {S: False}, (f"{J}.trash.json",), 512,
    ),
    Row(
        "branch, of a standalone item",
        plan.branch(PLACE, ONE_TREE, item(J, None), None, PARTS),
        (f"{J}.trash.qcow2", f"{S}.qcow2"), None, (), (f"{S}.json", f"{V}.json"), (S,),
        ((T, P, True), (OP, S, False)), {S: True}, (f"{J}.trash.json",), 512,
    ),
    Row(
        "purge",
        plan.purge(PLACE, ONE_TREE, [J, I]),
        None, None, (), (), (), (), {},
        (f"{J}.trash.qcow2", f"{J}.trash.json", f"{I}.trash.qcow2", f"{I}.trash.json"),
    ),
    Row(
        "new volume",
        fate.appear(PLACE, volume()),
        (new(f"vol-{V}"), f"vol-{V}"), None, (), (), (V,), (), {},
    ),
    Row(
        "expunge",
        fate.vanish(PLACE, V),
        (f"vol-{V}", new(f"vol-{V}")), None, (), (), (), (), {}, (new(f"vol-{V}"),),
    ),
    Row(
        "resize",
        fate.grow(PLACE, volume(), 1024, ("b",)),
        None, None, (), (f"{V}.json",), (), (), {}, (), 1024,
    ),
]  # fmt: skip
EVERY = pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])


def records(made: Plan) -> Mapping[str, object]:
    """Return the records that a plan prepares by the names that they will have."""
    return {rename.target: made.records[rename.source] for rename in made.entry.publish}


def volume_after(made: Plan) -> VolumeRecord:
    found = records(made)[f"{V}.json"]
    assert isinstance(found, VolumeRecord)
    return found


def snapshot_after(made: Plan, uuid: str) -> SnapshotRecord:
    found = records(made)[f"{uuid}.json"]
    assert isinstance(found, SnapshotRecord)
    return found


@EVERY
def test_the_entry_tells_who_does_what_and_where(row: Row) -> None:
    entry = row.made.entry
    said = Place(entry.uuid, entry.verb, entry.directory, entry.started, entry.pid)
    assert (said, entry.volume_uuid, entry.schema_version) == (PLACE, V, inventory.SCHEMA_VERSION)


@EVERY
def test_the_commit_is_the_one_rename_that_is_meant(row: Row) -> None:
    commit = row.made.entry.commit
    assert (commit and (commit.source, commit.target)) == row.commit
    assert row.made.entry.backing == row.backing


@EVERY
def test_images_are_made_before_records_and_nothing_else_is(row: Row) -> None:
    assert row.made.entry.made == (*row.images, *(new(name) for name in row.publish))
    assert list(row.made.records) == [new(name) for name in row.publish]


@EVERY
def test_records_get_their_names_in_an_order_that_never_shows_half_a_verb(row: Row) -> None:
    """What the volume's record will speak of is there before it; copies for readers are renewed after it."""
    assert row.made.entry.publish == tuple(Rename(source=new(name), target=name) for name in row.publish)
    if row.publish:
        before = row.publish[: row.publish.index(f"{V}.json")]
        after = row.publish[len(before) + 1 :]
        reserved = {layout.record(uuid) for uuid in row.reserved} | {layout.trash_record(uuid) for uuid in row.reserved}
        assert set(before) <= reserved and not reserved & set(after)


@EVERY
def test_what_goes_and_what_is_reserved_is_just_what_is_meant(row: Row) -> None:
    assert row.made.entry.drop == row.drop
    assert row.made.entry.reserved == row.reserved


@EVERY
def test_the_volumes_trees_and_size_are_those_after_the_verb(row: Row) -> None:
    if row.publish:
        after = volume_after(row.made)
        assert tuple((t.uuid, t.latest, t.current) for t in after.trees) == row.trees
        assert (after.size, after.generation, after.last_op_date) == (row.size, 8, NOW)


@EVERY
def test_each_snapshots_copy_of_latest_is_right_after_the_verb(row: Row) -> None:
    said = {r.uuid: r.latest for r in records(row.made).values() if isinstance(r, SnapshotRecord)}
    assert said == row.latest


@EVERY
def test_what_is_new_is_of_the_volumes_next_generation_and_what_is_old_stays_of_its_own(row: Row) -> None:
    for record in records(row.made).values():
        if isinstance(record, (SnapshotRecord, TrashRecord)):
            assert record.generation == (8 if record.uuid in row.reserved else 5)


@EVERY
def test_names_are_bare_and_the_entry_comes_back_from_its_json(row: Row) -> None:
    entry = row.made.entry
    names = [*entry.made, *entry.drop, *(name for rename in entry.publish for name in (rename.source, rename.target))]
    assert all(layout.is_bare(name) for name in names)
    assert inventory.decode(inventory.encode(entry), Entry, "") == entry


def test_a_new_snapshot_has_what_was_asked_for_and_what_its_image_says() -> None:
    made = snapshot_after(ROWS[1].made, S)
    assert made == SnapshotRecord(
        uuid=S, name="new", description="why", type="Hypervisor", volume_uuid=V, tree_uuid=T, parent_uuid=P,
        primary_storage_uuid="d" * 32, primary_storage_install_path=f"/r/{S}.qcow2", volume_type="Data",
        format="qcow2", latest=True, size=65536, state="Enabled", status="Ready", create_date=NOW, last_op_date=NOW,
        backup_storage_refs=(), distance=3, schema_version=1, generation=8, system_tags=("a::b",), user_tags=("mine",),
    )  # fmt: skip


@pytest.mark.parametrize("row", [0, 3, 12], ids=["the first", "full", "branch of a standalone item"])
def test_an_origin_has_no_parent_and_opens_a_tree_named_by_the_operation(row: int) -> None:
    made = snapshot_after(ROWS[row].made, S)
    assert (made.parent_uuid, made.tree_uuid, made.distance) == (None, OP, 1)


def test_a_branch_stands_one_above_its_base_in_the_same_tree() -> None:
    made = snapshot_after(ROWS[11].made, S)
    assert (made.parent_uuid, made.tree_uuid, made.distance) == (Q, T, 3)


@pytest.mark.parametrize(
    ("distance", "limit", "full"),
    [(None, 2, False), (1, 2, False), (2, 2, True), (3, 2, True), (63, 64, False), (64, 64, True), (119, 64, True)],
)
def test_a_snapshot_is_full_when_its_parent_has_reached_the_limit(
    distance: int | None, limit: int, full: bool
) -> None:
    parent = None if distance is None else snapshot(P, latest=True, distance=distance)
    assert plan.is_full(parent, limit) is full


def test_a_full_snapshot_leaves_the_old_trees_latest_as_it_is() -> None:
    assert f"{P}.json" not in records(ROWS[3].made)


@pytest.mark.parametrize("row", [r for r in ROWS if r.publish], ids=[r.id for r in ROWS if r.publish])
def test_nothing_else_in_the_records_changes(row: Row) -> None:
    after = volume_after(row.made)
    kept = msgspec.structs.replace(after, trees=(), size=512, generation=7, last_op_date=EARLIER, gone=())
    assert kept == volume()
    for record in records(row.made).values():
        if isinstance(record, SnapshotRecord) and record.uuid != S:
            assert (record.name, record.last_op_date, record.size) == ("old", EARLIER, 1)


def test_a_revert_marks_the_bitmaps_that_end_with_the_image_as_broken() -> None:
    before, target = volume(one(T, P, True), broken=("old", "both")), snapshot(P, latest=True)
    made = plan.revert(PLACE, before, target, target, None, 512, ("both", "new"))
    assert volume_after(made).broken_bitmaps == ("old", "both", "new")


def test_an_active_image_under_a_live_name_is_replaced_under_that_name() -> None:
    live = msgspec.structs.replace(ONE_TREE, install_path=f"/r/{V}.3.qcow2")
    made = plan.create_snapshot(PLACE, live, snapshot(P, latest=True), LIMIT, PARTS)
    assert made.entry.commit == Rename(source=new(f"{V}.3.qcow2"), target=f"{V}.3.qcow2")


def test_a_trash_item_is_of_the_volumes_next_generation() -> None:
    made = plan.trash_item(PLACE, ONE_TREE, I, 65536, 1234)
    assert made == TrashRecord(
        uuid=I, kind="ActiveImage", volume_uuid=V, size=65536, create_date=NOW, snapshot_uuid=P, schema_version=1,
        generation=8, moment=1234,
    )  # fmt: skip
