"""A store with something of everything in it, made once and copied for each test that damages it."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

from snapengine.engine import Engine
from tests.oracle import Oracle


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
        shutil.copytree(self.root, root)
        for path in [root / "primary-storage.json", *root.glob("*Volumes/acct-*/vol-*/snapshots/*.json")]:
            path.write_text(path.read_text().replace(f'"{self.root}', f'"{root}'))
        oracle = Oracle(Engine.open(root))
        oracle.expected = dict(self.oracle.expected)
        return Prepared(oracle, self.uuids)

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
