"""What a guest sees of a chain, read from the images themselves, against qemu-img's own copy of it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapengine import chain, clusters, content, errors, extents, qcow2, units, visible
from snapengine.content import Content
from snapengine.extents import Extent
from snapengine.visible import Layer

CLUSTER = 65536


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("content")


def run(*arguments: Path | str) -> None:
    done = subprocess.run(arguments, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def create(path: Path, size: int, backing: Path | None = None, **options: str) -> Path:
    below = ("-u", "-b", backing.name, "-F", "qcow2") if backing else ()
    flat = ",".join(f"{key}={value}" for key, value in {"cluster_size": "65536", **options}.items())
    run("qemu-img", "create", "-q", "-f", "qcow2", *below, "-o", flat, path, str(size))
    return path


def work(path: Path, *steps: str) -> Path:
    run("qemu-io", "-f", "qcow2", *(word for step in steps for word in ("-c", step)), path)
    return path


def raw(path: Path) -> bytes:
    target = path.with_suffix(".raw")
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, target)
    try:
        return target.read_bytes()
    finally:
        target.unlink()


@contextmanager
def opened(path: Path) -> Iterator[Content]:
    with content.opened(chain.read(path.parent, path.name)) as found:
        yield found


@st.composite
def steps(draw: st.DrawFn, size: int) -> list[str]:
    """Draw what qemu-io does to an image of size bytes."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        start = 512 * draw(st.integers(0, size // 512 - 1))
        length = 512 * draw(st.integers(1, min(4 * CLUSTER, size - start) // 512))
        aligned = start // CLUSTER * CLUSTER
        pattern = draw(st.integers(1, 255))
        packed = f"write -c -P {pattern} {aligned} {min(CLUSTER, size - aligned)}"
        writes = [f"write -P {pattern} {start} {length}"] * 2
        found.append(draw(st.sampled_from([*writes, f"write -z {start} {length}", f"discard {start} {length}"])))
        if draw(st.integers(0, 3)) == 0:
            found.insert(0, packed)  # before anything else holds this cluster
            break
    return found


@settings(max_examples=25, deadline=None)
@given(data=st.data(), packing=st.sampled_from(["zlib", "zlib", "zstd"]))
def test_a_chain_reads_as_qemu_reads_it(directory: Path, data: st.DataObject, packing: str) -> None:
    for path in directory.iterdir():
        path.unlink()
    below = None
    for number in range(data.draw(st.integers(1, 4))):
        size = 512 * data.draw(st.integers(1, 20 * CLUSTER // 512))
        extended = data.draw(st.sampled_from(["on", "off"]))
        path = directory / f"{number}.qcow2"
        below = create(path, size, below, extended_l2=extended, compression_type=packing)
        work(path, *data.draw(steps(size)))
    expected = raw(path)

    with opened(path) as guest:
        assert guest.size == len(expected)
        assert guest.read(0, guest.size) == expected
        start = data.draw(st.integers(0, guest.size))
        length = data.draw(st.integers(0, 3 * CLUSTER))
        assert guest.read(start, length) == expected[start : start + length].ljust(length, b"\0")


@pytest.mark.parametrize("packing", ["zlib", "zstd"])
def test_compressed_clusters_are_unpacked(tmp_path: Path, packing: str) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(os.urandom(100_000) + b"text " * 40_000 + bytes(112_160) + os.urandom(512))
    path = tmp_path / "packed.qcow2"
    run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", f"compression_type={packing}", source, path)
    with opened(path) as guest:
        assert guest.read(0, guest.size) == source.read_bytes()
        assert guest.read(120_001, 9) == source.read_bytes()[120_001:120_010]


def test_a_smaller_image_in_the_middle_hides_what_lies_under_its_end(tmp_path: Path) -> None:
    base = work(create(tmp_path / "base.qcow2", 8 * CLUSTER), f"write -P 7 0 {8 * CLUSTER}")
    middle = create(tmp_path / "middle.qcow2", 4 * CLUSTER, base)
    top = create(tmp_path / "top.qcow2", 8 * CLUSTER, middle)
    with opened(top) as guest:
        assert guest.read(0, guest.size) == raw(top) == b"\7" * 4 * CLUSTER + bytes(4 * CLUSTER)


def test_a_compressed_cluster_of_rubbish_is_refused(tmp_path: Path) -> None:
    path = work(create(tmp_path / "i.qcow2", CLUSTER), f"write -c -P 3 0 {CLUSTER}")
    with open(path, "r+b") as f:
        found = extents.read(f.fileno(), qcow2.read_header(f.fileno()))
        assert found == (Extent(0, CLUSTER, "compressed", None),)
        place = clusters.stored(clusters.opened(f.fileno(), qcow2.read_header(f.fileno())), 0)
        for rubbish, why in ((b"\xff" * 64, "can't be unpacked"), (b"\x03\x00" + bytes(62), "cut off")):
            f.seek(place.host)
            f.write(rubbish)
            f.flush()
            with opened(path) as guest, pytest.raises(errors.Refused, match=why):
                guest.read(0, CLUSTER)


def test_a_layer_that_was_replaced_is_not_read(tmp_path: Path) -> None:
    path = create(tmp_path / "i.qcow2", CLUSTER)
    layers = chain.read(tmp_path, path.name)
    create(tmp_path / "other.qcow2", CLUSTER).rename(path)
    with pytest.raises(errors.Busy, match="replaced"), content.opened(layers):
        pass


EXTENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 6), st.sampled_from(["data", "zero"])), max_size=6)


@given(drawn=st.lists(st.tuples(st.integers(1, 40), EXTENTS), min_size=1, max_size=4), end=st.integers(0, 45))
def test_what_is_seen_comes_from_the_uppermost_layer_that_holds_it(
    drawn: list[tuple[int, list[tuple[int, int, extents.Kind]]]], end: int
) -> None:
    layers, expected = [], [("below", 0, 0)] * end
    for number, (size, gaps) in enumerate(drawn):
        at, found = 0, []
        for gap, length, kind in gaps:
            at += gap
            if at + length <= size:
                found.append(Extent(at, length, kind, 1000 * number + at if kind == "data" else None))
            at += length
        layers.append(Layer(size, found))
        for offset in range(end):
            held = next((e for e in found if e.start <= offset < e.end), None)
            if expected[offset][0] == "below" and (held or offset >= size):
                host = held.host + offset - held.start if held and held.host is not None else 0
                expected[offset] = (held.kind if held else "zero", number, host)

    seen = [("below", 0, 0)] * end
    for piece in visible.pieces(layers, end):
        for offset in range(piece.start, piece.end):
            assert seen[offset][0] == "below"
            seen[offset] = (piece.kind, piece.layer, piece.host + offset - piece.start if piece.host is not None else 0)
    assert seen == expected
    whole = visible.view(layers, end)
    for name, found_spans in zip(("data", "zero", "below"), whole, strict=True):
        assert {o for start, stop in found_spans for o in range(start, stop)} == {
            o for o in range(end) if expected[o][0] == name
        }


def test_reading_costs_what_the_range_costs(tmp_path: Path) -> None:
    path = create(tmp_path / "i.qcow2", units.GIB, preallocation="metadata")
    with opened(path) as guest:
        assert guest.read(units.GIB - 512, 1024) == bytes(1024)
