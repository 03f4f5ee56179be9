"""Files that share extents: where that works and where it does not, told by trying."""

from pathlib import Path

import pytest

from snapengine import errors, reflink
from snapengine.engine import Engine
from tests import privileged
from tests.privileged import needs_root


@needs_root
def test_on_xfs_files_can_share_extents_and_stay_apart(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path) as disk:
        assert reflink.is_possible(disk)
        source, target = disk / "source", disk / "target"
        source.write_bytes(b"a" * 2**20)
        target.touch()
        with open(source, "rb") as f:
            reflink.copy(f.fileno(), target)
        with open(target, "r+b") as f:
            f.write(b"b")

        assert source.read_bytes() == b"a" * 2**20
        assert target.read_bytes() == b"b" + b"a" * (2**20 - 1)
        assert Engine.init(disk / "storage").storage.reflinks


@needs_root
def test_on_tmpfs_they_can_not_and_nothing_is_left_over(tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "small", 1024) as disk:
        assert not reflink.is_possible(disk)
        assert list(disk.iterdir()) == []
        target = disk / "target"
        target.touch()
        with open(disk / "source", "w+b") as f, pytest.raises(errors.Conflict, match="config reflinks auto"):
            reflink.copy(f.fileno(), target)
