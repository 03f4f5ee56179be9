"""What is said of a store that does not lie on a file system of this host's own."""

import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from snapengine import Engine, mounts
from tests.crash import strace
from tests.privileged import needs_root


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """A file that a program of this host serves through FUSE."""
    image, place = tmp_path / "image", tmp_path / "place"
    image.write_bytes(bytes(4096))
    place.touch()
    command = ["qemu-storage-daemon", "--blockdev", f"file,node-name=image,filename={image}"]
    command += ["--export", f"fuse,id=export,node-name=image,mountpoint={place}"]
    with subprocess.Popen(command) as daemon:
        for _ in range(3000):
            if place.stat().st_size == 4096 or daemon.poll() is not None:
                break
            time.sleep(0.02)
        yield place
        daemon.terminate()


@needs_root
def test_a_warning_in_one_line_says_that_something_else_serves_the_files(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served.open("rb") as f:
        assert not mounts.is_local(f.fileno())
    mounts.warn_of(served)

    (told,) = caplog.messages
    assert told.startswith(f"{served} lies on fuse: a network, cluster or FUSE file system may") and "\n" not in told


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ("ext4 xfs btrfs tmpfs zfs bcachefs ntfs3 jfs nilfs2 reiserfs f2fs udf overlay", None),
        ("vfat exfat msdos", "no hard links"),
        ("nfs nfs4 cifs smb3 ceph 9p virtiofs fuse fuseblk fuse.sshfs gfs2 ocfs2", "may keep locks from other hosts"),
    ],
    ids=["local", "without links", "served"],
)
def test_of_each_kind_of_file_system_is_told_what_is_true_of_it(kinds: str, told: str | None) -> None:
    for kind in kinds.split():
        assert (mounts.doubt(kind) is None) if told is None else (told in (mounts.doubt(kind) or "")), kind


def test_no_store_is_made_where_there_are_no_hard_links(tmp_path: Path) -> None:
    """Their absence is made by strace, as vfat tells it: no kernel has to know that file system."""
    made, root = tmp_path / "made", tmp_path / "storage"
    links = [c for c in strace.listed(partial(Engine.init, made), made).calls if c.point.name in ("link", "linkat")]

    run = strace.failed(partial(Engine.init, root), root, links[0], "EPERM")

    assert run.said.startswith("Invalid: ") and "without hard links" in run.said
    assert not (root / "primary-storage.json").exists()
    assert Engine.init(root).verify() == ()


def test_a_store_on_a_local_file_system_is_made_and_shown_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Engine.init(tmp_path / "storage").status()

    assert caplog.messages == []


def test_init_and_status_tell_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mounts, "_LOCAL", set[str]())
    engine = Engine.init(tmp_path / "storage")
    engine.status()

    assert len(caplog.messages) == 2 and set(caplog.messages) == {caplog.messages[0]}
