"""Import of a chain: each image becomes a snapshot with its content, and nothing hostile or torn comes in."""

import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine import durable, errors
from snapengine.engine import Engine
from tests import images, privileged, qemu
from tests.command_line import CommandLine
from tests.crash import strace
from tests.crash.strace import Call, Point
from tests.oracle import CLUSTER, MIB, Oracle, poke


def chain(directory: Path, *names: str, options: str = "", size: int = 2 * MIB) -> Path:
    """Make a chain of qcow2 images, the lowest first, each with something of its own; returns the top."""
    directory.mkdir(exist_ok=True)
    under: list[str] = []
    for number, name in enumerate(names):
        given = ["-o", options] if options else []
        line = ["qemu-img", "create", "-q", "-f", "qcow2", *given, *under, name, str(size)]
        subprocess.run(line, check=True, cwd=directory)
        poke(directory / name, 200 + number, number * CLUSTER, 2 * CLUSTER)
        under = ["-F", "qcow2", "-b", name]
    return directory / names[-1]


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return chain(tmp_path / "else where", "base.qcow2", "monday.qcow2", "db.qcow2")


def state(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def refused(engine: Engine, file: Path, kind: type[errors.Error], why: str, *, move: bool = False) -> None:
    before = state(file.parent)
    with pytest.raises(kind, match=why):
        engine.import_chain(file, move=move)
    assert state(file.parent) == before
    assert engine.list_volumes() == () and list(engine.root.rglob("*.qcow2")) == []


def test_each_image_becomes_a_snapshot_called_as_its_file(oracle: Oracle, top: Path) -> None:
    before = state(top.parent)
    volume = oracle.import_chain(top)
    oracle.check()

    assert oracle.engine.get_volume(volume).name == "db"
    found = oracle.engine.list_snapshots(volume)
    assert [(s.name, s.distance, s.latest) for s in found] == [("base", 1, False), ("monday", 2, True)]
    assert [tree.current for tree in oracle.engine.snapshot_trees(volume)] == [True]
    assert state(top.parent) == before


def test_an_adopted_chain_works_as_any_other(oracle: Oracle, top: Path) -> None:
    volume = oracle.import_chain(top)
    base, monday = (snapshot.uuid for snapshot in oracle.engine.list_snapshots(volume))
    oracle.write(volume, 3 * CLUSTER)
    oracle.create(volume, "after")
    oracle.revert(base)
    oracle.write(volume)
    oracle.revert(monday)
    oracle.check()


def test_one_image_alone_becomes_a_volume_without_snapshots(oracle: Oracle, tmp_path: Path) -> None:
    volume = oracle.import_chain(chain(tmp_path / "one", "alone.qcow2"), "named")
    oracle.check()
    assert oracle.engine.list_snapshots(volume) == ()


@pytest.mark.parametrize(
    "options", ["compat=0.10", "cluster_size=512", "cluster_size=2M", "extended_l2=on", "compression_type=zstd"]
)
def test_images_of_all_kinds_come_in_as_version_3(oracle: Oracle, tmp_path: Path, options: str) -> None:
    volume = oracle.import_chain(chain(tmp_path / "kinds", "a.qcow2", "b.qcow2", options=options))
    oracle.check()
    for link in oracle.engine.volume_chain(volume):
        assert Path(link.path).read_bytes()[4:8] == struct.pack(">I", 3)


def test_bitmaps_and_compressed_clusters_come_in_as_they_are(oracle: Oracle, tmp_path: Path) -> None:
    directory = tmp_path / "odd"
    directory.mkdir()
    (directory / "raw").write_bytes(b"some text " * 100_000 + bytes(576))
    line = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", "raw", "base.qcow2"]
    subprocess.run(line, check=True, cwd=directory)
    line = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "top.qcow2"]
    subprocess.run(line, check=True, cwd=directory)
    subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", directory / "top.qcow2", "backup"], check=True)
    volume = oracle.import_chain(directory / "top.qcow2")
    oracle.check()
    assert [b.name for b in images.Images().facts(oracle.engine.volume_path(volume)).info.bitmaps] == ["backup"]
    base = oracle.engine.list_snapshots(volume)[0]
    assert base.size < 500_000


def test_a_raw_base_becomes_a_snapshot(oracle: Oracle, top: Path) -> None:
    raw = b"raw!" * (MIB // 4) + b"odd"
    top.with_name("base.img").write_bytes(raw)
    _rebased(top.with_name("monday.qcow2"), "base.img", "raw")
    held = [raw + bytes(509), images.read(top.with_name("monday.qcow2")), images.read(top)]
    volume = oracle.engine.import_chain(top).uuid
    found = oracle.engine.list_snapshots(volume)
    assert [s.name for s in found] == ["base", "monday"]
    oracle.expected.update(zip([*(s.uuid for s in found), volume], held, strict=True))
    oracle.check()


def test_an_absolute_name_into_the_same_directory_becomes_a_bare_one(oracle: Oracle, top: Path) -> None:
    _rebased(top, str(top.with_name("monday.qcow2")))
    oracle.import_chain(top)
    oracle.check()


def test_leaked_clusters_are_freed_in_the_copy_only(oracle: Oracle, top: Path) -> None:
    with open(top, "r+b") as f:  # the refcount of one cluster more, which nothing points to
        f.seek(2 * 65536 + 2 * (top.stat().st_size // 65536))
        f.write(b"\0\1")
        f.truncate(top.stat().st_size + 65536)
    said = subprocess.run(["qemu-img", "check", "-f", "qcow2", str(top)], capture_output=True)
    assert said.returncode == 3, said
    before = top.read_bytes()
    oracle.import_chain(top)
    oracle.check()
    assert top.read_bytes() == before


def test_a_copied_directory_of_ours_comes_in_with_its_names(oracle: Oracle, tmp_path: Path) -> None:
    volume = oracle.volume("db")
    oracle.write(volume)
    first = oracle.create(volume, "before: the upgrade").uuid
    oracle.engine.update_snapshot(first, description="why")
    oracle.write(volume, CLUSTER)
    oracle.create(volume, "second")
    oracle.write(volume, 2 * CLUSTER)
    copied = tmp_path / "copied"
    shutil.copytree(oracle.engine.volume_path(volume).parent, copied)
    (copied / f"{first}.json").chmod(0o600)
    again = oracle.import_chain(copied / f"{volume}.qcow2")
    oracle.check()

    assert oracle.engine.get_volume(again).name == "db" and again != volume
    found = oracle.engine.list_snapshots(again)
    assert [(s.name, s.description) for s in found] == [("before: the upgrade", "why"), ("second", None)]
    (copied / f"{first}.json").write_text("{")
    third = oracle.import_chain(copied / f"{volume}.qcow2")
    assert oracle.engine.list_snapshots(third)[0].name == first


def test_move_removes_the_whole_chain(oracle: Oracle, top: Path) -> None:
    oracle.import_chain(top, move=True)
    oracle.check()
    assert os.listdir(top.parent) == []


def test_move_is_refused_where_it_can_not_be_seen_what_another_image_stands_on(engine: Engine, top: Path) -> None:
    other = top.with_name("other.qcow2")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", other], check=True)
    root, before = engine.root, state(top.parent)
    header = Call(Point("pread64", 1), 0, os.path.relpath(other, root), 1, own=True)

    done = strace.failed(lambda: Engine.open(root).import_chain(top, move=True), root, header, "EIO")

    assert done.said.startswith("Conflict: ") and "other.qcow2 can't be read" in done.said
    assert state(top.parent) == before and engine.list_volumes() == ()


def test_move_is_refused_where_another_image_stands_on_the_chain(engine: Engine, top: Path) -> None:
    line = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "other.qcow2"]
    subprocess.run(line, check=True, cwd=top.parent)
    refused(engine, top, errors.Conflict, "other.qcow2 stands on base.qcow2 too", move=True)


def _edit(path: Path, offset: int, data: bytes) -> None:
    with open(path, "r+b") as f:
        f.seek(offset)
        f.write(data)


def _rebased(path: Path, name: str, format: str = "qcow2") -> None:
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", format, "-b", name, str(path)], check=True)


def _internal(path: Path) -> None:
    subprocess.run(["qemu-img", "snapshot", "-c", "inside", str(path)], check=True)


def _smaller(top: Path) -> None:
    subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", "--shrink", str(top), "1M"], check=True)


def _linked(top: Path) -> None:
    top.rename(top.with_name("real"))
    top.symlink_to("real")


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a child smaller than its backing file": (_smaller, "less than the 2097152 of monday.qcow2.*without --chain"),
    "internal snapshots": (lambda top: _internal(top.with_name("base.qcow2")), "internal snapshots"),
    "a missing layer": (lambda top: top.with_name("base.qcow2").unlink(), "is missing"),
    "another directory": (lambda top: _rebased(top, "../x.qcow2"), "another directory"),
    "a host file": (lambda top: _rebased(top, "/etc/passwd"), "another directory"),
    "a protocol": (lambda top: _rebased(top, "nbd:x"), "protocol"),
    "a circle": (lambda top: _rebased(top.with_name("base.qcow2"), top.name), "circle"),
    "a damaged layer": (lambda top: _edit(top.with_name("monday.qcow2"), 0, b"gone"), "not a qcow2 image"),
    "a raw base that looks like qcow2": (
        lambda top: _rebased(top.with_name("monday.qcow2"), "base.qcow2", "raw"), "looks like qcow2, not raw",
    ),
    "a link": (lambda top: _linked(top), "symbolic link"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_chain_is_refused_and_nothing_is_left(engine: Engine, top: Path, name: str) -> None:
    damage, why = BAD[name]
    damage(top)
    refused(engine, top, errors.Refused, why)


def test_a_chain_deeper_than_the_limit_is_refused(oracle: Oracle, tmp_path: Path) -> None:
    top = chain(tmp_path / "deep", *(f"{n}.qcow2" for n in range(4)))
    oracle.engine.set_depth_limit(2)
    refused(oracle.engine, top, errors.NoSpace, "3 images under its top, the depth limit is 2")
    oracle.engine.set_depth_limit(3)
    oracle.import_chain(top)
    oracle.check()


def test_the_quota_counts(oracle: Oracle, top: Path) -> None:
    oracle.engine.create_account("joe")
    oracle.engine.set_quota("joe", 1)
    with pytest.raises(errors.OverQuota):
        oracle.engine.import_chain(top, account="joe")
    assert oracle.engine.list_volumes() == ()
    oracle.check()


def test_a_chain_that_a_vm_uses_is_busy(engine: Engine, top: Path) -> None:
    with qemu.running(top), pytest.raises(errors.Busy, match="guest db"):
        engine.import_chain(top)
    assert engine.list_volumes() == ()


@privileged.needs_root
def test_on_one_file_system_with_reflinks_no_data_moves(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        volume = oracle.import_chain(chain(disk / "from", "a.qcow2", "b.qcow2"))
        oracle.check()
        path = oracle.engine.volume_path(volume)
        assert "shared" in subprocess.run(["filefrag", "-v", path], capture_output=True, text=True, check=True).stdout


@privileged.needs_root
def test_a_full_disk_is_seen_beforehand(tmp_path: Path, top: Path) -> None:
    with privileged.small_disk(tmp_path / "small", 512) as disk:
        refused(Engine.init(disk / "storage"), top, errors.NoSpace, "may be needed")


def test_progress_rises_to_the_whole(engine: Engine, top: Path) -> None:
    seen: list[float] = []
    engine.import_chain(top, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_the_command_line_takes_a_chain(oracle: Oracle, top: Path) -> None:
    line = CommandLine(oracle.engine.root)
    made = line.json("volume", "import", str(top), "--chain", "--name", "adopted", "--type", "root")
    assert (made["name"], made["type"]) == ("adopted", "Root")
    assert [s["name"] for s in line.json("snapshot", "list", "adopted")["inventories"]] == ["base", "monday"]
    assert "qcow2 images only" in line.error(2, "volume", "import", str(top), "--chain", "--format", "raw")
    line.error(3, "volume", "import", str(top.with_name("no")), "--chain")


def test_a_move_that_can_not_remove_a_source_says_that_the_volume_is_there(
    oracle: Oracle, top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = durable.unlink

    def refused(path: Path) -> None:
        if path == top:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path)

    monkeypatch.setattr(durable, "unlink", refused)
    with pytest.raises(errors.Denied, match=f"the volume is there, but {top} could not be removed"):
        oracle.engine.import_chain(top, move=True)
    assert top.exists() and len(oracle.engine.list_volumes()) == 1
