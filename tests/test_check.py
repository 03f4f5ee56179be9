"""The full check finds what is wrong; what it lets pass is worth something."""

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import check
from tests.oracle import CLUSTER, Oracle, poke


@pytest.fixture
def directory(oracle: Oracle) -> Path:
    """Return the directory of a volume with two snapshots, and an item in the trash, all in order."""
    volume = oracle.volume()
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, CLUSTER)
    oracle.create(volume, "second")
    oracle.write(volume, 2 * CLUSTER)
    oracle.revert(first)
    oracle.check()
    return oracle.engine.volume_path(volume).parent


def _image(directory: Path, kind: str) -> Path:
    """Return the first image of a kind: volume, snapshot or trash."""
    found = check.Directory(directory)
    images = {"volume": [found.volume.uuid], "snapshot": sorted(found.snapshots), "trash": sorted(found.trash)}
    return found.images[images[kind][0]]


def _rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _leak(path: Path) -> None:
    with open(path, "ab") as image:
        image.write(bytes(-path.stat().st_size % CLUSTER))
    with open(path, "r+b") as image:
        image.seek(48)
        table = int.from_bytes(image.read(8))
        image.seek(table)
        image.seek(int.from_bytes(image.read(8)) + 2 * 60)  # the count of a cluster that nothing uses
        image.write(b"\0\1")
    os.truncate(path, max(path.stat().st_size, 61 * CLUSTER))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a stray file": lambda d: (d / "stray").touch(),
    "a stray directory": lambda d: (d.parents[1] / "stray").mkdir(),
    "a temporary file": lambda d: (d / ".x.json.new").touch(),
    "a journal entry": lambda d: (d.parents[3] / "journal" / "entry.json").touch(),
    "a missing image": lambda d: _image(d, "snapshot").unlink(),
    "a missing record": lambda d: _image(d, "trash").with_suffix(".json").unlink(),
    "a second name": lambda d: os.link(_image(d, "snapshot"), d.parents[4] / "second name"),
    "another content": lambda d: poke(_image(d, "volume"), 0xEE, 5 * CLUSTER),
    "a changed trash item": lambda d: poke(_image(d, "trash"), 0xEE, 5 * CLUSTER),
    "a wrong parent": lambda d: _rewrite(_image(d, "snapshot").with_suffix(".json"), parentUuid="0" * 32),
    "a wrong distance": lambda d: _rewrite(_image(d, "snapshot").with_suffix(".json"), distance=7),
    "no latest": lambda d: _rewrite(d / f"{check.Directory(d).volume.trees[0].latest}.json", latest=False),
    "a wrong size": lambda d: _rewrite(_image(d, "volume").with_suffix(".json"), size=4096),
    "a leak": lambda d: _leak(_image(d, "trash")),
    "an exchanged image": lambda d: shutil.copy(_image(d, "snapshot"), _image(d, "trash")),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_check_finds(oracle: Oracle, directory: Path, damage: Callable[[Path], object]) -> None:
    damage(directory)

    with pytest.raises((AssertionError, KeyError, FileNotFoundError)):
        oracle.check()


def test_the_check_finds_a_lock_that_is_held(oracle: Oracle, directory: Path) -> None:
    with open(directory.parent / ".lock") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        assert len(check.locks(oracle.engine.root)) == 1
        with pytest.raises(AssertionError, match="a lock is held"):
            oracle.check()


def test_the_check_finds_what_nobody_told_it_of(oracle: Oracle, directory: Path) -> None:
    oracle.engine.create_volume("unheard of", CLUSTER)

    with pytest.raises(AssertionError, match="other volumes"):
        oracle.check()
