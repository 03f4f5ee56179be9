"""Deletes and dirty bitmaps: what stands on a deleted snapshot marks all that either had marked, by each way."""

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import check, images, prepared
from tests.oracle import CLUSTER, MIB, Oracle
from tests.prepared import BY, By, Stores

EXTENSION = struct.pack(">II", 0x23852875, 24)  # of the header: bitmaps (qcow2 specification)
PAST_FLAGS = 0x00FFFFFFFFFFFE00  # where an entry of a bitmap's table has its offset

Marks = dict[str, set[int]]


class Marked(NamedTuple):
    """A volume with snapshots, one on the other; all but the first have bitmaps, as has the volume itself."""

    volume: str
    first: str
    second: str
    third: str


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores[Marked]]:
    with prepared.disks(tmp_path_factory) as disks:
        yield Stores(disks, marked)


def marked(oracle: Oracle) -> Marked:
    """
    Make a volume, each layer of which has something of its own, and bitmaps that mark just that.

    both is in all of them, lower in the second only (it was removed above it), upper in the volume only; mixed has
    another granularity in each.
    """
    volume = oracle.volume()
    path = oracle.engine.volume_path(volume)
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    bitmap(path, "--add", "both")
    bitmap(path, "--add", "lower")
    bitmap(path, "--add", "mixed")
    oracle.write(volume, 2 * CLUSTER)
    second = oracle.create(volume, "second").uuid
    bitmap(path, "--remove", "lower")
    bitmap(path, "--remove", "mixed")
    bitmap(path, "--add", "-g", "32k", "mixed")
    oracle.write(volume, 4 * CLUSTER)
    third = oracle.create(volume, "third").uuid
    bitmap(path, "--add", "upper")
    oracle.write(volume, 6 * CLUSTER)
    return Marked(volume, first, second, third)


def bitmap(path: Path, *args: str) -> None:
    subprocess.run(["qemu-img", "bitmap", "-f", "qcow2", *args[:-1], str(path), args[-1]], check=True)


def marks(path: Path) -> Marks:
    """Return which clusters of CLUSTER bytes each active bitmap of the image at path marks, from its tables."""
    image = path.read_bytes()
    at = image[:65536].find(EXTENSION)
    if at < 0:
        return {}
    count, _, _, entry = struct.unpack_from(">IIQQ", image, at + len(EXTENSION))
    found = {}
    for _ in range(count):
        table, size, flags, _, bits, length, extra = struct.unpack_from(">QIIBBHI", image, entry)
        name = image[entry + 24 + extra :][:length].decode()
        found[name] = _marked(image, struct.unpack_from(f">{size}Q", image, table), bits)
        assert flags == 2, f"bitmap {name} of {path} is in use, or does not record"
        entry += -(-(24 + extra + length) // 8) * 8
    return found


def _marked(image: bytes, table: tuple[int, ...], granularity_bits: int) -> set[int]:
    assert len(table) == 1  # a cluster of a bitmap is enough for images of this size
    offset = table[0] & PAST_FLAGS
    data = image[offset : offset + MIB // 8] if offset else (b"\xff" if table[0] & 1 else b"\0") * (MIB // 8)
    bits = [bit for bit in range(MIB >> granularity_bits) if data[bit // 8] >> bit % 8 & 1]
    return {(bit << granularity_bits) // CLUSTER for bit in bits}


def assert_marks(path: Path, expected: Marks, copied: set[int]) -> None:
    """
    Assert that each bitmap marks what is expected.

    What the guest's data that was moved lies in may be marked too: the tool wrote it, and a backup loses nothing.
    """
    found = marks(path)
    assert set(found) == set(expected)
    for name, clusters in expected.items():
        assert clusters <= found[name] <= clusters | copied, f"{name} marks {found[name]}"


def checked(oracle: Oracle) -> None:
    check.full(oracle.engine, oracle.expected, deep=False)


def test_each_layer_marks_what_was_written_to_it(stores: Stores[Marked]) -> None:
    oracle, found = stores.copy("pull")
    paths = {name: oracle.engine.snapshot_path(getattr(found, name)) for name in ("first", "second", "third")}
    assert marks(paths["first"]) == {}
    assert marks(paths["second"]) == {"both": {2}, "lower": {2}, "mixed": {2}}
    assert marks(paths["third"]) == {"both": {4}, "mixed": {4}}
    assert marks(oracle.engine.volume_path(found.volume)) == {"both": {6}, "mixed": {6}, "upper": {6}}


@BY
def test_a_snapshot_marks_what_the_deleted_one_below_it_marked_too(stores: Stores[Marked], by: By) -> None:
    oracle, found = stores.copy(by)
    prepared.delete(oracle, by, found.second)
    third = {"both": {2, 4}, "lower": {2}, "mixed": {2, 4}}
    assert_marks(oracle.engine.snapshot_path(found.third), third, {2, 4})
    assert marks(oracle.engine.volume_path(found.volume)) == {"both": {6}, "mixed": {6}, "upper": {6}}
    checked(oracle)


@BY
def test_the_active_image_marks_it_too_and_goes_on_recording(stores: Stores[Marked], by: By) -> None:
    oracle, found = stores.copy(by)
    active = oracle.engine.volume_path(found.volume)
    prepared.delete(oracle, by, found.third)
    assert_marks(active, {"both": {4, 6}, "mixed": {4, 6}, "upper": {6}}, {4, 6})

    oracle.write(found.volume, 8 * CLUSTER)
    assert_marks(active, {"both": {4, 6, 8}, "mixed": {4, 6, 8}, "upper": {6, 8}}, {4, 6})
    checked(oracle)


@BY
def test_neighbours_that_go_at_once_are_all_marked(stores: Stores[Marked], by: By) -> None:
    oracle, found = stores.copy(by)
    prepared.delete(oracle, by, found.second, found.third)
    active = {"both": {2, 4, 6}, "lower": {2}, "mixed": {2, 4, 6}, "upper": {6}}
    assert_marks(oracle.engine.volume_path(found.volume), active, {2, 4, 6})
    checked(oracle)


@BY
def test_one_without_bitmaps_takes_none_away(stores: Stores[Marked], by: By) -> None:
    oracle, found = stores.copy(by)
    prepared.delete(oracle, by, found.first)
    assert_marks(oracle.engine.snapshot_path(found.second), {"both": {2}, "lower": {2}, "mixed": {2}}, {0})
    checked(oracle)


def test_a_child_that_covers_the_deleted_one_still_takes_its_marks(stores: Stores[Marked]) -> None:
    oracle, found = stores.copy("pull")
    oracle.write(found.volume, 4 * CLUSTER)
    preview = oracle.engine.preview_delete((found.third,))
    assert [step.verb for step in preview.plan] == ["rebase", "delete"]
    active = oracle.engine.volume_path(found.volume)
    oracle.delete(found.third)
    assert marks(active) == {"both": {4, 6}, "mixed": {4, 6}, "upper": {4, 6}}
    checked(oracle)


def test_an_undo_leaves_the_bitmaps_as_if_the_snapshot_had_never_been_made(oracle: Oracle) -> None:
    volume = oracle.volume()
    path = oracle.engine.volume_path(volume)
    bitmap(path, "--add", "backup")
    oracle.write(volume, 2 * CLUSTER)
    oracle.create(volume, "s")
    oracle.write(volume, 5 * CLUSTER)
    assert marks(path) == {"backup": {5}}

    oracle.undo(volume)

    assert_marks(path, {"backup": {2, 5}}, set())
    checked(oracle)


@BY
def test_a_bitmap_that_is_switched_off_stays_so_and_is_joined_too(stores: Stores[Marked], by: By) -> None:
    oracle, found = stores.copy(by)
    active = oracle.engine.volume_path(found.volume)
    bitmap(active, "--disable", "upper")
    bitmap(active, "--disable", "both")
    prepared.delete(oracle, by, found.third)
    states = {b.name: b.flags for b in images.Images().facts(active).info.bitmaps}
    assert states == {"both": [], "mixed": ["auto"], "upper": []}
    bitmap(active, "--enable", "upper")
    bitmap(active, "--enable", "both")
    assert_marks(active, {"both": {4, 6}, "mixed": {4, 6}, "upper": {6}}, {4, 6})
    checked(oracle)
