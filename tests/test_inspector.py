"""The inspector: each row of its table refuses what it says, real images pass, and QEMU agrees with what it accepts."""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fixtures.hostile.headers import ANY, END, FAR, REFUSED, C, backed, bitmaps
from snapengine import checks, errors, foreign, inspector, qcow2, units
from snapengine.checks import Expected
from tests import qcow2_forge as forge


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = inspector.open_image(path)
    try:
        yield fd
    finally:
        os.close(fd)


def inspect(path: Path, expected: Expected = ANY) -> qcow2.Header:
    with opened(path) as fd:
        return inspector.inspect(fd, path, expected)


def qemu(*arguments: Path | str, check: bool = True) -> bytes | None:
    """Run a QEMU tool and return what it prints, None if it fails and may."""
    done = subprocess.run(arguments, capture_output=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout if done.returncode == 0 else None


@pytest.mark.parametrize(
    "check, fields, expected",
    [pytest.param(check, fields, expected, id=f"{check}: {what}") for check, what, fields, expected in REFUSED],
)
def test_an_image_is_refused_by_the_row_that_is_meant_and_no_other(
    tmp_path: Path, check: str, fields: dict[str, Any], expected: Expected
) -> None:
    path = forge.image(tmp_path / "image", **fields)
    with opened(path) as fd:
        facts = checks.Facts(fd, os.fstat(fd), qcow2.read_header(fd), expected)
        assert [row.name for row in checks.CHECKS if row.reason(facts) is not None] == [check]

        with pytest.raises(errors.Refused) as caught:
            inspector.inspect(fd, path, expected)
    assert getattr(caught.value, "check") == check
    assert str(caught.value).startswith(f"refused image {path}: ") and str(caught.value).isprintable()


def test_every_row_of_the_table_has_an_image_that_it_refuses() -> None:
    names = [row.name for row in checks.CHECKS]

    assert {check for check, *_ in REFUSED} == set(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "fields, check",
    [({"backing_offset": 1, "backing_length": 2}, "backing-outside"), ({"version": 4}, "version"),
     ({"cluster_bits": 31}, "cluster-bits"), ({"magic": b"QFI\xfa"}, "magic"), ({"length": 90}, "header-short")],
    ids=["name inside the header", "version 4", "clusters of 2 GiB", "no magic", "half a header"],
)
def test_what_breaks_several_rules_is_refused_by_the_first(tmp_path: Path, fields: dict[str, Any], check: str) -> None:
    with pytest.raises(errors.Refused) as caught:
        inspect(forge.image(tmp_path / "image", **fields))
    assert getattr(caught.value, "check") == check


@pytest.mark.parametrize(
    "fields, expected",
    [
        pytest.param({}, Expected(), id="no backing file"),
        pytest.param({}, Expected(max_size=forge.SIZE), id="just the limit"),
        pytest.param({"version": 2}, Expected(allow_version_2=True), id="version 2 where allowed"),
        pytest.param({"compatible": 2**64 - 1}, Expected(), id="unknown compatible features"),
        pytest.param({"extensions": forge.extension(0xABC, b"12345") + END}, Expected(), id="unknown extension"),
        pytest.param({"l1_entries": 0, "l1_offset": 0, "size": 0}, Expected(), id="no size and no L1 table"),
        pytest.param({"size": 2 * units.MIB}, Expected(), id="all that the L1 table maps"),
        pytest.param({"length": 3 * C + 8}, Expected(), id="ends with its L1 table"),
        pytest.param(bitmaps(), Expected(), id="bitmap"),
        pytest.param(bitmaps(table=struct.pack(">Q", 1)), Expected(), id="bitmap of ones"),
        pytest.param(bitmaps(forge.bitmap(flags=3, table_entries=2)), Expected(), id="outdated bitmap"),
        pytest.param(bitmaps(offset=FAR) | {"autoclear": 0}, Expected(), id="bitmaps that QEMU ignores"),
        pytest.param(backed(b"x"), ANY, id="any bare name"),
        pytest.param(backed("ä b.qcow2".encode()), Expected(backing="ä b.qcow2"), id="a name with a space"),
        pytest.param(backed(b"x" * 1023), ANY, id="the longest name"),
        pytest.param(backed(b"../b/x.qcow2"), Expected(backing="../b/x.qcow2"), id="the recorded path of a base"),
        pytest.param(
            backed(b"x", extensions=forge.backing_format("raw") + END),
            Expected(backing="x", backing_format="raw"),
            id="a raw base",
        ),
    ],
)
def test_a_forged_image_that_keeps_the_rules_is_accepted(
    tmp_path: Path, fields: dict[str, Any], expected: Expected
) -> None:
    path = forge.image(tmp_path / "image", **fields)

    inspect(path, expected)
    qemu("qemu-img", "info", "-f", "qcow2", path)


def test_the_file_may_lie_on_the_expected_device(tmp_path: Path) -> None:
    inspect(forge.image(tmp_path / "image"), Expected(device=tmp_path.stat().st_dev))


def test_a_hostile_name_is_shown_as_one_short_line(tmp_path: Path) -> None:
    with pytest.raises(errors.Refused) as caught:
        inspect(forge.image(tmp_path / "image", **backed(b"\x1b[2J\n" + b"x" * 1000)))
    assert "\\x1b[2J\\n" in str(caught.value)
    assert len(getattr(caught.value, "why")) < 200


@pytest.mark.parametrize(
    "options, size",
    [
        ("compat=0.10", "1M"),
        ("compat=1.1", "0"),
        ("compat=1.1", "512"),
        ("compat=1.1", "8T"),
        ("cluster_size=512", "1G"),
        ("cluster_size=512,refcount_bits=1", "1M"),
        ("cluster_size=512,compat=0.10", "0"),
        ("cluster_size=1k,refcount_bits=64,preallocation=metadata", "8M"),
        ("cluster_size=2M", "1P"),
        ("cluster_size=2M,extended_l2=on", "1T"),
        ("cluster_size=16k,extended_l2=on,preallocation=metadata", "8M"),
        ("extended_l2=on,lazy_refcounts=on,compression_type=zstd", "1G"),
        ("refcount_bits=2,preallocation=falloc", "1M"),
        ("refcount_bits=8,preallocation=full", "1M"),
        ("refcount_bits=32,lazy_refcounts=on,preallocation=metadata", "3584"),
    ],
)
def test_every_image_that_qemu_img_makes_is_accepted(tmp_path: Path, options: str, size: str) -> None:
    path = tmp_path / "image.qcow2"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, size)

    inspect(path, Expected(allow_version_2=True))


def test_an_image_stays_acceptable_through_its_whole_life(tmp_path: Path) -> None:
    path, overlay, copy = tmp_path / "a.qcow2", tmp_path / "o.qcow2", tmp_path / "c.qcow2"
    life: list[tuple[Path, list[Path | str]]] = [
        (path, ["create", "-q", "-f", "qcow2", path, "1M"]),
        (path, ["resize", "-q", path, "90G"]),
        (path, ["resize", "-q", "--shrink", path, "1M"]),
        (path, ["snapshot", "-c", "s", path]),
        (path, ["snapshot", "-d", "s", path]),
        (path, ["bitmap", "--add", path, "b0"]),
        (path, ["bitmap", "--add", "-g", "512", "--disable", path, "b1"]),
        (path, ["resize", "-q", path, "64M"]),
        (path, ["bitmap", "--remove", path, "b1"]),
        (path, ["bitmap", "--remove", path, "b0"]),
        (path, ["amend", "-o", "refcount_bits=64", path]),
        (path, ["check", "-q", "-r", "all", path]),
        (copy, ["convert", "-c", "-O", "qcow2", path, copy]),
        (overlay, ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "a.qcow2", overlay]),
        (overlay, ["commit", "-q", overlay]),
        (overlay, ["rebase", "-q", "-f", "qcow2", "-b", "", overlay]),
        (overlay, ["rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "a.qcow2", overlay]),
    ]
    for target, command in life:
        qemu("qemu-img", *command)
        if command[:2] == ["snapshot", "-c"]:
            with pytest.raises(errors.Refused, match=r"holds internal snapshots \(1\); remove them with 'qemu-img"):
                inspect(target)
        else:
            inspect(target)


def test_a_truncated_image_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "image.qcow2"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", path, "1G")
    for length in (path.stat().st_size - 1, 8192, 4096, 500, 104, 100, 72, 8, 4, 0):
        os.truncate(path, length)
        with pytest.raises(errors.Refused):
            inspect(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    "make, why",
    [
        pytest.param(lambda path: os.mkfifo(path), "it is a FIFO", id="FIFO"),
        pytest.param(lambda path: path.mkdir(), "it is a directory", id="directory"),
        pytest.param(lambda path: path.symlink_to("/etc/hostname"), "it is a symbolic link", id="symbolic link"),
        pytest.param(lambda path: path.symlink_to("nowhere"), "it is a symbolic link", id="dangling link"),
        pytest.param(make_socket, "it is a socket", id="socket"),
    ],
)
def test_only_regular_files_are_opened(tmp_path: Path, make: Any, why: str) -> None:
    make(tmp_path / "image")

    with pytest.raises(errors.Refused, match=why) as caught:
        inspector.open_image(tmp_path / "image")
    assert getattr(caught.value, "check") == "not-regular"


def test_a_device_node_is_refused() -> None:
    with pytest.raises(errors.Refused, match="it is a device"):
        inspector.open_image("/dev/null")


def test_an_open_descriptor_of_something_else_is_refused_as_well(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    for inspecting in (
        lambda: inspector.inspect(reader, tmp_path, ANY),
        lambda: foreign.inspect(reader, tmp_path, "raw"),
    ):
        with pytest.raises(errors.Refused, match="it is a FIFO"):
            inspecting()
    os.close(reader)
    os.close(writer)


def test_errors_of_the_system_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        inspector.open_image(tmp_path / "nothing")
    with pytest.raises(NotADirectoryError):
        inspector.open_image(forge.image(tmp_path / "image") / "x")


def test_an_image_is_opened_below_a_directory_descriptor(tmp_path: Path) -> None:
    path = forge.image(tmp_path / "image")
    directory = os.open(tmp_path, os.O_RDONLY)
    fd = inspector.open_image("image", directory)
    try:
        assert os.fstat(fd).st_ino == path.stat().st_ino
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)
        os.close(directory)


def test_an_image_whose_lease_is_held_is_busy(tmp_path: Path) -> None:
    path = forge.image(tmp_path / "image")
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    fd = os.open(path, os.O_RDWR)
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        with pytest.raises(errors.Busy, match="try again"):
            inspector.open_image(path)
    finally:
        os.close(fd)
        signal.signal(signal.SIGIO, before)


VMDK_TEXT = b"# Disk DescriptorFile\nversion=1\n"


@pytest.mark.parametrize(
    "content, expected",
    [
        (b"", None),
        (bytes(1024), None),
        (bytes(510) + b"\x55\xaa" + bytes(512), None),
        (b"# a script\necho version=1\n", None),
        (b"#\n" * 5000, None),
        (b"QFI\xfb\0\0\0\3", "qcow2"),
        (b"QFI\xfb\0\0\0\1", "qcow"),
        (b"QED\0", "qed"),
        (b"KDMV", "vmdk"),
        (b"COWD", "vmdk"),
        (VMDK_TEXT, "vmdk"),
        (b"# comment\r\n  \r\n\n#\nversion=3\n", "vmdk"),
        (b"\n\n  # disk descriptorfile", "vmdk"),
        (b"<<< VDI >>>".ljust(64, b"\0") + b"\x7f\x10\xda\xbe", "vdi"),
        (b"vhdxfile", "vhdx"),
        (b"conectix", "vpc"),
        (bytes(2048) + b"conectix".ljust(512, b"\0"), "vpc"),
        (bytes(2000) + bytes(48) + b"conectix", "vpc"),
        (bytes(2048) + b"koly".ljust(512, b"\0"), "dmg"),
        (b"LUKS\xba\xbe\0\1", "luks"),
        (b"WithoutFreeSpace", "parallels"),
        (b"WithouFreSpacExt", "parallels"),
        (b"Bochs Virtual HD Image", "bochs"),
        (b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0", "cloop"),
    ],
)
def test_a_known_magic_is_told(tmp_path: Path, content: bytes, expected: str | None) -> None:
    (tmp_path / "image").write_bytes(content)
    with opened(tmp_path / "image") as fd:
        assert foreign.looks_like(fd) == expected


def inspect_foreign(path: Path, format: str) -> None:
    with opened(path) as fd:
        foreign.inspect(fd, path, format)


@pytest.mark.parametrize(
    "format, options",
    [
        ("vmdk", "subformat=monolithicSparse"),
        ("vmdk", "subformat=streamOptimized"),
        ("vdi", "static=off"),
        ("vdi", "static=on"),
        ("vhdx", "subformat=dynamic"),
        ("vpc", "subformat=dynamic"),
        ("vpc", "subformat=fixed"),
        ("raw", "preallocation=off"),
    ],
)
def test_a_whole_foreign_image_is_accepted_as_what_it_is_and_as_nothing_else(
    tmp_path: Path, format: str, options: str
) -> None:
    path = tmp_path / "image"
    qemu("qemu-img", "create", "-q", "-f", format, "-o", options, path, "4M")

    inspect_foreign(path, format)
    for other in {"vmdk", "vdi", "vhdx", "vpc", "raw"} - {format}:
        with pytest.raises(errors.Refused):
            inspect_foreign(path, other)


def test_an_unknown_format_is_an_invalid_argument(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="'qed' can't be imported"):
        inspect_foreign(forge.image(tmp_path / "image"), "qed")


def test_a_raw_disk_that_its_guest_made_look_like_qcow2_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.Refused, match="it looks like qcow2, not raw"):
        inspect_foreign(forge.image(tmp_path / "image"), "raw")


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"])
def test_a_vmdk_in_several_files_is_refused(tmp_path: Path, subformat: str) -> None:
    path = tmp_path / "image.vmdk"
    qemu("qemu-img", "create", "-q", "-f", "vmdk", "-o", f"subformat={subformat}", path, "4M")

    with pytest.raises(errors.Refused, match="names other files"):
        inspect_foreign(path, "vmdk")


def test_a_vmdk_delta_is_refused(tmp_path: Path) -> None:
    base, delta = tmp_path / "base.vmdk", tmp_path / "delta.vmdk"
    qemu("qemu-img", "create", "-q", "-f", "vmdk", base, "4M")
    qemu("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", base, delta)

    with pytest.raises(errors.Refused, match="delta of another VMDK image"):
        inspect_foreign(delta, "vmdk")


@pytest.mark.parametrize(
    "old, new, why",
    [
        pytest.param(b'SPARSE "image', b'SPARSE "/etc/', "bare name", id="absolute extent"),
        pytest.param(b'SPARSE "image', b'SPARSE "../ge', "bare name", id="extent in another directory"),
        pytest.param(b'SPARSE "image', b'FLAT   "image', "sparse extent", id="flat extent"),
        pytest.param(b"# Extent description", b'RW 1 FLAT "passwd" 0', "exactly one", id="second extent"),
        pytest.param(b"monolithicSparse", b"monolithicFlat\"\n ", "neither", id="flat type"),
        pytest.param(b"createType", b"createtYpo", "neither", id="no type"),
        pytest.param(b"# Extent description", b'createType="vmfs"  ', "neither", id="two types"),
        pytest.param(b"# Extent descri", b'parentFileNameHint="a"', "delta", id="parent"),
    ],
)
def test_a_vmdk_descriptor_that_leads_elsewhere_is_refused(tmp_path: Path, old: bytes, new: bytes, why: str) -> None:
    path = tmp_path / "image"
    qemu("qemu-img", "create", "-q", "-f", "vmdk", path, "4M")
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))

    with pytest.raises(errors.Refused, match=why):
        inspect_foreign(path, "vmdk")


@pytest.mark.parametrize(
    "format, offset, value, why",
    [
        pytest.param("vmdk", 4, b"\4\0\0\0", "malformed", id="vmdk version 4"),
        pytest.param("vmdk", 12, bytes(8), "malformed", id="vmdk whose descriptor QEMU would follow"),
        pytest.param("vmdk", 28, b"\2", "malformed", id="vmdk descriptor elsewhere"),
        pytest.param("vmdk", 36, b"\xff" * 8, "malformed", id="vmdk endless descriptor"),
        pytest.param("vdi", 0x4C, b"\4", "neither", id="vdi delta"),
        pytest.param("vdi", 0x1B8, b"\1", "parent", id="vdi with a parent"),
        pytest.param("vpc", 60, b"\0\0\0\4", "neither", id="vhd delta"),
        pytest.param("vpc", 60, b"\0\0\0\2", "neither", id="vhd fixed but for its place"),
        pytest.param("vhdx", 0, b"vhdxfilo", "no magic", id="vhdx without magic"),
    ],
)
def test_a_foreign_header_that_lies_is_refused(
    tmp_path: Path, format: str, offset: int, value: bytes, why: str
) -> None:
    path = tmp_path / "image"
    qemu("qemu-img", "create", "-q", "-f", format, path, "4M")
    with path.open("r+b") as f:
        f.seek(offset)
        f.write(value)

    with pytest.raises(errors.Refused, match=why):
        inspect_foreign(path, format)


@pytest.mark.parametrize("format, magic", [("vmdk", b"KDMV"), ("vdi", bytes(64) + b"\x7f\x10\xda\xbe")])
def test_a_foreign_image_cut_off_behind_its_magic_is_refused(tmp_path: Path, format: str, magic: bytes) -> None:
    (tmp_path / "image").write_bytes(magic)
    with pytest.raises(errors.Refused):
        inspect_foreign(tmp_path / "image", format)


@pytest.fixture(scope="module")
def valid(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the bytes of small valid images of all kinds."""
    path = tmp_path_factory.mktemp("valid") / "image"
    found = {"forged": forge.image(path, **bitmaps()).read_bytes()}
    for name, options in {
        "plain": ["-o", "cluster_size=4k"],
        "version 2": ["-o", "compat=0.10,cluster_size=4k"],
        "backed": ["-o", "cluster_size=512", "-u", "-F", "qcow2", "-b", "base.qcow2"],
        "subclusters": ["-o", "extended_l2=on,cluster_size=16k,compression_type=zstd"],
        "bitmaps": ["-o", "lazy_refcounts=on,cluster_size=4k"],
    }.items():
        qemu("qemu-img", "create", "-q", "-f", "qcow2", *options, path, "1M")
        if name == "bitmaps":
            qemu("qemu-img", "bitmap", "--add", path, "b0")
        found[name] = path.read_bytes()
    return found


VALUES = st.one_of(
    st.integers(0, 24),
    st.sampled_from([n + d for n in (104, 112, 512, 4096, 2**16, 2**20, 2**31, 2**32) for d in (-8, -1, 0, 1, 8)]),
    st.sampled_from([2**61, 2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 1]),
    st.integers(0, 64).map(lambda n: n * 512),
)
FIELD = st.tuples(st.sampled_from(sorted(set(forge.FIELDS) - {"magic"})), VALUES)
BYTE = st.tuples(st.integers(8, 1024), st.integers(0, 255))


def mutated(content: bytes, fields: list[tuple[str, int]], changes: list[tuple[int, int]]) -> bytes:
    new = bytearray(content)
    for name, value in fields:
        offset, size = forge.FIELDS[name]
        new[offset : offset + size] = (value % (1 << 8 * size)).to_bytes(size, "big")
    for offset, value in changes:
        new[offset] = value
    return bytes(new)


@settings(max_examples=250, deadline=None)
@given(
    kind=st.sampled_from(["forged", "plain", "version 2", "backed", "subclusters", "bitmaps"]),
    fields=st.lists(FIELD, max_size=2),
    changes=st.lists(BYTE, max_size=2),
    cut=st.none() | st.integers(0, 40000),
)
def test_what_the_inspector_accepts_qemu_opens_and_reads_alike(
    valid: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    fields: list[tuple[str, int]],
    changes: list[tuple[int, int]],
    cut: int | None,
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.qcow2"
    path.write_bytes(mutated(valid[kind], fields, changes)[:cut])
    start = time.process_time()
    try:
        with opened(path) as fd:
            header = inspector.inspect(fd, path, Expected(any_backing=True, allow_version_2=True))
    except errors.Refused:
        assert time.process_time() - start < 1
        return
    event("accepted")
    info = json.loads(qemu("qemu-img", "info", "-f", "qcow2", "--output", "json", path) or b"")
    assert header.size == info["virtual-size"]
    assert header.cluster_size == info["cluster-size"]
    assert header.backing_name == info.get("backing-filename")
    assert header.backing_name is None or header.backing_format == info["backing-filename-format"]
