"""The verbs of all processes on the one volume that they share; nobody writes to it, so its contents are known."""

import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from snapengine import errors
from snapengine.engine import Engine
from tests.oracle import CLUSTER
from tests.soak import looking
from tests.soak.diary import Line
from tests.soak.model import CLUSTERS, Content

SHARED = "shared"
BASES: dict[str, Content] = {f"base-{n}": (n + 1,) * (2 * n + 2) + (0,) * (CLUSTERS - 2 * n - 2) for n in range(3)}
SNAPSHOTS = 30
CREATE, DELETE = "create in common", "delete in common"


class Shared(NamedTuple):
    """The shared volume as one process sees it; made are the snapshots that it made and that it may delete."""

    engine: Engine
    chance: Random
    made: list[str]

    @property
    def volume(self) -> str:
        return self.engine.find_volume(SHARED)

    def any(self) -> str:
        return self.chance.choice(self.engine.list_snapshots(self.volume)).uuid

    def item(self) -> str:
        items = [item.uuid for item in self.engine.list_trash() if item.volume_uuid == self.volume]
        return self.chance.choice(items) if items else "0" * 32


def make(engine: Engine) -> None:
    """Make the volume that is shared, with snapshots that nobody deletes."""
    volume = engine.create_volume(SHARED, CLUSTERS * CLUSTER).uuid
    path = engine.volume_path(volume)
    for name, content in BASES.items():
        for cluster, pattern in enumerate(content):
            if pattern:
                looking.write(path, cluster, pattern, 0)
        engine.create_snapshot(volume, name)


def create(s: Shared, uuid: str) -> None:
    _require_room(s)
    s.engine.create_snapshot(s.volume, uuid[:8], uuid=uuid)


def _require_room(s: Shared) -> None:
    if len(s.engine.list_snapshots(s.volume)) >= SNAPSHOTS:
        raise errors.Conflict(what="there are enough snapshots")


def delete(s: Shared, uuid: str) -> None:
    (result,) = s.engine.delete_snapshots((uuid,))
    if result.error is not None:
        raise errors.Conflict(what=result.error.details)


def revert(s: Shared, uuid: str) -> None:
    s.engine.revert(s.any())


def update(s: Shared, uuid: str) -> None:
    s.engine.update_snapshot(s.any(), description=uuid)


def purge(s: Shared, uuid: str) -> None:
    s.engine.purge_trash(s.engine.select_trash((s.item(),)))


def restore(s: Shared, uuid: str) -> None:
    s.engine.restore_trash(s.item())


def keep(s: Shared, uuid: str) -> None:
    _require_room(s)
    s.engine.restore_trash_as_snapshot(s.item(), f"kept {uuid[:8]}")


def ask(s: Shared, uuid: str) -> None:
    """Do not wait, and see that the holder is told."""
    engine = Engine.open(s.engine.root, recover=False, wait=0)
    try:
        engine.update_volume(s.volume, description=uuid)
    except errors.Locked as e:
        said = str(e)
        if "another operation" not in said:  # it has the lock and has not noted that yet, or it reads
            assert re.search(r"is locked by [a-z -]+ \(pid \d+\);", said), f"the holder is not told: {said}"


VERBS: dict[str, tuple[int, Callable[[Shared, str], object]]] = {
    CREATE: (8, create),
    DELETE: (5, delete),
    "revert in common": (5, revert),
    "update in common": (3, update),
    "purge in common": (3, purge),
    "restore in common": (2, restore),
    "keep in common": (1, keep),
    "ask who holds it": (2, ask),
}


def made(lines: list[Line]) -> list[str]:
    """Return the snapshots that a process has made and not begun to delete, as its diary says."""
    begun = {line.told for line in lines if line.verb == DELETE and line.what == "begun"}
    return [line.told for line in lines if line.verb == CREATE and line.what == "done" and line.told not in begun]
