"""What verbs leave on a disk that is really full, at amounts of room where that was once wrong."""

from pathlib import Path

import pytest

from tests import privileged
from tests.crash import bench

pytestmark = [pytest.mark.crash, pytest.mark.root, privileged.needs_root]

ROOMS = {
    "import a chain": range(856064, 876544, 4096),
    "delete by commit after the volume grew": range(365536, 390112, 4096),
}


def test_a_verb_that_finds_too_little_room_loses_nothing_and_works_once_there_is_some(tmp_path: Path) -> None:
    with privileged.mounted(tmp_path, "ext4", 256) as disk, bench.opened("", 1, disk, tmp_path, False) as opened:
        for name, rooms in ROOMS.items():
            outcomes = opened.full(opened.prepared(name), rooms)
            assert any(outcome.exact for outcome in outcomes), f"there is room enough for {name}"
            assert not [outcome for outcome in outcomes if outcome.end == "wrong"]
