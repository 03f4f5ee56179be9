"""An image whose tables contradict each other is left as it is: a tool that writes to it would damage what it holds."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from snapengine import errors, qcow2
from snapengine.cost import Direction
from tests import prepared
from tests.prepared import Prepared
from tests.qcow2_forge import set_refcount
from tests.test_verify import rebase, state

OFFSETS = 0x00FFFFFFFFFFFE00


def header(image: Path) -> qcow2.Header:
    with open(image, "rb") as f:
        return qcow2.read_header(f.fileno())


def entry(image: Path, at: int, value: int | None = None) -> int:
    """Return the entry of a table at an offset of the file, and replace it where a value is given."""
    with open(image, "r+b") as f:
        f.seek(at)
        (found,) = struct.unpack(">Q", f.read(8))
        if value is not None:
            f.seek(at)
            f.write(struct.pack(">Q", value))
    return int(found)


def data(image: Path) -> int:
    """Return the offset of the entry in the L2 table of the first cluster that holds something."""
    table = entry(image, header(image).l1_offset) & OFFSETS
    return next(at for at in range(table, table + 8192, 8) if entry(image, at) & OFFSETS)


def counts_as_free(image: Path) -> None:
    set_refcount(image, (entry(image, data(image)) & OFFSETS) // header(image).cluster_size, 0)


def used_twice(image: Path) -> None:
    entry(image, data(image) + 8, entry(image, data(image)))


def shared_with_a_table(image: Path) -> None:
    entry(image, data(image), header(image).l1_offset | 1 << 63)


def a_table_in_another(image: Path) -> None:
    at = header(image).l1_offset
    entry(image, at, header(image).refcount_table_offset | 1 << 63)


FORGED: list[Callable[[Path], None]] = [counts_as_free, used_twice, shared_with_a_table, a_table_in_another]
forged = pytest.mark.parametrize("forge", FORGED)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("contradictions") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


@forged
@pytest.mark.parametrize(("direction", "written"), [("pull", "second"), ("commit", "first")])
def test_a_delete_leaves_an_image_alone_that_it_would_write_to(
    store: Prepared, forge: Callable[[Path], None], direction: Direction, written: str
) -> None:
    doomed = alone(store)
    forge(store.image(getattr(store, written)))
    before = state(store.root)

    with pytest.raises(errors.Error, match="contradict each other.*nothing was changed|is used twice|not aligned"):
        store.engine.delete_snapshots((doomed,), direction=direction)

    assert state(store.root) == before


def alone(store: Prepared) -> str:
    """Take the volume to second, so that only that stands on first, and return first."""
    store.engine.revert(store.second)
    store.engine.purge_trash(store.engine.list_trash())
    return store.first


@forged
def test_a_resize_leaves_it_alone(store: Prepared, forge: Callable[[Path], None]) -> None:
    forge(store.image(store.volume))
    before = state(store.root)

    with pytest.raises(errors.Corrupt, match="contradict each other.*nothing was changed"):
        store.engine.resize_volume(store.volume, 2**40)

    assert state(store.root) == before


@forged
@pytest.mark.parametrize("which", ["volume", "second"])
def test_a_repair_gives_back_no_leaks_of_it(store: Prepared, forge: Callable[[Path], None], which: str) -> None:
    image = store.image(getattr(store, which))
    set_refcount(image, 30, 1)
    forge(image)

    left_alone(store)


@pytest.mark.parametrize("which", ["volume", "second"])
def test_a_repair_gives_it_no_other_name_to_stand_on(store: Prepared, which: str) -> None:
    image = store.image(getattr(store, which))
    rebase(image, str(store.image(store.first)))
    used_twice(image)

    left_alone(store)


@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_an_image_that_names_one_cluster_for_all_its_data_fills_no_disk(
    store: Prepared, tmp_path: Path, fmt: Literal["raw", "qcow2"]
) -> None:
    image = store.image(store.first)
    at = data(image)
    for number in range(16):
        entry(image, at + 8 * number, entry(image, at))
    out = io.BytesIO()

    with pytest.raises(errors.Refused, match="more data than its file holds"):
        store.engine.stream_snapshot(store.first, out)
    with pytest.raises(errors.Refused, match="more data than its file holds"):
        store.engine.export_snapshot(store.first, tmp_path / "out", format=fmt)

    assert out.getvalue() == b"" and not (tmp_path / "out").exists()


def left_alone(store: Prepared) -> None:
    """Assert that a repair leaves the store as it is, and says why."""
    before = state(store.root)

    done = store.engine.repair()

    assert done.repaired == () and state(store.root) == before
    assert [each.why for each in done.left if "contradict each other" in each.why]
