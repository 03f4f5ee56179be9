"""The qcow2 header reader: what it reads, what it refuses, and `qemu-img info` as its judge."""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from snapengine import errors, qcow2, tables, units
from tests import qcow2_forge as forge

FAR = 1 << 40


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def read(path: Path) -> qcow2.Header:
    with opened(path) as fd:
        return qcow2.read_header(fd, path=path)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("qcow2")


@pytest.mark.parametrize(
    "name, value",
    [
        ("size", 7 * units.GIB),
        ("cluster_bits", 21),
        ("crypt_method", 2),
        ("l1_entries", 77),
        ("l1_offset", 2**63),
        ("refcount_table_offset", 2**64 - 1),
        ("refcount_table_clusters", 2**32 - 1),
        ("internal_snapshots", 5),
        ("snapshots_offset", 123),
        ("incompatible", 2**63 | 1),
        ("compatible", 1),
        ("autoclear", 3),
        ("refcount_order", 6),
        ("compression_type", 1),
    ],
)
def test_every_field_is_read_as_it_stands(tmp_path: Path, name: str, value: int) -> None:
    assert getattr(read(forge.image(tmp_path / "i", **{name: value})), name) == value  # type: ignore[arg-type]


def test_version_2_has_no_feature_bits_and_16_bit_refcounts(tmp_path: Path) -> None:
    header = read(forge.image(tmp_path / "i", version=2, extensions=forge.extension(0xFFFFFFFF, b"12345678")))

    assert (header.version, header.header_length, header.refcount_order) == (2, 72, 4)
    assert (header.incompatible, header.compatible, header.autoclear, header.compression_type) == (0, 0, 0, 0)
    assert header.extensions == (qcow2.Extension(0xFFFFFFFF, b"12345678"),)


def test_a_header_of_104_bytes_has_no_compression_type(tmp_path: Path) -> None:
    area = forge.extension(0x01000000, b"12345678") + forge.extension(forge.END)

    assert read(forge.image(tmp_path / "i", header_length=104, extensions=area)).compression_type == 0


def test_an_image_without_backing_file_has_no_name_and_no_format(tmp_path: Path) -> None:
    header = read(forge.image(tmp_path / "i"))

    assert (header.backing_name, header.backing_format, header.backing_formats) == (None, None, ())


def test_missing_and_repeated_backing_formats_can_be_told(tmp_path: Path) -> None:
    two = forge.backing_format("raw") + forge.backing_format("qcow2") + forge.extension(forge.END)

    assert read(forge.image(tmp_path / "none", backing=b"x")).backing_formats == ()
    header = read(forge.image(tmp_path / "two", backing=b"x", extensions=two))
    assert (header.backing_formats, header.backing_format) == (("raw", "qcow2"), "qcow2")


def test_a_backing_name_that_is_no_text_keeps_its_bytes(tmp_path: Path) -> None:
    name = read(forge.image(tmp_path / "i", backing=b"a\xff\0b")).backing_name

    assert name is not None and name.encode("utf-8", "surrogateescape") == b"a\xff\0b"


def test_extensions_and_name_are_read_up_to_the_end_of_a_first_cluster_of_2_mib(tmp_path: Path) -> None:
    length = 2 * units.MIB - 112 - 8 - 16 - 8 - 4
    area = forge.extension(1, bytes(length // 8 * 8)) + forge.backing_format("qcow2") + forge.extension(forge.END)
    header = read(forge.image(tmp_path / "i", cluster_bits=21, length=4 * units.MIB, extensions=area, backing=b"x.q"))

    assert header.backing_offset > 2 * units.MIB - 16
    assert (header.backing_name, header.backing_format, header.extensions_fault) == ("x.q", "qcow2", None)


def test_padding_is_not_taken_for_the_next_extension(tmp_path: Path) -> None:
    area = forge.extension(7, b"12345") + forge.backing_format("raw") + forge.extension(forge.END)
    header = read(forge.image(tmp_path / "i", extensions=area))

    assert header.extensions == (qcow2.Extension(7, b"12345"), qcow2.Extension(forge.BACKING_FORMAT, b"raw"))
    assert header.extensions_fault is None


@pytest.mark.parametrize(
    "area, fault",
    [
        pytest.param(forge.extension(7, b"", length=FAR >> 10), "runs past the end of their area", id="too long"),
        pytest.param(forge.extension(7, bytes(4096 - 112 - 8)), "no end marker", id="no end marker"),
        pytest.param(forge.extension(7) * 65 + forge.extension(forge.END), "more than 64", id="too many"),
        pytest.param(forge.extension(forge.END, length=1 << 20), "runs past the end of their area", id="long end"),
    ],
)
def test_a_walk_that_is_not_well_formed_says_why(tmp_path: Path, area: bytes, fault: str) -> None:
    assert fault in str(read(forge.image(tmp_path / "i", extensions=area)).extensions_fault)


def test_extensions_beyond_the_end_of_a_short_file_are_a_fault(tmp_path: Path) -> None:
    path = forge.image(tmp_path / "i", length=112)
    assert read(path).extensions_fault == "they run past the end of the file"

    forge.image(path, extensions=forge.extension(7, bytes(100)), length=150)
    assert read(path).extensions_fault == "they run past the end of the file"


def test_the_extension_area_ends_where_the_backing_name_starts(tmp_path: Path) -> None:
    def fault(area: bytes) -> str | None:
        return read(forge.image(tmp_path / "i", extensions=area, backing=b"x")).extensions_fault

    assert fault(forge.extension(7, bytes(16))) == "they have no end marker"
    assert fault(forge.extension(7, bytes(16)) + bytes(4)) == "they have no end marker"
    assert fault(b"") is None


def test_bitmap_and_data_file_extensions_are_read(tmp_path: Path) -> None:
    area = forge.bitmaps(3, 96, 8192) + forge.extension(forge.DATA_FILE_NAME, b"d.raw") + forge.extension(forge.END)
    header = read(forge.image(tmp_path / "i", extensions=area))

    assert (header.bitmap_count, header.bitmap_directory_size, header.bitmap_directory_offset) == (3, 96, 8192)
    assert header.data_file_name == "d.raw"


@pytest.mark.parametrize(
    "content, check",
    [
        pytest.param(b"", "magic", id="empty"),
        pytest.param(bytes(4096), "magic", id="zeros"),
        pytest.param(b"QFI\xfb", "header-short", id="magic alone"),
        pytest.param(forge.header()[:71], "header-short", id="71 bytes"),
        pytest.param(forge.header()[:103], "header-short", id="103 bytes"),
        pytest.param(forge.header(version=1), "version", id="qcow version 1"),
        pytest.param(forge.header(version=4), "version", id="version 4"),
        pytest.param(forge.header(cluster_bits=8), "cluster-bits", id="clusters of 256 bytes"),
        pytest.param(forge.header(cluster_bits=22), "cluster-bits", id="clusters of 4 MiB"),
        pytest.param(forge.header(cluster_bits=2**32 - 1), "cluster-bits", id="endless clusters"),
    ],
)
def test_what_can_not_be_parsed_is_refused_with_its_reason(tmp_path: Path, content: bytes, check: str) -> None:
    path = tmp_path / "i"
    path.write_bytes(content)

    with pytest.raises(errors.Refused) as caught:
        read(path)
    assert getattr(caught.value, "check") == check
    assert str(path) in str(caught.value)


def test_what_can_not_be_read_is_refused_too(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    with opened(tmp_path) as directory_fd:
        for fd in (reader, directory_fd):
            with pytest.raises(errors.Refused, match="it can't be read"):
                qcow2.read_header(fd)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    "content, expected",
    [(forge.header(), True), (forge.header(version=2), True), (forge.header(version=1), False), (b"QFI", False)],
    ids=["version 3", "version 2", "qcow version 1", "cut off"],
)
def test_qcow2_is_told_by_magic_and_version(tmp_path: Path, content: bytes, expected: bool) -> None:
    (tmp_path / "i").write_bytes(content)
    with opened(tmp_path / "i") as fd:
        assert qcow2.is_qcow2(fd) is expected


def test_a_fresh_image_has_no_clusters_and_a_written_one_has(tmp_path: Path) -> None:
    path = tmp_path / "i.qcow2"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", path, "1T")
    with opened(path) as fd:
        assert not tables.has_clusters(fd, qcow2.read_header(fd))
        qemu("qemu-io", "-f", "qcow2", "-c", "write 900G 64k", path)
        assert tables.has_clusters(fd, qcow2.read_header(fd))


@pytest.mark.parametrize(
    "entry, expected",
    [(1 << 63, False), (1 << 63 | 1 << 9, True), (0x1FF, False), (1 << 55, True), (1 << 56, False)],
    ids=["only the copied flag", "an offset", "reserved low bits", "highest offset bit", "reserved high bit"],
)
def test_only_the_offset_bits_of_an_l1_entry_count(tmp_path: Path, entry: int, expected: bool) -> None:
    last = {3 * 4096 + 8191 * 8: struct.pack(">Q", entry)}
    with opened(forge.image(tmp_path / "i", l1_entries=8192, blobs=last, length=units.MIB)) as fd:
        assert tables.has_clusters(fd, qcow2.read_header(fd)) is expected


def test_an_l1_table_behind_the_end_of_the_file_has_no_clusters(tmp_path: Path) -> None:
    with opened(forge.image(tmp_path / "i", l1_entries=4 * units.MIB, l1_offset=FAR)) as fd:
        assert not tables.has_clusters(fd, qcow2.read_header(fd))


@pytest.mark.parametrize("lie", [{"l1_entries": 2**32 - 1}, {"l1_offset": 2**64 - 4096}], ids=["endless", "nowhere"])
def test_an_impossible_l1_table_is_refused(tmp_path: Path, lie: dict[str, int]) -> None:
    with opened(forge.image(tmp_path / "i", **lie)) as fd:  # type: ignore[arg-type]
        header = qcow2.read_header(fd)
        with pytest.raises(errors.Refused):
            tables.has_clusters(fd, header)


def with_bitmaps(path: Path, *entries: bytes, autoclear: int = 1, **lies: int) -> Path:
    directory = b"".join(entries)
    area = forge.bitmaps(**{"count": len(entries), "size": len(directory), **lies}) + forge.extension(forge.END)
    return forge.image(path, extensions=area, blobs={4 * 4096: directory, 5 * 4096: bytes(8)}, autoclear=autoclear)


def test_bitmaps_are_read_with_their_flags(tmp_path: Path) -> None:
    entries = (forge.bitmap(b"on"), forge.bitmap(b"off-longer", flags=0), forge.bitmap(b"lost", flags=3))
    with opened(with_bitmaps(tmp_path / "i", *entries)) as fd:
        header = qcow2.read_header(fd)

        assert [(b.name, b.auto, b.in_use) for b in tables.read_bitmaps(fd, header)] == [
            ("on", True, False),
            ("off-longer", False, False),
            ("lost", True, True),
        ]
        assert [b.name for b in tables.active_bitmaps(fd, header)] == ["on"]


def test_no_bitmap_is_active_where_the_auto_clear_bit_is_gone(tmp_path: Path) -> None:
    with opened(with_bitmaps(tmp_path / "i", forge.bitmap(), autoclear=0)) as fd:
        assert tables.active_bitmaps(fd, qcow2.read_header(fd)) == ()


def test_an_image_without_bitmaps_has_none(tmp_path: Path) -> None:
    with opened(forge.image(tmp_path / "i")) as fd:
        header = qcow2.read_header(fd)
        assert tables.read_bitmaps(fd, header) == tables.active_bitmaps(fd, header) == ()


@pytest.mark.parametrize(
    "entries, lies",
    [
        pytest.param([forge.bitmap()], {"count": 2}, id="fewer than announced"),
        pytest.param([forge.bitmap(), forge.bitmap(b"c")], {"count": 1}, id="more than announced"),
        pytest.param([forge.bitmap()], {"count": 65536}, id="too many"),
        pytest.param([forge.bitmap()], {"size": 2**40}, id="directory too long"),
        pytest.param([forge.bitmap()], {"size": 24}, id="directory cut off"),
        pytest.param([forge.bitmap()], {"size": 40}, id="rest behind the last entry"),
        pytest.param([forge.bitmap()], {"offset": FAR}, id="outside the file"),
        pytest.param([forge.bitmap()], {"offset": 2**64 - 4096}, id="beyond any file"),
        pytest.param([forge.bitmap(kind=2)], {}, id="unknown type"),
        pytest.param([forge.bitmap(flags=4)], {}, id="unknown flag"),
        pytest.param([forge.bitmap(extra=8)], {}, id="extra data"),
        pytest.param([forge.bitmap(granularity_bits=8)], {}, id="too fine"),
        pytest.param([forge.bitmap(granularity_bits=32)], {}, id="too coarse"),
        pytest.param([forge.bitmap(b"")], {}, id="no name"),
        pytest.param([forge.bitmap(b"x" * 1024)], {}, id="long name"),
        pytest.param([forge.bitmap(name_size=1000)], {}, id="name past the end"),
        pytest.param([forge.bitmap(b"a\0b")], {}, id="name cut by a zero"),
    ],
)
def test_a_malformed_bitmap_directory_is_refused(tmp_path: Path, entries: list[bytes], lies: dict[str, int]) -> None:
    with opened(with_bitmaps(tmp_path / "i", *entries, **lies)) as fd:
        header = qcow2.read_header(fd)
        with pytest.raises(errors.Refused):
            tables.read_bitmaps(fd, header)


def qemu(*arguments: Path | str, check: bool = True) -> bytes | None:
    """Run a QEMU tool and return what it prints, None if it fails and may."""
    done = subprocess.run(arguments, capture_output=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if done.returncode == 0 else None


@st.composite
def options(draw: st.DrawFn) -> dict[str, str]:
    """Draw `-o` options of qemu-img create that go together, and the size."""
    bits = draw(st.integers(9, 21))
    chosen = {"cluster_size": str(1 << bits), "compat": draw(st.sampled_from(["0.10", "1.1", "1.1", "1.1"]))}
    if chosen["compat"] == "1.1":
        chosen["refcount_bits"] = str(1 << draw(st.integers(0, 6)))
        chosen["lazy_refcounts"] = draw(st.sampled_from(["on", "off"]))
        chosen["compression_type"] = draw(st.sampled_from(["zlib", "zstd"]))
        chosen["extended_l2"] = draw(st.sampled_from(["on", "off"])) if bits >= 14 else "off"
    sectors = st.one_of(st.integers(0, 16), st.integers(0, 1 << 20), st.integers(0, 1 << min(2 * bits - 1, 35)))
    return chosen | {"size": str(512 * draw(sectors))}


NAMES = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)
BITMAPS = st.lists(st.tuples(st.integers(14, 31), st.booleans()), max_size=2)


@settings(max_examples=60, deadline=None)
@given(options=options(), name=NAMES, format=st.sampled_from(["qcow2", "raw"]), bitmaps=BITMAPS)
def test_a_header_is_read_as_qemu_reads_it(
    directory: Path, options: dict[str, str], name: str | None, format: str, bitmaps: list[tuple[int, bool]]
) -> None:
    path = directory / "image.qcow2"
    path.unlink(missing_ok=True)
    flat = ",".join(f"{key}={value}" for key, value in options.items())
    backing = [] if name is None else ["-u", "-F", format, "-b", name]
    assume(qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", flat, *backing, path, check=False) is not None)
    for number, (bits, enabled) in enumerate(bitmaps if name is None else []):
        state = "--enable" if enabled else "--disable"
        qemu("qemu-img", "bitmap", "--add", "-g", str(1 << bits), state, path, f"b{number}", check=False)

    info = json.loads(qemu("qemu-img", "info", "-f", "qcow2", "--output", "json", path) or b"")
    with opened(path) as fd:
        header = qcow2.read_header(fd)
        read_bitmaps = tables.read_bitmaps(fd, header)
    details = info["format-specific"]["data"]
    assert header.size == info["virtual-size"]
    assert header.cluster_size == info["cluster-size"]
    assert header.backing_name == info.get("backing-filename")
    assert header.backing_format == info.get("backing-filename-format")
    assert {2: "0.10", 3: "1.1"}[header.version] == details["compat"]
    assert 1 << header.refcount_order == details["refcount-bits"]
    assert ["zlib", "zstd"][header.compression_type] == details["compression-type"]
    assert bool(header.compatible & qcow2.LAZY_REFCOUNTS) == details.get("lazy-refcounts", False)
    assert header.extended_l2 == details.get("extended-l2", False)
    assert bool(header.incompatible & qcow2.CORRUPT) == details.get("corrupt", False)
    assert header.extensions_fault is None
    assert [(b.name, 1 << b.granularity_bits, b.auto, b.in_use) for b in read_bitmaps] == [
        (b["name"], b["granularity"], "auto" in b["flags"], "in-use" in b["flags"]) for b in details.get("bitmaps", [])
    ]


START = forge.header(
    extensions=forge.extension(0x6803F857, bytes(96)) + forge.backing_format("qcow2") + forge.bitmaps() + bytes(8),
    backing=b"base.qcow2",
)


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, len(START) - 1), st.integers(0, 255)), max_size=12), rest=st.binary())
def test_a_mutated_header_is_read_or_refused_and_nothing_else(
    directory: Path, changes: list[tuple[int, int]], rest: bytes
) -> None:
    content = bytearray(START)
    for offset, value in changes:
        content[offset] = value
    path = directory / "mutated"
    path.write_bytes(content + rest)
    with opened(path) as fd:
        for reading in (tables.read_bitmaps, tables.active_bitmaps, tables.has_clusters):
            try:
                reading(fd, qcow2.read_header(fd))
            except errors.Refused as e:
                assert str(e)
