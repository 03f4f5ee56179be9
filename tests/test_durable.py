"""Durable changes of files: old or new and nothing between, nothing left over, and the attributes that a VM needs."""

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapengine import attributes, durable, errors
from tests import privileged
from tests.crash import strace


@contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def inode(path: Path) -> int:
    return path.stat().st_ino


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_replacing_keeps_the_old_content_when_the_block_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "volume.json"
    path.write_text("old")

    with pytest.raises(error):
        with durable.replacing(path) as f:
            f.write(b"half")
            f.flush()
            raise error

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["volume.json"]


def test_nothing_is_there_when_the_first_writing_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), durable.replacing(tmp_path / "volume.json"):
        raise RuntimeError
    assert os.listdir(tmp_path) == []


def test_until_the_end_of_the_block_the_name_holds_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "volume.json"
    durable.write(path, b"old")
    with durable.replacing(path) as f:
        f.write(b"new")
        f.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_who_has_the_old_file_open_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "volume.json"
    path.write_text("old")
    with open(path) as f:
        durable.write(path, b"new")
        assert f.read() == "old"


def test_a_failing_replacement_of_a_directory_leaves_nothing_over(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(IsADirectoryError):
        durable.write(tmp_path / "x", b"new")
    assert os.listdir(tmp_path) == ["x"]


def test_the_mode_is_the_one_asked_for(tmp_path: Path) -> None:
    durable.write(tmp_path / "a", b"x")
    durable.write(tmp_path / "b", b"x", 0o600)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o644, 0o600]


def test_two_writers_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    path = tmp_path / "volume.json"
    with durable.replacing(path) as one, durable.replacing(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["volume.json"]


def test_content_is_synced_before_it_gets_its_name_and_the_name_after(tmp_path: Path) -> None:
    run = strace.listed(lambda: durable.write(tmp_path / "volume.json", b"new"), tmp_path)
    assert run.said == "ok"
    assert [call.point.name for call in run.calls] == ["openat", "write", "fsync", "rename", "fsync"]


def test_a_new_directorys_name_is_synced_at_every_level(tmp_path: Path) -> None:
    run = strace.listed(lambda: durable.make_directory(tmp_path / "a" / "b"), tmp_path)
    assert [call.point.name for call in run.calls if call.point.name != "chmod"] == ["mkdir", "fsync", "mkdir", "fsync"]


def test_prepared_content_is_synced_and_its_name_is_not_yet(tmp_path: Path) -> None:
    run = strace.listed(lambda: durable.prepare(tmp_path / "new", b"x"), tmp_path)
    assert [call.point.name for call in run.calls] == ["openat", "write", "fsync"]


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o022, 0o077])
def test_nobody_else_may_write_to_a_new_directory_or_read_a_reserved_file(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        durable.make_directory(tmp_path / "directory")
        durable.reserve(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "directory").stat().st_mode & 0o022 == 0
    assert (tmp_path / "file").stat().st_mode & 0o077 == 0 and (tmp_path / "file").stat().st_size == 0


def test_reserving_never_touches_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileExistsError):
        durable.reserve(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "old"


def test_what_cut_off_replacements_left_is_removed_and_told_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = ["volume.json", ".lock", "x.new", ".new.json"]
    for name in (*kept, ".volume.json.0123.new"):
        (tmp_path / name).touch()
    (tmp_path / ".vol-0.0123.new").mkdir()
    durable.remove_left_over(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, ".vol-0.0123.new"])
    (told,) = caplog.messages
    assert told.startswith(f"removed {tmp_path}/.volume.json.0123.new, which")


@pytest.mark.parametrize("there", ["file", "link", "dangling link"])
def test_preparing_never_touches_what_is_there(tmp_path: Path, there: str) -> None:
    path, other = tmp_path / "new", tmp_path / "other"
    if there != "dangling link":
        other.write_text("old")
    path.write_text("old") if there == "file" else path.symlink_to(other)

    with pytest.raises(FileExistsError):
        durable.prepare(path, b"new")
    assert not other.exists() or other.read_text() == "old"


def test_prepared_data_is_there_whole(tmp_path: Path) -> None:
    durable.prepare(tmp_path / "new", b"x" * 100_000)
    assert (tmp_path / "new").read_bytes() == b"x" * 100_000


def test_a_link_is_a_second_name_of_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    durable.link(tmp_path / "a", tmp_path / "b")
    assert inode(tmp_path / "a") == inode(tmp_path / "b")


def test_a_link_to_a_link_does_not_follow_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    durable.link(tmp_path / "link", tmp_path / "b")
    assert (tmp_path / "b").is_symlink() and (tmp_path / "a").stat().st_nlink == 1


def test_a_link_replaces_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("y")
    with pytest.raises(FileExistsError):
        durable.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "y"


@privileged.needs_root
@pytest.mark.root
def test_what_may_not_be_linked_is_denied_and_says_why() -> None:
    with privileged.open_directory() as place:
        (place / "a").write_text("x")
        with pytest.raises(errors.Denied, match="can't link .*/a to b: Operation not permitted; .*owner.*hard links"):
            privileged.as_nobody(lambda: durable.link(place / "a", place / "b"))


def test_unlinking_what_is_gone_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for _ in range(2):
        durable.unlink(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_a_rename_replaces(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    durable.rename(tmp_path / "a", tmp_path / "b")
    assert os.listdir(tmp_path) == ["b"] and (tmp_path / "b").read_text() == "new"


def test_a_directory_is_made_with_its_parents_and_may_exist(tmp_path: Path) -> None:
    for _ in range(2):
        durable.make_directory(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_tree_goes_whole_and_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("x")
    for _ in range(2):
        durable.remove_tree(tmp_path / "a")
    assert os.listdir(tmp_path) == []


def test_removing_a_tree_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "kept")
    durable.remove_tree(tmp_path / "a")
    assert (tmp_path / "kept" / "file").exists()


def test_room_that_is_not_there_is_told_with_both_figures(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)
    durable.require_room(tmp_path, found.f_bavail * found.f_frsize // 2)
    with pytest.raises(errors.NoSpace, match=r"no room in .*: 2048 PiB may be needed, .*iB are free; make room first"):
        durable.require_room(tmp_path, 2**61)


@pytest.mark.parametrize("sync", [durable.sync_file, durable.sync_directory])
def test_what_is_gone_can_not_be_synced(tmp_path: Path, sync: Callable[[Path], None]) -> None:
    with pytest.raises(FileNotFoundError):
        sync(tmp_path / "gone")


@privileged.needs_root
@pytest.mark.root
@pytest.mark.parametrize("leave", [0, 4096])
def test_on_a_full_disk_the_old_content_stays_and_nothing_is_left_over(tmp_path: Path, leave: int) -> None:
    with privileged.small_disk(tmp_path / "disk", 64) as disk:
        path = disk / "volume.json"
        durable.write(path, b"old")
        with privileged.filled(disk, leave):
            with pytest.raises(OSError) as caught:
                durable.write(path, b"x" * 40_000)
            assert caught.value.errno == errno.ENOSPC
            assert sorted(os.listdir(disk)) == ["ballast", "volume.json"]
        assert path.read_bytes() == b"old"
        durable.write(path, b"x" * 40_000)
        assert path.stat().st_size == 40_000


def acl(path: Path) -> str:
    return subprocess.run(["getfacl", "-cpn", path], check=True, capture_output=True, text=True).stdout


@privileged.needs_root
@pytest.mark.root
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_new_image_gets_owner_and_mode_of_the_one_it_replaces(tmp_path: Path, mode: int) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("")
    os.chown(old, 64055, 108)
    old.chmod(mode)
    new.write_text("")
    with opened(old) as fd:
        attributes.copy(fd, new)

    stat = new.stat()
    assert (stat.st_uid, stat.st_gid, stat.st_mode & 0o7777) == (64055, 108, mode)


@privileged.needs_root
@pytest.mark.root
def test_a_new_image_gets_the_acl_and_the_label_of_the_one_it_replaces(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("")
    old.chmod(0o600)
    subprocess.run(["setfacl", "-m", "u:64055:rw,g:108:r", old], check=True)
    os.setxattr(old, "security.selinux", b"system_u:object_r:svirt_image_t:s0\0")
    new.write_text("")
    with opened(old) as fd:
        attributes.copy(fd, new)

    assert acl(new) == acl(old) and "user:64055:rw-" in acl(new)
    assert os.getxattr(new, "security.selinux") == b"system_u:object_r:svirt_image_t:s0\0"


def test_a_new_image_loses_the_acl_that_its_directory_gave_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("")
    old.chmod(0o600)
    subprocess.run(["setfacl", "-d", "-m", "u:64055:rw", tmp_path], check=True)
    new.write_text("")
    assert "user:64055:rw-" in acl(new)
    with opened(old) as fd:
        attributes.copy(fd, new)

    assert acl(new) == acl(old)


def test_other_extended_attributes_are_not_copied(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("")
    new.write_text("")
    os.setxattr(old, "user.comment", b"mine")
    with opened(old) as fd:
        attributes.copy(fd, new)
    assert os.listxattr(new) == []


@privileged.needs_root
@pytest.mark.root
def test_an_owner_who_can_not_be_given_is_denied_and_says_who_can() -> None:
    def copy(old: Path, new: Path) -> None:
        with opened(old) as fd:
            attributes.copy(fd, new)

    with privileged.open_directory() as place:
        (place / "old").write_text("")
        (place / "new").write_text("")
        os.chown(place / "new", privileged.NOBODY, privileged.NOBODY)
        with pytest.raises(errors.Denied, match="can't give the new image .*new the owner .*; run as root or as"):
            privileged.as_nobody(lambda: copy(place / "old", place / "new"))


@pytest.mark.parametrize("tail", [0, 1, 100, 65536, 65537], ids=str)
@pytest.mark.parametrize("shape", ["", "x", "0", "x0x", "0xx00x0", "x" * 16 + "0x", "0" * 15 + "x0" + "x" * 20])
def test_a_copy_holds_the_same_and_takes_no_room_for_zeros(tmp_path: Path, shape: str, tail: int) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"".join((b"\0\1" if part == "x" else b"\0\0") * 32768 for part in shape) + b"t" * tail)
    told: list[int] = []
    with open(source, "rb") as f:
        durable.copy(f.fileno(), target, told.append)

    assert target.read_bytes() == source.read_bytes() and sum(told) == os.path.getsize(source)
    assert os.stat(target).st_blocks * 512 <= shape.count("x") * 65536 + -(-tail // 4096) * 4096


@privileged.needs_root
@pytest.mark.root
@pytest.mark.parametrize("pages", [0, 1, 31, 63])
def test_a_copy_of_which_only_a_part_has_room_is_an_error(tmp_path: Path, pages: int) -> None:
    """The file system takes what fits of the last write, tells only how much that was, and has holes for the rest."""
    source = tmp_path / "source"
    source.write_bytes(b"x" * 64 * 4096)
    with privileged.small_disk(tmp_path / "disk", 1024) as disk, opened(source) as fd:
        with privileged.filled(disk, pages * 4096), pytest.raises(OSError) as e:
            durable.copy(fd, disk / "target", lambda length: None)
    assert e.value.errno == errno.ENOSPC


def test_a_file_without_a_name_is_ours_alone(tmp_path: Path) -> None:
    fd = durable.unnamed(tmp_path)
    status = os.fstat(fd)
    assert (status.st_nlink, status.st_mode & 0o777, os.listdir(tmp_path)) == (0, 0o600, [])
    os.close(fd)
