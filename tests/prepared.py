"""A store with something of everything in it, made once and copied for each test that damages it."""

import itertools
import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar

import pytest

from snapengine.cost import Direction
from snapengine.engine import Engine
from tests import privileged
from tests.oracle import Oracle

By = Literal["pull", "commit", "clone"]
BY = pytest.mark.parametrize("by", ["pull", "commit", "clone"])
DIRECTIONS: Mapping[By, Direction] = {"pull": "pull", "commit": "commit", "clone": "auto"}
Things = TypeVar("Things")


class Uuids(NamedTuple):
    """
    What a prepared store holds.

    The volume has the snapshots first and second, one upon the other, and stands on first; item, which stood on
    second, is in the trash. other is a volume without anything.
    """

    volume: str
    first: str
    second: str
    item: str
    other: str


class Prepared:
    """A store at root, and the oracle who knows what it holds; directory is where the files of the volume lie."""

    def __init__(self, oracle: Oracle, uuids: Uuids) -> None:
        self.oracle = oracle
        self.engine = oracle.engine
        self.root = self.engine.root
        self.volume, self.first, self.second, self.item, self.other = self.uuids = uuids
        self.directory = self.engine.volume_path(self.volume).parent

    def copied(self, root: Path) -> "Prepared":
        """Return a copy at root, whose records say that it lies there."""
        return Prepared(copied(self.oracle, root), self.uuids)

    def image(self, which: str) -> Path:
        """Return the path of the image of a volume, snapshot or trash item of the directory."""
        return self.directory / (f"{which}.trash.qcow2" if which == self.item else f"{which}.qcow2")

    def record(self, which: str) -> Path:
        """Return the path of the record of a volume, snapshot or trash item of the directory."""
        return self.image(which).with_suffix(".json")

    def edit(self, which: str, **changes: object) -> None:
        """Change keys of a record by hand."""
        path = self.record(which)
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def copied(oracle: Oracle, root: Path) -> Oracle:
    """Return a copy of a store at root, whose records say that it lies there, with all that is known of it."""
    old = oracle.engine.root
    subprocess.run(["cp", "-a", "--reflink=auto", str(old), str(root)], check=True)
    for path in [root / "primary-storage.json", *root.glob("*Volumes/acct-*/vol-*/snapshots/*.json")]:
        path.write_text(path.read_text().replace(f'"{old}', f'"{root}'))
    copy = Oracle(Engine.open(root))
    copy.expected = dict(oracle.expected)
    return copy


def make(root: Path) -> Prepared:
    """Make a prepared store at root."""
    oracle = Oracle(Engine.init(root))
    volume, other = oracle.volume("db"), oracle.volume("other", type="Root")
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, offset=2**17)
    second = oracle.create(volume, "second").uuid
    oracle.write(volume, offset=2**18)
    item = oracle.revert(first) or ""
    oracle.write(volume, offset=2**19)
    return Prepared(oracle, Uuids(volume, first, second, item, other))


@contextmanager
def disks(factory: pytest.TempPathFactory) -> Iterator[dict[By, Path]]:
    """Have, for each way in which a delete joins images, a directory on a disk on which it goes that way."""
    plain = factory.mktemp("plain")
    with privileged.xfs(factory.mktemp("reflinks")) as xfs:
        yield {"pull": plain, "commit": plain, "clone": xfs}


class Stores(Generic[Things]):
    """
    Copies of one store, which make fills and whose things it returns: made once on each disk, copied for each test.

    disks tells on which disk a delete is by which way: a clone needs one with reflinks.
    """

    def __init__(self, disks: Mapping[By, Path], make: Callable[[Oracle], Things]) -> None:
        self._disks, self._make = disks, make
        self._made: dict[Path, tuple[Oracle, Things]] = {}
        self._names = itertools.count()

    def copy(self, by: By) -> tuple[Oracle, Things]:
        """Return a copy on the disk for this way, and what is in it."""
        disk, name = self._disks[by], self._make.__name__
        if disk not in self._made:
            oracle = Oracle(Engine.init(disk / name))
            self._made[disk] = oracle, self._make(oracle)
        oracle, things = self._made[disk]
        return copied(oracle, disk / f"{name}-{next(self._names)}"), things


def delete(oracle: Oracle, by: By, *snapshots: str, descendants: bool = False) -> None:
    """Delete snapshots, and know that what is joined is joined by this way and no other."""
    direction = DIRECTIONS[by]
    plan = oracle.engine.preview_delete(snapshots, descendants=descendants, direction=direction).plan
    assert {step.verb for step in plan} <= {by, "delete", "purge"}
    oracle.delete(*snapshots, descendants=descendants, direction=direction)
