"""The extents of an image: what its tables say, `qemu-img map` as the judge, and tables that lie."""

import json
import os
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snapengine import chain, clusters, errors, extents, maps, qcow2, units
from snapengine.extents import Extent
from tests import qcow2_forge as forge

CLUSTER = forge.CLUSTER
L1, L2 = 3 * CLUSTER, 4 * CLUSTER
DATA = 5 * CLUSTER
COMPRESSED = 1 << 62
CLUSTER_OF_QEMU = 65536


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def read(path: Path) -> tuple[Extent, ...]:
    with opened(path) as fd:
        return extents.read(fd, qcow2.read_header(fd, path=path), path=path)


def alone(path: Path) -> str:
    """Return the name under which a tool opens the image without what it stands on."""
    return "json:" + json.dumps(
        {"driver": "qcow2", "file": {"driver": "file", "filename": str(path)}, "backing": None}
    )


def mapped(path: Path) -> tuple[Extent, ...]:
    """Return what `qemu-img map` says that the image holds itself, joined as the reader joins it."""
    found: list[Extent] = []
    for entry in json.loads(run("qemu-img", "map", "--output", "json", alone(path))):
        if not entry["present"]:
            continue
        kind: extents.Kind = "zero" if not entry["data"] else "data" if "offset" in entry else "compressed"
        host = entry["offset"] if kind == "data" else None
        last = found[-1] if found else None
        follows = last is not None and (last.kind, last.end) == (kind, entry["start"])
        if last is not None and follows and (host is None or last.host == host - last.length):
            found[-1] = last._replace(length=last.length + entry["length"])
        else:
            found.append(Extent(entry["start"], entry["length"], kind, host))
    return tuple(found)


def run(*arguments: Path | str) -> bytes:
    done = subprocess.run(arguments, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def words(*entries: int) -> bytes:
    return struct.pack(f">{len(entries)}Q", *entries)


def forged(path: Path, *entries: int, l1: bytes = words(L2), length: int = 16 * CLUSTER, **fields: int) -> Path:
    """Write an image whose first L2 table has these entries."""
    return forge.image(path, blobs={L1: l1, L2: words(*entries)}, length=length, **fields)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("extents")


@st.composite
def images(draw: st.DrawFn) -> tuple[dict[str, str], int, list[str]]:
    """Draw options of qemu-img create, the size, and what qemu-io does to the image."""
    bits = draw(st.sampled_from([9, 10, 12, 14, 16, 16, 18, 21]))
    cluster = 1 << bits
    chosen = {"cluster_size": str(cluster)}
    if bits >= 14:
        chosen["extended_l2"] = draw(st.sampled_from(["on", "off"]))
    if draw(st.booleans()):
        chosen["compression_type"] = draw(st.sampled_from(["zlib", "zstd"]))
    size = 512 * draw(st.integers(1, min(48 * cluster, units.MIB * 24) // 512))
    steps = []
    for _ in range(draw(st.integers(0, 8))):
        start = 512 * draw(st.integers(0, size // 512 - 1))
        length = 512 * draw(st.integers(1, min(6 * cluster, size - start) // 512))
        aligned = start // cluster * cluster
        steps.append(
            draw(
                st.sampled_from(
                    [
                        f"write -P {draw(st.integers(1, 255))} {start} {length}",
                        f"write -P {draw(st.integers(1, 255))} {start} {length}",
                        f"write -z {start} {length}",
                        f"write -z -u {start} {length}",
                        f"discard {start} {length}",
                        f"write -c -P 7 {aligned} {min(cluster, size - aligned)}",
                    ]
                )
            )
        )
    return chosen, size, steps


@settings(max_examples=80, deadline=None)
@given(image=images())
def test_extents_are_those_that_qemu_maps(directory: Path, image: tuple[dict[str, str], int, list[str]]) -> None:
    options, size, steps = image
    path = directory / "image.qcow2"
    path.unlink(missing_ok=True)
    flat = ",".join(f"{key}={value}" for key, value in options.items())
    run("qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "x", "-F", "qcow2", "-o", flat, path, str(size))
    if steps:
        commands = [word for step in steps for word in ("-c", step)]
        done = subprocess.run(["qemu-io", *commands, alone(path)], capture_output=True, timeout=60)
        assume(done.returncode == 0)

    assert read(path) == mapped(path)


def test_version_2_images_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "i"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "compat=0.10", path, "8M")
    run("qemu-io", "-f", "qcow2", "-c", "write 1M 128k", "-c", "write -c 4M 64k", path)

    assert read(path) == mapped(path)
    assert [extent.kind for extent in read(path)] == ["data", "compressed"]


def test_preallocated_zeros_are_zero(tmp_path: Path) -> None:
    path = tmp_path / "i"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    run("qemu-io", "-f", "qcow2", "-c", "write 1M 1M", "-c", "write -z 1M 512k", path)

    assert [(extent.kind, extent.host is None) for extent in read(path)] == [("zero", True), ("data", False)]


def test_a_preallocated_image_is_all_data(tmp_path: Path) -> None:
    path = tmp_path / "i"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, "8M")

    assert read(path) == mapped(path)
    assert sum(extent.length for extent in read(path)) == 8 * units.MIB


def test_a_gib_of_clusters_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "i"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", path, "1G")
    entries = units.GIB // CLUSTER_OF_QEMU

    took = min(cost(lambda: read(path)) for _ in range(5))

    assert sum(extent.length for extent in read(path)) == units.GIB
    assert took < 10 * min(cost(lambda: sum(entry & COMPRESSED for entry in range(entries))) for _ in range(5))


def cost(work: Callable[[], object]) -> float:
    """Return the seconds of processor time that something takes: they are the same on a busy machine."""
    start = time.thread_time()
    work()
    return time.thread_time() - start


def test_what_lies_behind_the_virtual_size_is_left_out(tmp_path: Path) -> None:
    path = forged(tmp_path / "i", DATA, DATA + CLUSTER, DATA + 2 * CLUSTER, size=CLUSTER + 512)

    assert read(path) == (Extent(0, CLUSTER + 512, "data", DATA),)


def test_an_entry_that_is_only_marked_as_copied_holds_nothing(tmp_path: Path) -> None:
    assert read(forged(tmp_path / "i", 1 << 63)) == ()


def test_extents_are_joined_where_the_file_goes_on_and_only_there(tmp_path: Path) -> None:
    path = forged(tmp_path / "i", DATA, DATA + CLUSTER, DATA + 3 * CLUSTER, 1, DATA + 2 * CLUSTER | 1, 0, 1)

    assert read(path) == (
        Extent(0, 2 * CLUSTER, "data", DATA),
        Extent(2 * CLUSTER, CLUSTER, "data", DATA + 3 * CLUSTER),
        Extent(3 * CLUSTER, 2 * CLUSTER, "zero", None),
        Extent(6 * CLUSTER, CLUSTER, "zero", None),
    )


EXTENDED = {"cluster_bits": 14, "incompatible": qcow2.EXTENDED_L2, "size": 1 << 20}
BIG = 1 << 14


def extended(path: Path, *entries: int) -> Path:
    """Write an image with extended L2 entries; its clusters are four of the forge's."""
    tables = {L1: words(6 * BIG), 6 * BIG: words(*entries)}
    return forge.image(path, blobs=tables, length=16 * BIG, **EXTENDED)  # type: ignore[arg-type]


def test_subclusters_are_told_apart(tmp_path: Path) -> None:
    path = extended(tmp_path / "i", 8 * BIG, 0b0110 | 1 << 63, 0, 1 << 32, 9 * BIG, 2**32 - 1, 10 * BIG, 2**32 - 1)

    assert read(path) == (
        Extent(512, 1024, "data", 8 * BIG + 512),
        Extent(BIG - 512, 512 + 512, "zero", None),
        Extent(2 * BIG, 2 * BIG, "data", 9 * BIG),
    )


@pytest.mark.parametrize(
    "entries, fields, check",
    [
        pytest.param([DATA + 512], {}, "cluster-unaligned", id="between clusters"),
        pytest.param([16 * CLUSTER], {}, "cluster-outside", id="behind the file"),
        pytest.param([14 * CLUSTER + n * CLUSTER for n in range(3)], {}, "cluster-outside", id="end of a run behind"),
        pytest.param([(1 << 56) - CLUSTER], {}, "cluster-outside", id="highest offset"),
        pytest.param([DATA | 1 << 56], {}, "l2-entry", id="reserved high bit"),
        pytest.param([DATA | 2], {}, "l2-entry", id="reserved low bit"),
        pytest.param([1], {"version": 2}, "l2-entry", id="zero cluster in version 2"),
        pytest.param([DATA] * 17, {}, "cluster-shared", id="one cluster many times"),
        pytest.param([COMPRESSED], {}, "cluster-outside", id="compressed at 0"),
        pytest.param([COMPRESSED | 16 * CLUSTER], {}, "cluster-outside", id="compressed behind the file"),
        pytest.param([1], {"l1": words(L2 | 1)}, "l1-entry", id="reserved low bit of L1"),
        pytest.param([1], {"l1": words(L2 | 1 << 62)}, "l1-entry", id="reserved high bit of L1"),
        pytest.param([1], {"l1": words(L2 + 512)}, "l2-unaligned", id="L2 between clusters"),
        pytest.param([1], {"l1": words(16 * CLUSTER)}, "l2-outside", id="L2 behind the file"),
        pytest.param([1], {"l1": words((1 << 56) - CLUSTER)}, "l2-outside", id="L2 nowhere"),
        pytest.param([1], {"l1": words(L2, L2), "l1_entries": 2, "size": 4 << 20}, "l2-twice", id="L2 twice"),
        pytest.param([1], {"l1_entries": 2**22 + 1}, "l1-size", id="endless L1"),
    ],
)
def test_tables_that_lie_are_refused(tmp_path: Path, entries: list[int], fields: dict[str, int], check: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        read(forged(tmp_path / "i", *entries, **fields))  # type: ignore[arg-type]

    assert getattr(caught.value, "check") == check
    assert str(tmp_path / "i") in str(caught.value)


@pytest.mark.parametrize(
    "entries, check",
    [
        pytest.param([8 * BIG, 1 | 1 << 32], "l2-subclusters", id="both zero and allocated"),
        pytest.param([0, 1], "l2-subclusters", id="allocated without a cluster"),
        pytest.param([8 * BIG | 1, 1], "l2-entry", id="zero bit of the other kind"),
    ],
)
def test_subclusters_that_lie_are_refused(tmp_path: Path, entries: list[int], check: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        read(extended(tmp_path / "i", *entries))

    assert getattr(caught.value, "check") == check


def test_a_subcluster_behind_the_end_of_the_file_is_refused(tmp_path: Path) -> None:
    path = extended(tmp_path / "i", 14 * BIG, 2**32 - 1, 15 * BIG, 2**32 - 1, 13 * BIG, 0b110)
    os.truncate(path, 16 * BIG - 511)
    assert read(path)[0] == Extent(0, 2 * BIG, "data", 14 * BIG)
    os.truncate(path, 16 * BIG - 512)

    with pytest.raises(errors.Refused, match="outside the file; was it cut off") as caught:
        read(path)
    assert getattr(caught.value, "check") == "cluster-outside"


def test_a_table_that_the_file_cuts_off_ends_there(tmp_path: Path) -> None:
    path = forge.image(tmp_path / "i", blobs={L1: words(L2), L2: words(DATA, 1, 1)}, length=L2 + 20)

    with pytest.raises(errors.Refused, match="outside the file"):
        read(path)
    assert read(forge.image(path, blobs={L1: words(L2), L2: words(1, 1, 1)}, length=L2 + 20))[0].length == 2 * CLUSTER


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2 * CLUSTER - 1), st.integers(0, 255)), max_size=30),
    many=st.lists(st.integers(0, 2**64 - 1), max_size=20),
    is_extended=st.booleans(),
)
def test_mutated_tables_are_read_or_refused_and_nothing_else(
    directory: Path, changes: list[tuple[int, int]], many: list[int], is_extended: bool
) -> None:
    path = directory / "mutated"
    tables = bytearray(words(L2).ljust(CLUSTER, b"\0") + words(DATA, 1, DATA + CLUSTER, *many).ljust(CLUSTER, b"\0"))
    for offset, value in changes:
        tables[offset] = value
    fields = {"incompatible": qcow2.EXTENDED_L2} if is_extended else {}
    forge.image(path, blobs={L1: bytes(tables)}, length=16 * CLUSTER, **fields)  # type: ignore[arg-type]
    try:
        found = read(path)
    except errors.Refused as e:
        assert str(e)
        return
    assert all(extent.length > 0 and extent.end <= forge.SIZE for extent in found)
    assert all(before.end <= after.start for before, after in zip(found, found[1:], strict=False))


def test_a_compressed_cluster_is_found_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "i"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    run("qemu-io", "-f", "qcow2", "-c", "write -c 1M 64k", "-c", "write 2M 64k", path)
    with opened(path) as fd:
        image = clusters.opened(fd, qcow2.read_header(fd), path)
        place = clusters.stored(image, units.MIB + 5)

        assert 0 < place.host and place.length <= 2 * units.SECTOR
        for offset in (0, 2 * units.MIB, 7 * units.MIB):
            with pytest.raises(errors.Refused):
                clusters.stored(image, offset)


def test_a_map_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "i.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    run("qemu-io", "-f", "qcow2", "-c", "write 0 64k", path)
    os.utime(path, (2**32, 2**32))  # as long as a busy machine takes, this is no moment that has passed
    fresh = maps.of(chain.layer(path))
    os.utime(path, (2**30, 2**30))
    time.sleep(0.15)
    settled = maps.of(chain.layer(path))

    assert fresh == settled and fresh is not settled
    assert maps.of(chain.layer(path)) is settled
    run("qemu-io", "-f", "qcow2", "-c", "write 64k 64k", path)
    assert sum(extent.length for extent in maps.of(chain.layer(path))) == 2 * 65536


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "MAX_REMEMBERED", 2)
    paths = [tmp_path / f"{number}.qcow2" for number in range(3)]
    for path in paths:
        run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
        run("qemu-io", "-f", "qcow2", "-c", "write 0 64k", path)
    time.sleep(0.15)
    first, second, third = (maps.of(chain.layer(path)) for path in paths)

    assert maps.of(chain.layer(paths[1])) is second and maps.of(chain.layer(paths[2])) is third
    assert maps.of(chain.layer(paths[0])) is not first


def test_a_link_or_a_missing_image_has_no_map(tmp_path: Path) -> None:
    path = tmp_path / "i.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    layer = chain.layer(path)
    path.rename(tmp_path / "moved")
    with pytest.raises(errors.Corrupt, match="is missing"):
        maps.of(layer)
    path.symlink_to("moved")
    with pytest.raises(errors.Refused, match="symbolic link"):
        maps.of(layer)
