"""Shrink: room comes back, and no byte of any snapshot changes, whatever the images are like."""

import os
import random
import subprocess
from pathlib import Path

import pytest

from snapengine import conversion, driver, errors
from snapengine.engine import Engine
from tests import images, privileged, qemu
from tests.command_line import CommandLine
from tests.oracle import CLUSTER, MIB, Oracle

SIZE = 4 * MIB + 512


class Site:
    """
    A volume with three snapshots: base, all data; middle, half of it zeros; top on it, with something of its own.

    branch stands on middle too. options are those of the layers, as qemu-img knows them.
    """

    def __init__(self, oracle: Oracle, options: str = "") -> None:
        self.oracle, self.engine = oracle, oracle.engine
        self.volume = oracle.volume("db", SIZE)
        self.options = options
        self._remake(None)
        self.oracle.write(self.volume, 0, SIZE)
        self.base = self._create("base")
        self.oracle.zero(self.volume, 0, 2 * MIB)
        self.oracle.write(self.volume, 5 * CLUSTER + 100, 10)
        self.oracle.write(self.volume, 2 * MIB, MIB)
        self.oracle.zero(self.volume, SIZE - 512, 512)
        self.middle = self._create("middle")
        self.oracle.write(self.volume, CLUSTER, CLUSTER)
        self.top = self._create("top")
        self.oracle.revert(self.middle)
        self.oracle.write(self.volume, 2 * CLUSTER, CLUSTER)
        self.branch = self._create("branch")
        self.oracle.write(self.volume, 3 * CLUSTER)

    def _create(self, name: str) -> str:
        made = self.oracle.create(self.volume, name).uuid
        self._remake(made)
        return made

    def _remake(self, parent: str | None) -> None:
        """Give the active image, which is empty, other options than the engine does."""
        if self.options:
            path = self.engine.volume_path(self.volume)
            over = ["-u", "-F", "qcow2", "-b", f"{parent}.qcow2"] if parent else []
            line = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", self.options, *over, str(path), str(SIZE)]
            subprocess.run(line, check=True)

    def shrink(self, snapshot: str) -> int:
        """Shrink a snapshot; all that is known must hold after it."""
        freed = self.oracle.shrink(snapshot)
        self.oracle.check()
        assert self.engine.get_snapshot(snapshot).size == self.allocated(snapshot) or freed == 0
        return freed

    def allocated(self, snapshot: str) -> int:
        return self.engine.snapshot_path(snapshot).stat().st_blocks * 512


@pytest.fixture
def site(oracle: Oracle) -> Site:
    return Site(oracle)


OPTIONS = [
    "",
    "cluster_size=512",
    "cluster_size=2M",
    "extended_l2=on",
    "refcount_bits=1,lazy_refcounts=on",
    "compression_type=zstd",
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: options or "plain")
def test_zeros_over_a_parent_give_their_room_back_and_still_hide_what_lies_under_them(
    oracle: Oracle, options: str
) -> None:
    site = Site(oracle, options)
    before = images.Images().facts(site.engine.snapshot_path(site.middle)).info
    freed = site.shrink(site.middle)

    assert freed >= (MIB if "2M" in options else 2 * MIB - 2 * CLUSTER)
    after = images.Images().facts(site.engine.snapshot_path(site.middle)).info
    assert after.virtual_size == before.virtual_size
    header = subprocess.run(
        ["qemu-img", "info", "-f", "qcow2", "--output", "json", site.engine.snapshot_path(site.middle)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for option in filter(None, options.split(",")):
        name, _, value = option.partition("=")
        said = {"512": "512", "2M": str(2 * MIB), "on": "true"}.get(value, value)
        assert f'"{name.replace("_", "-")}": {said}' in header.replace('"zstd"', "zstd")


def test_zeros_in_an_origin_go(oracle: Oracle) -> None:
    volume = oracle.volume("db", SIZE)
    oracle.write(volume, 0, 2 * MIB)
    oracle.zero(volume, CLUSTER, 2 * MIB)
    origin = oracle.create(volume, "origin").uuid
    oracle.write(volume)
    assert oracle.shrink(origin) >= 2 * MIB
    oracle.check()
    assert oracle.engine.snapshot_path(origin).stat().st_blocks * 512 < 2 * MIB


def test_what_the_guest_has_discarded_gives_its_room_back(oracle: Oracle) -> None:
    volume = oracle.volume("db", SIZE)
    oracle.write(volume, 0, 3 * MIB)
    path = oracle.engine.volume_path(volume)
    kept = f"driver=qcow2,discard=unmap,pass-discard-request=off,file.driver=file,file.filename={path}"
    subprocess.run(["qemu-io", "--image-opts", "-c", f"discard -q 0 {2 * MIB}", kept], check=True)
    oracle.expected[volume] = bytes(2 * MIB) + oracle.expected[volume][2 * MIB :]
    origin = oracle.create(volume, "origin").uuid
    oracle.check()
    assert oracle.shrink(origin) >= 2 * MIB
    oracle.check()


@pytest.mark.parametrize("options", ["", "extended_l2=on"], ids=lambda options: options or "plain")
def test_random_layers_hold_what_they_held(oracle: Oracle, options: str) -> None:
    dice = random.Random(4)
    site = Site(oracle, options)
    for round in range(2):
        for _ in range(8):
            write = oracle.zero if dice.random() < 0.5 else oracle.write
            start = dice.randrange(0, SIZE - 512, 512)
            write(site.volume, start, dice.randrange(512, min(300_000, SIZE - start) + 1, 512))
        site._create(f"round {round}")
    for snapshot in oracle.engine.list_snapshots():
        oracle.shrink(snapshot.uuid)
    oracle.check()


def test_what_can_not_get_smaller_stays_as_it_is(site: Site) -> None:
    for snapshot in (site.top, site.middle):
        site.shrink(snapshot)
        path = site.engine.snapshot_path(snapshot)
        before = (path.stat().st_ino, path.read_bytes(), path.with_suffix(".json").read_bytes())
        assert site.shrink(snapshot) == 0
        assert (path.stat().st_ino, path.read_bytes(), path.with_suffix(".json").read_bytes()) == before


def test_compressed_clusters_stay_compressed(site: Site, tmp_path: Path) -> None:
    path = site.engine.snapshot_path(site.base)
    noise = random.Random(1).randbytes(SIZE // 2) + bytes(SIZE - SIZE // 2)
    (tmp_path / "raw").write_bytes(bytes(b // 16 for b in noise))
    subprocess.run(["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", tmp_path / "raw", path], check=True)
    for uuid in site.oracle.expected:
        site.oracle.expected[uuid] = images.read(path.with_name(f"{uuid}.qcow2"))
    before = site.allocated(site.base)
    site.shrink(site.base)
    assert site.allocated(site.base) <= before < 2 * MIB


def test_bitmaps_stay(oracle: Oracle) -> None:
    volume = oracle.volume("db", SIZE)
    path = oracle.engine.volume_path(volume)
    for name, how in (("on", "--enable"), ("off", "--disable")):
        subprocess.run(["qemu-img", "bitmap", "--add", how, "-f", "qcow2", "-g", "64k", path, name], check=True)
    oracle.write(volume, 0, CLUSTER)
    oracle.zero(volume, CLUSTER, MIB)
    origin = oracle.create(volume, "origin").uuid
    before = images.Images().facts(oracle.engine.snapshot_path(origin)).info.bitmaps
    assert oracle.shrink(origin) > 0
    assert images.Images().facts(oracle.engine.snapshot_path(origin)).info.bitmaps == before
    assert {bitmap.name for bitmap in before} == {"on", "off"}
    oracle.check()


@privileged.needs_root
def test_owner_and_mode_stay(site: Site) -> None:
    path = site.engine.snapshot_path(site.middle)
    os.chown(path, 1234, 1234)
    path.chmod(0o640)
    assert site.shrink(site.middle) > 0
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1234, 1234, 0o640)


def test_a_running_vm_keeps_its_volume_as_it_is(site: Site) -> None:
    before = site.engine.snapshot_path(site.middle).stat()
    with qemu.running(site.engine.volume_path(site.volume)), pytest.raises(errors.InUse, match="guest db"):
        site.engine.shrink_snapshot(site.middle)
    assert site.engine.snapshot_path(site.middle).stat().st_ino == before.st_ino
    site.oracle.check()


def test_a_vm_on_an_overlay_elsewhere_reads_on(site: Site, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    middle = site.engine.snapshot_path(site.middle)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", middle, overlay], check=True)
    with qemu.running(overlay) as vm:
        assert site.oracle.shrink(site.middle) > 0
        vm.poke(7, 0, CLUSTER)
        vm.command("human-monitor-command", **{"command-line": "qemu-io disk flush"})
    site.oracle.check()
    held = site.oracle.expected[site.middle]
    assert images.read(overlay) == bytes([7]) * CLUSTER + held[CLUSTER:]


def test_a_snapshot_that_something_writes_to_is_busy(site: Site) -> None:
    with qemu.running(site.engine.snapshot_path(site.top)), pytest.raises(errors.Busy, match="open for writing"):
        site.engine.shrink_snapshot(site.top)


def test_a_copy_that_differs_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = conversion.copy_layer

    def broken(source: list[Path], target: list[Path], *rest: object) -> None:
        copy(source, target, *rest)  # type: ignore[arg-type]
        node = driver.chain(target)
        subprocess.run(["qemu-io", "-c", f"write -q -P 9 {MIB} 512", node], check=True)

    monkeypatch.setattr(conversion, "copy_layer", broken)
    with pytest.raises(errors.CommandFailed, match="differs"):
        site.engine.shrink_snapshot(site.middle)
    site.oracle.check()


def test_a_copy_that_lost_its_zeros_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unallocated where a cluster of zeros was: alone they look the same, over the parent they do not."""
    monkeypatch.setattr(
        conversion, "copy_layer", lambda source, target, *rest: subprocess.run(
            ["qemu-img", "convert", "-n", "--target-is-zero", "-O", "qcow2", driver.chain(source[:1]),
             driver.chain(target[:1])], check=True
        ),
    )  # fmt: skip
    with pytest.raises(errors.CommandFailed, match="differs"):
        site.engine.shrink_snapshot(site.middle)
    site.oracle.check()


def test_a_moved_store_and_a_change_of_size_do_not_matter(tmp_path: Path) -> None:
    site = Site(Oracle(Engine.init(tmp_path / "old")))
    (tmp_path / "old").rename(tmp_path / "new")
    site.oracle.engine = site.engine = Engine.open(tmp_path / "new")
    assert site.shrink(site.middle) > 0
    site.oracle.revert(site.base)
    site.oracle.check()


@privileged.needs_root
def test_a_full_disk_is_seen_beforehand_and_in_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with privileged.small_disk(tmp_path / "small", 16 * 1024) as disk:
        site = Site(Oracle(Engine.init(disk / "storage")))
        with privileged.filled(disk, 256 * 1024):
            with pytest.raises(errors.NoSpace, match="may be needed"):
                site.engine.shrink_snapshot(site.middle)
            monkeypatch.setattr("snapengine.durable.require_room", lambda directory, size: None)
            with pytest.raises(errors.NoSpace, match="no room"):
                site.engine.shrink_snapshot(site.middle)
        site.oracle.check()
        assert site.shrink(site.middle) > 0


@privileged.needs_root
def test_on_a_file_system_with_reflinks_it_works_as_well(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path) as disk:
        site = Site(Oracle(Engine.init(disk / "storage")))
        assert site.shrink(site.middle) > MIB


def test_an_unknown_snapshot_is_not_found(site: Site) -> None:
    for uuid in ("9" * 32, site.volume, "../x"):
        with pytest.raises(errors.NotFound):
            site.engine.shrink_snapshot(uuid)


def test_the_command_line_tells_what_came_back(site: Site) -> None:
    line = CommandLine(site.engine.root)
    done = line.json("snapshot", "shrink", "db/middle")
    assert set(done) == {"oldSize", "size", "deltaSize"} and done["deltaSize"] == done["oldSize"] - done["size"] > 0
    assert line.json("snapshot", "shrink", "db/middle")["deltaSize"] == 0
    assert "size" in line.text("snapshot", "shrink", "db/middle").lower()
    line.error(3, "snapshot", "shrink", "nothing")
    site.oracle.check()
