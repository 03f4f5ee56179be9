"""Import: six formats, chains, and what is left alone; each volume holds exactly what a guest saw of the source."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.driver import Format
from snapengine.engine import Engine
from tests.oracle import MIB, Oracle, poke

FORMATS: tuple[tuple[Format, str], ...] = (
    ("raw", ""),
    ("qcow2", "compat=0.10"),
    ("qcow2", "cluster_size=2M"),
    ("qcow2", "extended_l2=on"),
    ("vmdk", "subformat=monolithicSparse"),
    ("vmdk", "subformat=streamOptimized"),
    ("vdi", ""),
    ("vhdx", "subformat=dynamic"),
    ("vpc", "subformat=dynamic,force_size=on"),
    ("vpc", "subformat=fixed,force_size=on"),
)
CONTENT = random.Random(1).randbytes(3 * 65536) + bytes(8 * MIB - 6 * 65536) + random.Random(2).randbytes(3 * 65536)


def source(directory: Path, fmt: Format = "raw", options: str = "") -> Path:
    """Make an image of fmt that holds CONTENT and return its path."""
    raw, path = directory / "source.raw", directory / f"source.{fmt}"
    raw.write_bytes(CONTENT)
    if fmt != "raw":
        given = ["-o", options] if options else []
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", fmt, *given, raw, path], check=True)
    return path


def imported(oracle: Oracle, content: bytes = CONTENT, *, file: Path, format: Format | None = None) -> str:
    volume = oracle.engine.import_volume(file, format=format)
    oracle.expected[volume.uuid] = content
    oracle.check()
    return volume.uuid


@pytest.mark.parametrize("named", [True, False], ids=["named", "detected"])
@pytest.mark.parametrize(("fmt", "options"), FORMATS, ids=lambda value: value or "plain")
def test_an_image_of_each_format_becomes_a_volume(
    oracle: Oracle, tmp_path: Path, fmt: Format, options: str, named: bool
) -> None:
    path = source(tmp_path, fmt, options)
    before = path.read_bytes()
    volume = imported(oracle, file=path, format=fmt if named else None)

    assert path.read_bytes() == before
    shown = oracle.engine.get_volume(volume)
    assert (shown.name, shown.format, shown.size, shown.type) == ("source", "qcow2", len(CONTENT), "Data")
    oracle.write(volume)
    oracle.create(volume, "after")
    oracle.check()


def test_a_chain_is_flattened_and_left_as_it_was(oracle: Oracle, tmp_path: Path) -> None:
    base = source(tmp_path, "qcow2")
    held = CONTENT
    for count, name in enumerate(("one.qcow2", "two.qcow2"), 1):
        layers = ["-f", "qcow2", "-F", "qcow2", "-b", base.name]
        subprocess.run(["qemu-img", "create", "-q", *layers, name], check=True, cwd=tmp_path)
        poke(tmp_path / name, 200 + count, count * 65536)
        held = held[: count * 65536] + bytes([200 + count]) * 65536 + held[(count + 1) * 65536 :]
        base = tmp_path / name
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.qcow2")}
    volume = imported(oracle, held, file=tmp_path / "two.qcow2")

    assert len(oracle.engine.volume_chain(volume)) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.qcow2")} == before


def test_an_odd_sized_raw_image_is_rounded_up_to_512(oracle: Oracle, tmp_path: Path) -> None:
    path = tmp_path / "odd"
    path.write_bytes(b"x" * 1000)
    volume = imported(oracle, b"x" * 1000 + bytes(24), file=path)
    assert oracle.engine.get_volume(volume).size == 1024


def test_move_removes_the_source_after_the_volume_is_there(oracle: Oracle, tmp_path: Path) -> None:
    path = source(tmp_path)
    volume = oracle.engine.import_volume(path, "moved", move=True)
    oracle.expected[volume.uuid] = CONTENT
    assert not path.exists()
    oracle.check()


def test_a_failed_move_keeps_the_source(engine: Engine, tmp_path: Path) -> None:
    path = source(tmp_path)
    with pytest.raises(errors.Refused):
        engine.import_volume(path, format="qcow2", move=True)
    assert path.read_bytes() == CONTENT and engine.list_volumes() == ()


def test_progress_rises_to_the_whole(engine: Engine, tmp_path: Path) -> None:
    seen: list[float] = []
    engine.import_volume(source(tmp_path), progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_what_is_given_stands_in_the_record(engine: Engine, tmp_path: Path) -> None:
    volume = engine.import_volume(source(tmp_path), "named", "Root", description="why", tags=("a::b",))
    assert (volume.name, volume.type, volume.description) == ("named", "Root", "why")
    assert [tag.tag for tag in engine.list_tags(volume.uuid)] == ["a::b"]


def test_a_raw_disk_that_looks_like_qcow2_is_raw_only_when_told(oracle: Oracle, tmp_path: Path) -> None:
    """CVE-2008-2004: the guest of a raw disk has written a qcow2 header that names a host file."""
    path = tmp_path / "disk"
    layers = ["-f", "qcow2", "-F", "raw", "-b", "/etc/passwd"]
    subprocess.run(["qemu-img", "create", "-q", "-u", *layers, path, str(MIB)], check=True)

    with pytest.raises(errors.Refused, match="another directory"):
        oracle.engine.import_volume(path)
    held = path.read_bytes()
    imported(oracle, held + bytes(-len(held) % 512), file=path, format="raw")


@pytest.mark.parametrize(
    ("fmt", "why"),
    [("vmdk", "magic of vmdk"), ("qcow2", "not a qcow2 image"), ("vhdx", "magic of vhdx")],
)
def test_a_named_format_that_does_not_fit_is_refused(engine: Engine, tmp_path: Path, fmt: Format, why: str) -> None:
    with pytest.raises(errors.Refused, match=why):
        engine.import_volume(source(tmp_path), format=fmt)
    assert engine.list_volumes() == ()


def test_a_vmdk_that_names_other_files_is_refused(engine: Engine, tmp_path: Path) -> None:
    """CVE-2022-47951."""
    path = tmp_path / "disk.vmdk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", path, "1M"], check=True)
    with pytest.raises(errors.Refused, match="VMDK"):
        engine.import_volume(path)


def test_a_qed_image_is_refused_with_the_way_out(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "disk.qed"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qed", path, "1M"], check=True)
    with pytest.raises(errors.Refused, match="qed images can't be imported; convert"):
        engine.import_volume(path)


def test_a_chain_in_a_circle_is_refused(engine: Engine, tmp_path: Path) -> None:
    for name, backing in (("a.qcow2", "b.qcow2"), ("b.qcow2", "a.qcow2")):
        layers = ["-f", "qcow2", "-F", "qcow2", "-b", backing]
        subprocess.run(["qemu-img", "create", "-q", "-u", *layers, tmp_path / name, "1M"], check=True)
    with pytest.raises(errors.Refused, match="circle"):
        engine.import_volume(tmp_path / "a.qcow2")


def test_a_symlink_under_an_image_is_not_followed(engine: Engine, tmp_path: Path) -> None:
    os.symlink("/etc/passwd", tmp_path / "base.qcow2")
    layers = ["-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2"]
    subprocess.run(["qemu-img", "create", "-q", "-u", *layers, tmp_path / "top.qcow2", "1M"], check=True)
    with pytest.raises(errors.Refused, match="symbolic link"):
        engine.import_volume(tmp_path / "top.qcow2")


def test_an_image_that_a_vm_writes_to_is_not_imported(engine: Engine, tmp_path: Path) -> None:
    path = source(tmp_path, "qcow2")
    with subprocess.Popen(["qemu-io", "-f", "qcow2", path], stdin=-1, stdout=-1) as user:
        assert user.stdin is not None and user.stdout is not None
        user.stdin.write(b"length\n")
        user.stdin.flush()
        user.stdout.readline()
        with pytest.raises(errors.Busy, match="open for writing in qemu-io"):
            engine.import_volume(path)
        user.stdin.write(b"quit\n")
        user.stdin.close()
        user.stdout.read()
    assert engine.list_volumes() == ()


def test_nothing_but_the_named_files_is_opened(engine: Engine, tmp_path: Path) -> None:
    """The tool gets the very descriptors that were inspected, so no name in a header is ever opened by it."""
    base = source(tmp_path, "qcow2")
    layers = ["-f", "qcow2", "-F", "qcow2", "-b", base.name]
    subprocess.run(["qemu-img", "create", "-q", *layers, "top.qcow2"], check=True, cwd=tmp_path)
    log = tmp_path / "log"
    script = "import sys\nfrom snapengine import Engine\nEngine.open(sys.argv[1]).import_volume(sys.argv[2])"
    call = [sys.executable, "-c", script, str(engine.root), str(tmp_path / "top.qcow2")]
    subprocess.run(["strace", "-f", "-qq", "-e", "trace=execve,openat", "-o", log, *call], check=True)

    _, tool = log.read_text().split('execve("/usr/bin/qemu-img"', 1)
    opened = [line for line in tool.splitlines() if "openat" in line and str(tmp_path) in line]
    assert {line.split('"')[1] for line in opened if "source" in line or "top.qcow2" in line} == set()


@pytest.mark.parametrize("which", ["snapshot", "active image", "trash item"])
def test_a_move_never_removes_an_image_of_the_store(oracle: Oracle, which: str) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    snapshot = oracle.create(volume, "s").uuid
    oracle.write(volume)
    item = oracle.revert(snapshot)
    active = oracle.engine.volume_path(volume)
    names = {"snapshot": f"{snapshot}.qcow2", "active image": active.name, "trash item": f"{item}.trash.qcow2"}

    with pytest.raises(errors.Invalid, match="lies in the primary storage"):
        oracle.engine.import_volume(active.with_name(names[which]), move=True)
    oracle.check()


def test_a_source_that_changes_while_it_is_read_is_not_taken_over(engine: Engine, tmp_path: Path) -> None:
    path = source(tmp_path)

    def grow(fraction: float) -> None:
        with open(path, "ab") as f:
            f.write(b"more")

    with pytest.raises(errors.Busy, match="written to while it was imported"):
        engine.import_volume(path, move=True, progress=grow)
    assert path.exists() and engine.list_volumes() == () and engine.verify() == ()


def test_a_source_whose_name_came_to_mean_another_file_is_left_alone(engine: Engine, tmp_path: Path) -> None:
    path = source(tmp_path)

    def exchange(fraction: float) -> None:
        if fraction == 1.0:
            path.rename(tmp_path / "kept")
            path.write_bytes(b"precious")

    with pytest.raises(errors.Error):
        engine.import_volume(path, move=True, progress=exchange)
    assert path.read_bytes() == b"precious"
