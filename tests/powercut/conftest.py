"""Stages on small disks, for the tests."""

from collections.abc import Iterator

import pytest

from tests import privileged
from tests.powercut import disk
from tests.powercut.stage import Stage

_ROOM = 2**20  # KiB, of memory, at most


@pytest.fixture(scope="module", params=[*disk.KINDS])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A stage on each kind of file system."""
    if not disk.fits(request.param):
        pytest.skip("needs root, /dev/fuse and qemu-storage-daemon")
    with privileged.small_disk(tmp_path_factory.mktemp("powercut") / "disks", _ROOM) as directory:
        yield Stage(directory, request.param)
