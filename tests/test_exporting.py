"""Export: whole, consistent and standing on nothing, in each format, and what is left behind when it fails."""

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO, cast

import pytest

from snapengine import durable, errors, exporting, lock, outlet
from snapengine.conversion import Format
from snapengine.engine import Engine
from tests import images, privileged, qemu
from tests.command_line import START, CommandLine, environment
from tests.oracle import CLUSTER, MIB, Oracle

SIZE = 5 * MIB + 512


class Site:
    """A volume with two snapshots, and what the second one holds; FILE is where it goes."""

    def __init__(self, oracle: Oracle, directory: Path) -> None:
        self.oracle, self.engine, self.directory = oracle, oracle.engine, directory
        self.volume = oracle.volume("db", SIZE)
        oracle.write(self.volume, 0, 2 * MIB)
        oracle.create(self.volume, "first")
        oracle.write(self.volume, CLUSTER, CLUSTER)
        oracle.write(self.volume, SIZE - 1024, 1024)
        self.snapshot = oracle.create(self.volume, "second").uuid
        oracle.write(self.volume, 3 * MIB)
        self.content = oracle.expected[self.snapshot]
        self.file = directory / "db.img"

    def export(
        self, file: Path | None = None, format: Format | None = None, *, compress: bool = False,
        force: bool = False,
    ) -> exporting.Exported:  # fmt: skip
        return self.engine.export_snapshot(self.snapshot, file or self.file, format, compress=compress, force=force)


@pytest.fixture
def site(oracle: Oracle, tmp_path: Path) -> Site:
    directory = tmp_path / "out"
    directory.mkdir()
    return Site(oracle, directory)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_a_qcow2_export_holds_what_the_snapshot_froze_and_stands_on_nothing(site: Site, compress: bool) -> None:
    made = site.export(compress=compress)

    assert (made.path, made.size) == (str(site.file), site.file.stat().st_size)
    facts = images.Images().facts(site.file)
    assert (facts.info.format, facts.info.backing_filename, facts.problem) == ("qcow2", None, "")
    assert images.read(site.file) == site.content
    assert os.listdir(site.directory) == [site.file.name]
    site.oracle.check()


def test_a_compressed_export_is_smaller(site: Site) -> None:
    assert site.export(compress=True).size < site.export(force=True).size / 4


def test_a_raw_export_is_the_disk_itself_and_sparse(site: Site) -> None:
    made = site.export(format="raw")

    assert (site.file.read_bytes(), made.size) == (site.content, SIZE)
    assert site.file.stat().st_blocks * 512 < 3 * MIB


def test_an_exported_image_imports_again(site: Site) -> None:
    site.export(compress=True)
    again = site.engine.import_volume(site.file, "again")
    site.oracle.expected[again.uuid] = site.content
    site.oracle.check()


@pytest.mark.parametrize("window", [exporting.WINDOW, MIB], ids=["in one piece", "in many"])
def test_a_stream_holds_every_byte(site: Site, monkeypatch: pytest.MonkeyPatch, window: int) -> None:
    monkeypatch.setattr(exporting, "WINDOW", window)
    out, seen = io.BytesIO(), list[float]()
    made = site.engine.stream_snapshot(site.snapshot, out, progress=seen.append)

    assert (out.getvalue(), made.size) == (site.content, SIZE)
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_progress_rises_to_the_whole(site: Site) -> None:
    seen: list[float] = []
    site.engine.export_snapshot(site.snapshot, site.file, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0


def test_a_snapshot_is_exported_while_a_vm_uses_its_volume(site: Site) -> None:
    with qemu.running(site.engine.volume_path(site.volume)):
        site.export()
    assert images.read(site.file) == site.content


def test_force_replaces_a_file_and_keeps_its_mode(site: Site) -> None:
    site.file.write_text("old")
    site.file.chmod(0o640)
    with pytest.raises(errors.Conflict, match="--force"):
        site.export()
    assert site.file.read_text() == "old"

    site.export(force=True)
    assert images.read(site.file) == site.content
    assert site.file.stat().st_mode & 0o777 == 0o640


def test_a_link_to_a_file_stays_a_link(site: Site) -> None:
    link = site.directory / "link"
    link.symlink_to(site.file)
    site.export(link)
    assert link.is_symlink() and images.read(site.file) == site.content


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))
    return path


BAD: dict[str, tuple[Callable[[Site], Path], type[errors.Error], str]] = {
    "a directory": (lambda s: s.directory, errors.Invalid, "is a directory"),
    "a FIFO": (lambda s: _fifo(s.directory / "f"), errors.Invalid, "is a FIFO"),
    "a socket": (lambda s: _socket(s.directory / "s"), errors.Invalid, "is a socket"),
    "a character device": (lambda s: Path("/dev/null"), errors.Invalid, "is a device"),
    "in the store": (lambda s: s.engine.root / "db.qcow2", errors.Invalid, "primary storage"),
    "the volume itself": (lambda s: s.engine.volume_path(s.volume), errors.Invalid, "primary storage"),
    "no such directory": (lambda s: s.directory / "no" / "db", errors.NotFound, "make it first"),
    "a name too long": (lambda s: s.directory / ("n" * 300), errors.Invalid, "too long"),
    "below a file": (lambda s: Path(__file__) / "db", errors.NotFound, "make it first"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_can_not_be_written_to_is_refused_even_by_force(site: Site, name: str) -> None:
    make, kind, why = BAD[name]
    path = make(site)
    before = sorted(os.listdir(site.directory))
    with pytest.raises(kind, match=why):
        site.export(path, force=True)
    assert sorted(os.listdir(site.directory)) == before
    site.oracle.check()


def test_a_link_into_the_store_is_refused(site: Site) -> None:
    link = site.directory / "link"
    link.symlink_to(site.engine.volume_path(site.volume))
    with pytest.raises(errors.Invalid, match="primary storage"):
        site.export(link, force=True)
    site.oracle.check()


def test_raw_is_not_compressed(site: Site) -> None:
    with pytest.raises(errors.Invalid, match="can't be compressed"):
        site.export(format="raw", compress=True)


def test_an_unknown_snapshot_and_a_volume_are_not_found(site: Site) -> None:
    for uuid in ("9" * 32, site.volume):
        with pytest.raises(errors.NotFound):
            site.engine.export_snapshot(uuid, site.file)
    assert os.listdir(site.directory) == []


def test_a_file_that_a_vm_uses_is_not_replaced(site: Site) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", site.file, "1M"], check=True)
    with qemu.running(site.file), pytest.raises(errors.Busy, match="guest db"):
        site.export(force=True)
    assert images.Images().facts(site.file).info.virtual_size == MIB
    assert os.listdir(site.directory) == [site.file.name]


def test_a_damaged_layer_is_refused_and_nothing_is_left(site: Site) -> None:
    with open(site.engine.snapshot_path(site.snapshot), "r+b") as f:
        f.write(b"gone")
    with pytest.raises(errors.Refused, match="not a qcow2 image"):
        site.export()
    assert os.listdir(site.directory) == []


@privileged.needs_root
@pytest.mark.parametrize("format", ["qcow2", "raw"])
def test_a_full_disk_is_seen_beforehand_and_in_the_middle(
    site: Site, tmp_path: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    with privileged.small_disk(tmp_path / "small", 1024) as disk:
        with pytest.raises(errors.NoSpace, match="may be needed"):
            site.export(disk / "db", format)
        monkeypatch.setattr(durable, "require_room", lambda directory, size: None)
        with pytest.raises(errors.NoSpace, match="no room"):
            site.export(disk / "db", format)
        assert os.listdir(disk) == []


@privileged.needs_root
def test_no_permission_is_one_clear_line(site: Site) -> None:
    with privileged.open_directory() as directory:
        shut = directory / "shut"
        shut.mkdir(mode=0o755)
        beside = Site(Oracle(Engine.init(directory / "storage")), directory)
        for path in beside.engine.root.rglob("*"):
            os.chown(path, privileged.NOBODY, privileged.NOBODY)
        with pytest.raises(errors.Denied, match="permission denied"):
            privileged.as_nobody(lambda: beside.export(shut / "db"))
        assert os.listdir(shut) == []


@contextmanager
def loop_device(file: Path, size: int) -> Iterator[Path]:
    file.write_bytes(b"\xaa" * size)
    said = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True)
    if said.returncode:
        pytest.skip(f"this machine has no loop devices: {said.stderr}")
    device = Path(said.stdout.strip())
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@privileged.needs_root
def test_a_block_device_is_written_in_place_and_its_rest_stays(site: Site, tmp_path: Path) -> None:
    with loop_device(tmp_path / "disk", SIZE + MIB) as device:
        with pytest.raises(errors.Conflict, match="--force"):
            site.export(device)
        with pytest.raises(errors.Invalid, match="raw only"):
            site.export(device, "qcow2", force=True)
        assert device.read_bytes() == b"\xaa" * (SIZE + MIB)

        assert site.export(device, force=True).size == SIZE
        assert device.read_bytes() == site.content + b"\xaa" * MIB
    site.oracle.check()


@privileged.needs_root
def test_a_block_device_that_is_too_small_or_in_use_is_left_alone(site: Site, tmp_path: Path) -> None:
    with loop_device(tmp_path / "disk", 2 * MIB) as device:
        with pytest.raises(errors.NoSpace, match="larger device"):
            site.export(device, force=True)
        with open(device, "rb"), subprocess.Popen(["sleep", "60"], stdin=os.open(device, os.O_RDONLY)) as other:
            with pytest.raises(errors.Busy, match="is open in sleep"):
                site.export(device, force=True)
            other.kill()
        subprocess.run(["mkfs.ext4", "-q", device], check=True)
        (tmp_path / "mnt").mkdir()
        subprocess.run(["mount", device, tmp_path / "mnt"], check=True)
        try:
            with pytest.raises(errors.Busy, match="mounted"):
                site.export(device, force=True)
        finally:
            subprocess.run(["umount", "--lazy", tmp_path / "mnt"], check=True)


@privileged.needs_root
@pytest.mark.parametrize("format", ["qcow2", "raw"])
def test_on_one_file_system_with_reflinks_an_export_shares_extents(tmp_path: Path, format: Format) -> None:
    with privileged.xfs(tmp_path) as disk:
        site = Site(Oracle(Engine.init(disk / "storage")), disk)
        assert site.engine.storage.reflinks
        site.export(format=format)
        held = images.read(site.file) if format == "qcow2" else site.file.read_bytes()
        assert held == site.content
        shown = subprocess.run(["filefrag", "-v", site.file], capture_output=True, text=True, check=True).stdout
        assert "shared" in shown
        site.oracle.check()


def _slow(site: Site) -> "subprocess.Popen[bytes]":
    """Start an export that takes long: each write of its tool is held up."""
    line = [sys.executable, "-c", START, "--root", str(site.engine.root), "snapshot", "export", site.snapshot]
    held = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=pwrite64", "-e", "inject=pwrite64:delay_enter=300ms"]
    started = subprocess.Popen([*held, *line, str(site.file)], env=environment(), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not os.listdir(site.directory):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return started


def _engine_of(tracer: "subprocess.Popen[bytes]") -> int:
    return int(Path(f"/proc/{tracer.pid}/task/{tracer.pid}/children").read_text().split()[0])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_export_that_is_stopped_leaves_nothing(site: Site, number: signal.Signals, code: int) -> None:
    with _slow(site) as running:
        os.kill(_engine_of(running), number)
        assert running.wait(60) == code
        assert running.stderr is not None
        said = [line for line in running.stderr if not line.startswith(b"strace:")]
        assert len(said) == 1
    assert os.listdir(site.directory) == []
    site.oracle.check()


@contextmanager
def _as_its_file_is_there(then: Callable[[], object]) -> Iterator[None]:
    """Call then in the moment in which an export in the block has made its file, once."""

    def watch(frame: FrameType, event: str, done: object) -> None:
        if (event, done, frame.f_code.co_name) == ("c_return", os.open, "made"):
            sys.setprofile(None)
            then()

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_an_export_that_is_stopped_as_its_file_is_there_leaves_nothing(site: Site) -> None:
    with _as_its_file_is_there(lambda: signal.raise_signal(signal.SIGINT)), pytest.raises(KeyboardInterrupt):
        site.export()
    assert os.listdir(site.directory) == []


def test_an_export_whose_file_another_one_takes_for_left_behind_makes_it_again(site: Site) -> None:
    with _as_its_file_is_there(lambda: site.export(site.directory / "other")):
        site.export()
    assert sorted(os.listdir(site.directory)) == ["db.img", "other"]
    assert images.read(site.file) == images.read(site.directory / "other") == site.content


@privileged.needs_root
def test_what_an_export_may_not_remove_it_keeps_no_lock_of() -> None:
    """In a directory such as /tmp each removes only what is theirs, and what is just being made waits for its lock."""

    def keeps_none() -> bool:
        with outlet.beside(directory / "db.img"), open(other, "rb") as f:
            return lock.try_flock(f.fileno())

    with privileged.open_directory() as directory:
        directory.chmod(0o1777)
        other = directory / ".snapengine-export.0123456789ab4def8123456789abcdef.new"
        other.touch()
        assert privileged.as_nobody(keeps_none)
        assert other.exists()


def test_what_a_killed_export_leaves_the_next_one_removes(site: Site) -> None:
    with _slow(site) as running:
        os.kill(_engine_of(running), signal.SIGKILL)
        running.wait(60)
    (left,) = os.listdir(site.directory)
    assert left.startswith(".") and left.endswith(".new")
    site.export()
    assert os.listdir(site.directory) == [site.file.name]


def test_an_export_leaves_one_alone_that_is_still_at_work(site: Site) -> None:
    with _slow(site) as running:
        site.export(site.directory / "other")
        assert running.wait(180) == 0
    assert sorted(os.listdir(site.directory)) == ["db.img", "other"]
    assert images.read(site.file) == images.read(site.directory / "other") == site.content


def test_a_huge_file_of_holes_is_written_at_once_and_not_read_for_a_checksum(site: Site) -> None:
    line = CommandLine(site.engine.root)
    volume = site.engine.create_volume("huge", 2**41).uuid
    site.engine.create_snapshot(volume, "nothing")

    done = line("--output", "json", "snapshot", "export", "huge/nothing", str(site.file), "--format", "raw")

    assert json.loads(done.stdout) == {"path": str(site.file), "size": 2**41}
    assert done.stderr == "no checksum: to read all 2 TiB takes long; see sha256sum\n"
    assert "no checksum" not in line.text("snapshot", "export", "db/second", str(site.directory / "small"))


def test_the_command_line_exports_to_files_and_to_its_output(site: Site) -> None:
    line = CommandLine(site.engine.root)
    assert line.json("snapshot", "export", "db/second", str(site.file)) == {
        "path": str(site.file), "size": site.file.stat().st_size,
        "checksum": "sha256:" + hashlib.sha256(site.file.read_bytes()).hexdigest(),
    }  # fmt: skip
    assert "--force" in line.error(4, "snapshot", "export", "db/second", str(site.file))
    assert str(site.file) in line.text("snapshot", "export", "db/second", str(site.file), "--force", "--compress")
    for wrong in (["--format", "qcow2"], ["--compress"]):
        assert "raw only" in line.error(2, "snapshot", "export", "db/second", "-", *wrong)
    done = subprocess.run(
        [sys.executable, "-c", START, "--root", str(site.engine.root), "snapshot", "export", "db/second", "-"],
        capture_output=True, env=environment(), timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, site.content, b"")


@pytest.mark.parametrize("mode", ["wb", "ab"], ids=["a new file", "behind what a file holds"])
def test_a_stream_of_a_huge_disk_leaves_holes_in_a_file(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(exporting, "WINDOW", MIB)
    size, before = (2**43, 0) if mode == "wb" else (4 * MIB, 6)
    volume = oracle.engine.create_volume("huge", size).uuid
    write = f"write -P 7 {size - 3 * MIB} 64k"
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, oracle.engine.volume_path(volume)], check=True)
    snapshot = oracle.engine.create_snapshot(volume, "first").uuid
    file = tmp_path / "out"
    file.write_bytes(b"before"[:before])
    with file.open(mode) as out:
        oracle.engine.stream_snapshot(snapshot, cast(BinaryIO, out))

    assert (file.stat().st_size, file.stat().st_blocks * 512 < 8 * MIB) == (before + size, True)
    with file.open("rb") as f:
        assert f.read(before) == b"before"[:before]
        f.seek(before + size - 3 * MIB - 4096)
        assert f.read(4096 + 65536 + 4096) == bytes(4096) + b"\7" * 65536 + bytes(4096)


def test_a_pipe_gets_all_of_a_huge_disk_and_that_is_said_before(oracle: Oracle) -> None:
    volume = oracle.engine.create_volume("huge", 2**40).uuid
    snapshot = oracle.engine.create_snapshot(volume, "first").uuid
    words = [sys.executable, "-c", START, "--root", str(oracle.engine.root), "snapshot", "export", snapshot, "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        assert running.stdout is not None and running.stderr is not None
        assert running.stdout.read(2**20) == bytes(2**20)
        running.stdout.close()
        assert running.wait(60) == 141
        assert b"a file would get holes" in running.stderr.read()


def test_a_reader_that_goes_away_ends_the_stream(site: Site) -> None:
    words = [sys.executable, "-c", START, "--root", str(site.engine.root), "snapshot", "export", "db/second", "-"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.read(1)
        running.stdout.close()
        assert (running.wait(60), running.stderr.read()) == (141, b"")
    site.oracle.check()


def test_a_raw_export_needs_room_for_what_the_chain_holds_only(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(durable, "require_room", lambda directory, size: asked.append(size))

    site.export(format="raw")

    assert os.stat(site.file).st_blocks * 512 <= asked[0] < SIZE
