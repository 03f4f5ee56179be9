"""What a snapshot takes, and what the disk gets back when it is deleted."""

import subprocess
from pathlib import Path

import msgspec
import pytest

from snapengine import chain, clones, errors, layout, sizes, store
from snapengine.engine import Engine
from tests.command_line import CommandLine
from tests.oracle import poke

CLUSTER = 65536
SIZE = 64 * CLUSTER
TABLES = 8 * CLUSTER  # more than the tables of such an image take


def write(path: Path, *steps: str) -> None:
    commands = (word for step in steps for word in ("-c", step))
    subprocess.run(["qemu-io", "-f", "qcow2", *commands, path], check=True, capture_output=True, timeout=60)


def resize(path: Path, size: int, *options: str) -> None:
    subprocess.run(["qemu-img", "resize", "-q", *options, "-f", "qcow2", path, str(size)], check=True, timeout=60)


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def clusters(engine: Engine, snapshot: str) -> int:
    """Return how many clusters would be freed, the tables left out."""
    return engine.snapshot_sizes(snapshot).freed_if_deleted // CLUSTER


@pytest.fixture
def db(engine: Engine) -> str:
    """Return a volume with 32 clusters of data."""
    volume = engine.create_volume("db", SIZE).uuid
    poke(engine.volume_path(volume), 1, 0, 32 * CLUSTER)
    return volume


def test_sizes_are_those_of_the_files(engine: Engine, db: str) -> None:
    first = engine.create_snapshot(db, "first").uuid
    poke(engine.volume_path(db), 2)
    second = engine.create_snapshot(db, "second").uuid
    files = [allocated(engine.snapshot_path(uuid)) for uuid in (first, second)]
    found = [engine.snapshot_sizes(uuid) for uuid in (first, second)]

    assert [s.size for s in found] == [SIZE, SIZE]
    assert [s.actual_size for s in found] == files == [engine.get_snapshot(uuid).size for uuid in (first, second)]
    assert [s.chain_size for s in found] == [files[0], sum(files)]


def test_nothing_is_freed_but_tables_where_the_only_child_shows_all(engine: Engine, db: str) -> None:
    first = engine.create_snapshot(db, "first").uuid

    assert engine.snapshot_sizes(first).freed_if_deleted == allocated(engine.snapshot_path(first)) - 32 * CLUSTER


def test_what_the_child_hides_is_freed(engine: Engine, db: str) -> None:
    first = engine.create_snapshot(db, "first").uuid
    before = engine.snapshot_sizes(first).freed_if_deleted
    behind = f"discard {SIZE - CLUSTER} {CLUSTER}"
    write(engine.volume_path(db), f"write 0 {4 * CLUSTER}", f"write -z {10 * CLUSTER} {CLUSTER}", behind)

    assert engine.snapshot_sizes(first).freed_if_deleted == before + 5 * CLUSTER


def test_of_a_leaf_the_whole_file_is_freed(engine: Engine, db: str) -> None:
    first = engine.create_snapshot(db, "first").uuid
    poke(engine.volume_path(db), 2)
    second = engine.create_snapshot(db, "second").uuid
    engine.revert(first)

    assert engine.snapshot_sizes(second).freed_if_deleted == allocated(engine.snapshot_path(second))


def test_what_several_children_show_counts_for_each_unless_files_share_extents(engine: Engine, db: str) -> None:
    first = engine.create_snapshot(db, "first").uuid
    poke(engine.volume_path(db), 2, 0, 20 * CLUSTER)
    second = engine.create_snapshot(db, "second").uuid
    engine.revert(first)
    poke(engine.volume_path(db), 3, 0, 30 * CLUSTER)
    directory = engine.volume_path(db).parent
    layer = chain.layer(directory / layout.image(first))
    children = [chain.layer(path) for path in (directory / layout.image(second), engine.volume_path(db))]
    tables = layer.allocated - 32 * CLUSTER

    assert sizes.freed(layer, children, shared=False) == tables + (32 - 12 - 2) * CLUSTER
    assert sizes.freed(layer, children, shared=True) == tables + (32 - 12) * CLUSTER
    assert sizes.freed(layer, children * 3, shared=False) == 0


def test_trash_items_count_as_children(engine: Engine, db: str) -> None:
    first = engine.create_snapshot(db, "first").uuid
    poke(engine.volume_path(db), 2, 0, 32 * CLUSTER)
    hidden = clusters(engine, first)
    engine.revert(first)  # the image that hid all is in the trash now, the new one hides nothing

    assert hidden >= 32
    assert clusters(engine, first) == hidden - 32
    poke(engine.volume_path(db), 3, 0, 32 * CLUSTER)
    assert clusters(engine, first) == hidden


def test_a_smaller_child_keeps_only_what_lies_before_its_end(engine: Engine, db: str) -> None:
    small = engine.create_snapshot(db, "small").uuid
    resize(engine.volume_path(db), 2 * SIZE)
    poke(engine.volume_path(db), 2, SIZE, 32 * CLUSTER)
    large = engine.create_snapshot(db, "large").uuid
    resize(engine.volume_path(db), SIZE, "--shrink")

    assert engine.snapshot_sizes(large).freed_if_deleted == allocated(engine.snapshot_path(large))
    assert [engine.snapshot_sizes(uuid).size for uuid in (small, large)] == [SIZE, 2 * SIZE]


def test_of_packed_clusters_a_share_of_the_bytes_is_kept(engine: Engine) -> None:
    volume = engine.create_volume("db", SIZE).uuid
    path = engine.volume_path(volume)
    write(path, *(f"write -c -P 1 {n * CLUSTER} {CLUSTER}" for n in range(8)))
    first = engine.create_snapshot(volume, "first").uuid
    whole = engine.snapshot_sizes(first)
    write(path, f"write 0 {4 * CLUSTER}")
    half = engine.snapshot_sizes(first)

    assert whole.freed_if_deleted == 0  # all that the file holds is taken for packed data
    assert half.freed_if_deleted == half.actual_size - half.actual_size * 4 // 8


def test_a_snapshot_with_a_linked_clone_frees_nothing(engine: Engine, db: str) -> None:
    first, second = (engine.create_snapshot(db, name).uuid for name in ("first", "second"))
    engine.clone_volume(first, "clone", linked=True)

    assert [clones.of(engine.root, db, uuid) != [] for uuid in (first, second)] == [True, False]
    assert engine.snapshot_sizes(first).freed_if_deleted == 0 < engine.snapshot_sizes(second).freed_if_deleted


def test_the_command_tells_sizes_and_show_tells_them_to_people_only(engine: Engine, db: str) -> None:
    run = CommandLine(engine.root)
    engine.create_snapshot(db, "first")
    found = run.json("snapshot", "size", "db/first")

    assert set(found) == {"size", "actualSize", "chainSize", "freedIfDeleted"}
    assert found["size"] == SIZE and 0 < found["freedIfDeleted"] < TABLES < found["actualSize"] == found["chainSize"]
    labels = [line.rsplit("  ", 1)[0].strip() for line in run.text("snapshot", "size", "first").splitlines()]
    assert labels == ["size", "allocated", "chain size", "freed if deleted"]
    shown = run.text("snapshot", "show", "first")
    assert all(label in shown for label in ("virtual size", "chain size", "freed if deleted"))
    assert "chainSize" not in run.json("snapshot", "show", "first")
    run.error(3, "snapshot", "size", "db")


def test_a_snapshot_with_a_bad_image_is_shown_without_sizes(engine: Engine, db: str) -> None:
    run = CommandLine(engine.root)
    first = engine.create_snapshot(db, "first").uuid
    engine.snapshot_path(first).write_bytes(b"rubbish")

    with pytest.raises(errors.Refused):
        engine.snapshot_sizes(first)
    assert "refused image" in run.error(6, "snapshot", "size", "first")
    assert "chain size" not in run.text("snapshot", "show", "first")
    engine.snapshot_path(first).unlink()
    assert "is missing" in run.error(6, "snapshot", "size", "first")
    assert "chain size" not in run.text("snapshot", "show", "first")


@pytest.fixture
def forest(engine: Engine, db: str) -> list[str]:
    """Return snapshots: first, on it second, with zeros in it, and third, which is smaller; an item is on second."""
    first = engine.create_snapshot(db, "first").uuid
    write(engine.volume_path(db), f"write -z 0 {4 * CLUSTER}", f"write -P 2 {8 * CLUSTER} {8 * CLUSTER}")
    second = engine.create_snapshot(db, "second").uuid
    poke(engine.volume_path(db), 3, 10 * CLUSTER, CLUSTER)
    engine.revert(first)
    resize(engine.volume_path(db), 24 * CLUSTER, "--shrink")
    poke(engine.volume_path(db), 4, 2 * CLUSTER, 3 * CLUSTER)
    return [first, second, engine.create_snapshot(db, "third").uuid]


@pytest.mark.parametrize("shared", [False, True])
def test_the_plan_of_a_delete_frees_what_the_size_tells(
    engine: Engine, forest: list[str], shared: bool
) -> None:
    record = store.open_store(engine.root).record
    store.write_storage(engine.root, msgspec.structs.replace(record, reflinks=shared))
    told = [engine.snapshot_sizes(uuid).freed_if_deleted for uuid in forest]

    assert [engine.preview_delete((uuid,)).frees for uuid in forest] == told
    assert (told[0] > 0) is shared and told[1] > 0 and told[2] > 0


def test_a_run_frees_what_nobody_shows_of_any_of_its_layers(engine: Engine, db: str) -> None:
    poke(engine.volume_path(db), 1, 0, 32 * CLUSTER)
    made = [engine.create_snapshot(db, "first").uuid]
    for number, step in enumerate(("write -z 0 1M", f"write -P 2 {2**20} 1M")):
        write(engine.volume_path(db), step)
        made.append(engine.create_snapshot(db, f"s{number}").uuid)
    poke(engine.volume_path(db), 3, 3 * 2**19, 2**20)
    files = sum(allocated(engine.snapshot_path(uuid)) for uuid in made)
    shown = 2**19  # of the last; of the first the second hides the front, the last and the volume all else

    assert engine.preview_delete(tuple(made)).frees == files - shown
