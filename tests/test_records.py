"""The records of a volume as they are read: damaged ones are told, moved ones placed, concurrent ones never mixed."""

import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from snapengine import durable, errors, inventory, layout, records
from snapengine.inventory import SnapshotRecord, TrashRecord, Tree, VolumeRecord
from tests import prepared
from tests.prepared import Prepared

UNKNOWN = "9" * 32


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("records") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


def contents(store: Prepared) -> records.Contents:
    return records.contents(store.directory)


def test_contents_are_all_records_of_a_volume(store: Prepared) -> None:
    found = contents(store)
    assert found.directory == store.directory and found.volume.uuid == store.volume
    assert set(found.snapshots) == {store.first, store.second} and set(found.trash) == {store.item}
    assert found.trash[store.item].snapshot_uuid == store.second


def test_record_names_are_uuids_and_nothing_else(store: Prepared) -> None:
    others = ("README.json", ".x.json", f"{UNKNOWN}.json.new", f"{UNKNOWN}.JSON", f"{'A' * 32}.json", "x.trash.json")
    for name in others:
        (store.directory / name).write_text("x")
    names, items = records.record_names(store.directory)
    assert (set(names), items) == ({store.volume, store.first, store.second}, [store.item])


def test_what_is_ahead_of_the_volumes_record_is_left_out(store: Prepared) -> None:
    generation = contents(store).volume.generation
    store.edit(store.second, generation=generation + 1)
    store.edit(store.item, generation=generation + 1)
    found = contents(store)
    assert set(found.snapshots) == {store.first} and not found.trash


def test_stale_copies_of_latest_and_distance_are_renewed(store: Prepared) -> None:
    store.edit(store.first, latest=False, distance=9)
    store.edit(store.second, latest=True, distance=1)
    found = contents(store).snapshots
    assert [(found[s].latest, found[s].distance) for s in (store.first, store.second)] == [(True, 1), (False, 2)]


def test_a_recorded_path_is_not_believed_but_placed(store: Prepared) -> None:
    store.edit(store.volume, installPath=f"/etc/{store.volume}.qcow2")
    store.edit(store.first, primaryStorageInstallPath="/etc/passwd")
    found = contents(store)
    assert found.volume.install_path == str(store.directory / f"{store.volume}.qcow2")
    assert found.snapshots[store.first].primary_storage_install_path == str(store.directory / f"{store.first}.qcow2")


@pytest.mark.parametrize("which", ["volume", "first", "item"])
@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(b""), "is damaged"),
        (lambda path: os.truncate(path, path.stat().st_size - 1), "is damaged"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "is damaged"),
        (lambda path: path.write_bytes(bytes(path.stat().st_size)), "is damaged"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b'"uuid"', b'"u"')), "missing required field `uuid`"),
        (lambda path: path.write_bytes(b"[" * 5000), "is damaged"),
        (lambda path: os.truncate(path, inventory.MAX_RECORD + 1), "is larger than any that snapengine writes"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b',"schemaVersion":2}'), "by a newer snapengine"),
    ],
    ids=["empty", "cut off", "cut in half", "zeros", "a key lost", "nested", "huge", "newer"],
)
def test_a_damaged_record_is_corrupt_and_named(
    store: Prepared, which: str, damage: Callable[[Path], object], why: str
) -> None:
    path = store.record(getattr(store, which))
    damage(path)
    with pytest.raises(errors.Corrupt, match=f"record {path} .*{why}"):
        contents(store)


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), lambda path: path.symlink_to("nowhere")],
    ids=["a directory", "a FIFO", "a link", "a dangling link"],
)
def test_a_record_that_is_no_file_is_corrupt_and_nobody_waits_for_it(
    store: Prepared, make: Callable[[Path], object]
) -> None:
    path = store.record(store.first)
    path.unlink()
    make(path)
    with pytest.raises(errors.Corrupt, match=f"record {path} is (no regular file|damaged)"):
        contents(store)


@pytest.mark.parametrize("more", [0, 1])
def test_the_largest_record_is_read_and_one_that_is_larger_is_not(store: Prepared, more: int) -> None:
    path = store.record(store.first)
    with open(path, "ab") as f:
        f.write(b" " * (inventory.MAX_RECORD + more - path.stat().st_size))
    if more:
        with pytest.raises(errors.Corrupt, match="is larger than any"):
            contents(store)
    else:
        assert store.first in contents(store).snapshots


def test_reading_leaves_no_descriptor_open(store: Prepared) -> None:
    before = os.listdir("/proc/self/fd")
    contents(store)
    store.record(store.first).write_text("{")
    with pytest.raises(errors.Corrupt):
        contents(store)
    assert {*os.listdir("/proc/self/fd")} <= {*before}  # others may be closed meanwhile, with what held them


def test_a_large_record_is_read_whole(store: Prepared) -> None:
    store.edit(store.first, userTags=["x" * 2000] * 100)
    assert len(contents(store).snapshots[store.first].user_tags) == 100


def test_a_record_that_is_missing_under_its_volume_is_corrupt(store: Prepared) -> None:
    store.record(store.volume).unlink()
    with pytest.raises(errors.Corrupt, match=f"the record {store.record(store.volume)} of volume .* is missing"):
        contents(store)


def test_a_parent_whose_record_is_missing_is_corrupt(store: Prepared) -> None:
    store.record(store.first).unlink()
    with pytest.raises(errors.Corrupt, match=f"snapshot {store.second} has the parent {store.first}, which has no rec"):
        contents(store)


def test_parents_that_run_in_a_circle_are_corrupt(store: Prepared) -> None:
    store.edit(store.first, parentUuid=store.second)
    with pytest.raises(errors.Corrupt, match="run in a circle"):
        contents(store)


@pytest.mark.parametrize("read", ["volume", "snapshot", "trash"])
def test_what_has_no_record_is_not_found_with_the_way_to_those_that_are(store: Prepared, read: str) -> None:
    verbs: dict[str, Callable[[], object]] = {
        "volume": lambda: records.read_volume(store.directory.parent.with_name(f"vol-{UNKNOWN}") / "snapshots"),
        "snapshot": lambda: records.read_snapshot(store.directory, UNKNOWN),
        "trash": lambda: records.read_trash(store.directory, UNKNOWN),
    }
    with pytest.raises(errors.NotFound, match=rf"'{UNKNOWN}' was not found; 'snapengine {read} list' shows those that"):
        verbs[read]()


def test_a_volumes_record_of_another_volume_is_corrupt(store: Prepared) -> None:
    shutil.copy(store.engine.volume_path(store.other).with_suffix(".json"), store.record(store.volume))
    with pytest.raises(errors.Corrupt, match=f"record {store.record(store.volume)} is of another volume"):
        contents(store)


@pytest.mark.parametrize("of", ["snapshot", "volume"])
def test_a_snapshots_record_of_another_snapshot_or_volume_is_corrupt(store: Prepared, of: str) -> None:
    if of == "snapshot":
        shutil.copy(store.record(store.second), store.record(store.first))
    else:
        store.edit(store.first, volumeUuid=UNKNOWN)
    with pytest.raises(errors.Corrupt, match=f"record {store.record(store.first)} is of another snapshot or volume"):
        contents(store)


@pytest.mark.parametrize("of", ["item", "volume"])
def test_a_trash_record_of_another_item_or_volume_is_corrupt(store: Prepared, of: str) -> None:
    store.edit(store.item, **{"uuid" if of == "item" else "volumeUuid": UNKNOWN})
    with pytest.raises(errors.Corrupt, match=f"record {store.record(store.item)} is of another trash item or volume"):
        contents(store)


def test_a_record_that_changes_under_a_reader_is_read_again(tmp_path: Path) -> None:
    """A writer that adds snapshots in the engine's order, without a pause, never shows a reader half of one."""
    directory = tmp_path / f"vol-{V}" / "snapshots"
    directory.mkdir(parents=True)
    _add_snapshot(directory, 1)
    writer = threading.Thread(target=_add_snapshots, args=(directory,))
    writer.start()
    seen = set()
    while writer.is_alive():
        found = records.contents(directory)
        generation = found.volume.generation
        assert set(found.snapshots) == {_uuid(count) for count in range(1, generation + 1)}
        assert [s.uuid for s in found.snapshots.values() if s.latest] == [_uuid(generation)]
        assert found.snapshots[_uuid(generation)].distance == generation
        seen.add(generation)
    writer.join()
    assert len(seen) > 1, "the reader was never at it together with the writer"


V, T, DATE = "0" * 32, "a" * 32, "Jun 7, 2017 9:20:17 PM"


def _uuid(count: int) -> str:
    return f"{count:032x}"


def _add_snapshots(directory: Path) -> None:
    for count in range(2, 120):
        _add_snapshot(directory, count)


def _add_snapshot(directory: Path, count: int) -> None:
    """Write the records of the count-th snapshot, which is of this generation too."""
    _put(directory, _snapshot(count, latest=True))
    _put(directory, _volume(count))
    if count > 1:
        _put(directory, _snapshot(count - 1, latest=False))


def _put(directory: Path, record: VolumeRecord | SnapshotRecord) -> None:
    path = directory / layout.record(record.uuid)
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(inventory.encode(record))
    durable.rename(new, path)


def _volume(count: int) -> VolumeRecord:
    return VolumeRecord(
        uuid=V, name="db", primary_storage_uuid="p", install_path=f"/{V}.qcow2", type="Data", format="qcow2", size=512,
        actual_size=0, state="Enabled", status="Ready", create_date=DATE, last_op_date=DATE, is_shareable=False,
        schema_version=1, generation=count, account="a",
        trees=(Tree(uuid=T, latest=_uuid(count), current=True, create_date=DATE, last_op_date=DATE),),
    )  # fmt: skip


def _snapshot(count: int, *, latest: bool) -> SnapshotRecord:
    return SnapshotRecord(
        uuid=_uuid(count), name="s", type="Hypervisor", volume_uuid=V, tree_uuid=T, primary_storage_uuid="p",
        primary_storage_install_path="", volume_type="Data", format="qcow2", latest=latest, size=1, state="Enabled",
        status="Ready", create_date=DATE, last_op_date=DATE, backup_storage_refs=(), distance=count,
        parent_uuid=_uuid(count - 1) if count > 1 else None, schema_version=1, generation=count,
    )  # fmt: skip


def test_reading_a_record_twice_gives_equal_ones(store: Prepared) -> None:
    assert contents(store) == contents(store)
    one = records.read_trash(store.directory, store.item)
    assert type(one) is TrashRecord and one == msgspec.structs.replace(one)


def test_a_damaged_record_stands_in_the_way_of_its_own_volume_only(store: Prepared) -> None:
    store.record(store.first).write_text("{")
    made = store.engine.create_snapshot(store.other, "a")
    assert store.engine.list_snapshots(store.other) == (made,)
    store.engine.revert(made.uuid)
    assert [snapshot.uuid for snapshot in store.engine.list_snapshots(store.volume)] == [store.second]
    assert store.first not in {tree.uuid for tree in store.engine.snapshot_trees(store.volume)}
