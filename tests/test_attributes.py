"""What the image that takes over has in common with the one it replaces: owner, mode, ACL, label, dirty bitmaps."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests import qemu
from tests.images import Bitmap, Images
from tests.oracle import CLUSTER, Oracle
from tests.privileged import needs_root

Replace = Callable[[Oracle, str], object]

replacing = pytest.mark.parametrize(
    "replace",
    [
        lambda oracle, volume: oracle.create(volume, "new"),
        lambda oracle, volume: oracle.revert(oracle.engine.list_snapshots(volume)[0].uuid),
    ],
    ids=["create", "revert"],
)


class _Dirty(msgspec.Struct):
    name: str
    count: int
    recording: bool


class _Node(msgspec.Struct, rename="kebab"):
    drv: str
    file: str
    dirty_bitmaps: list[_Dirty] = []


@pytest.fixture
def volume(oracle: Oracle) -> str:
    """Return a volume with one snapshot, and something of its own."""
    volume = oracle.volume()
    oracle.create(volume, "first")
    oracle.write(volume)
    return volume


@needs_root
@replacing
def test_owner_mode_acl_and_label_stay(oracle: Oracle, volume: str, replace: Replace) -> None:
    path = oracle.engine.volume_path(volume)
    os.chown(path, 64055, 994)
    os.chmod(path, 0o640)
    subprocess.run(["setfacl", "-m", "user:4711:rw", path], check=True)
    os.setxattr(path, "security.selinux", b"system_u:object_r:svirt_image_t:s0:c1,c2\0")
    before, inode = _attributes(path), path.stat().st_ino

    replace(oracle, volume)

    assert path.stat().st_ino != inode
    assert _attributes(path) == before
    oracle.check()


def _attributes(path: Path) -> tuple[int, int, int, dict[str, bytes]]:
    status = path.stat()
    names = [name for name in os.listxattr(path) if not name.startswith("user.snapengine.")]  # our notes
    return status.st_uid, status.st_gid, status.st_mode, {name: os.getxattr(path, name) for name in names}


@replacing
def test_the_mode_of_the_image_stays_for_who_is_not_root(oracle: Oracle, volume: str, replace: Replace) -> None:
    path = oracle.engine.volume_path(volume)
    path.chmod(0o600)

    replace(oracle, volume)

    assert path.stat().st_mode & 0o7777 == 0o600


def test_active_bitmaps_go_on_in_the_overlay_and_others_do_not(oracle: Oracle, volume: str) -> None:
    path = oracle.engine.volume_path(volume)
    _bitmap(path, "--add", "-g", "64k", "broken")
    with qemu.running(path) as machine:
        machine.poke(1, 0, CLUSTER)  # killed at the end of the block: what it recorded is lost
    oracle.expected[volume] = b"\1" * CLUSTER + oracle.expected[volume][CLUSTER:]
    _bitmap(path, "--add", "-g", "32k", "active")
    _bitmap(path, "--add", "--disable", "-g", "64k", "idle")
    flags = {bitmap.name: bitmap.flags for bitmap in _bitmaps(path)}
    assert flags == {"active": ["auto"], "idle": [], "broken": ["in-use", "auto"]}

    oracle.create(volume, "new")

    assert _bitmaps(path) == [Bitmap("active", 32 * 2**10, ["auto"])]
    oracle.check()
    with qemu.running(path) as machine:
        assert _dirty(machine, path) == [_Dirty("active", 0, True)]
        machine.poke(2, CLUSTER, CLUSTER)
        assert _dirty(machine, path) == [_Dirty("active", CLUSTER, True)]


def test_a_revert_ends_the_bitmaps_and_says_so_in_the_volumes_record(oracle: Oracle, volume: str) -> None:
    path = oracle.engine.volume_path(volume)
    _bitmap(path, "--add", "backup")

    oracle.revert(oracle.engine.list_snapshots(volume)[0].uuid)

    assert _bitmaps(path) == []
    assert b'"brokenBitmaps":["backup"]' in path.with_suffix(".json").read_bytes()
    oracle.check()


def _bitmap(path: Path, *args: str) -> None:
    subprocess.run(["qemu-img", "bitmap", "-f", "qcow2", *args[:-1], str(path), args[-1]], check=True)


def _bitmaps(path: Path) -> list[Bitmap]:
    return Images().facts(path).info.bitmaps


def _dirty(machine: qemu.Machine, path: Path) -> list[_Dirty]:
    """Return the dirty bitmaps that a machine has on the image at path."""
    nodes = msgspec.convert(machine.command("query-named-block-nodes", flat=True), list[_Node])
    return [bitmap for node in nodes if (node.drv, node.file) == ("qcow2", str(path)) for bitmap in node.dirty_bitmaps]
