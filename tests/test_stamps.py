"""What tells that a file was not touched since it was read."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from snapengine import stamps


@pytest.mark.parametrize("written, changed, settled", [(1, 1, True), (0, 1, False), (1, 0, False), (-9, 1, False)])
def test_what_was_touched_a_moment_ago_or_will_be_is_not_settled(
    monkeypatch: pytest.MonkeyPatch, written: float, changed: float, settled: bool
) -> None:
    now = time.time_ns()
    monkeypatch.setattr(stamps, "time", SimpleNamespace(time_ns=lambda: now))

    stamp = (1, 2, now - int(written * 10**9), now - int(changed * 10**9), 3)

    assert stamps.is_settled(stamp) == settled


def test_a_file_that_was_written_to_or_replaced_has_another_stamp(tmp_path: Path) -> None:
    path, other = tmp_path / "file", tmp_path / "other"
    path.write_text("one")
    first = stamps.of(path.stat())
    os.utime(path, ns=(1, 1))
    second = stamps.of(path.stat())
    other.write_text("one")
    os.utime(other, ns=(1, 1))
    os.replace(other, path)

    assert len({first, second, stamps.of(path.stat())}) == 3
