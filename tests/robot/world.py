"""The robot's world: a store, the oracle who knows what it holds, and everything in it by its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from snapengine import arguments, errors
from snapengine.engine import Engine
from snapengine.inventory import Snapshot, TrashItem
from tests import check
from tests.oracle import Oracle

Thing = TypeVar("Thing")

LIMIT = 4  # the depth limit at first


class Nothing(Exception):
    """The action does not apply: what it needs is not there, or the engine refused it as it had to."""


class Note(NamedTuple):
    """What a snapshot is called, and the tags of its user."""

    name: str
    tags: tuple[str, ...]


class World:
    """
    A store at directory/store, and outside of it a directory for files that come in and go out.

    order holds the uuids of all volumes, snapshots and trash items in the order in which they came; it is the same in
    every run of the same actions. deepest is the greatest depth limit that was ever in force.
    """

    def __init__(self, directory: Path) -> None:
        self.outside = directory / "outside"
        self.outside.mkdir()
        self.oracle = Oracle(Engine.init(directory / "store", depth_limit=LIMIT))
        self.order: list[str] = []
        self.groups: list[str] = []
        self.notes: dict[str, Note] = {}
        self.deepest = LIMIT
        self.count = 0

    @property
    def engine(self) -> Engine:
        return self.oracle.engine

    def name(self) -> str:
        """Return a name that nothing has yet."""
        self.count += 1
        return f"n{self.count}"

    def volumes(self) -> list[str]:
        """Return the volumes, but the deleted ones."""
        there = {volume.uuid for volume in self.engine.list_volumes()}
        return [uuid for uuid in self.order if uuid in there]

    def deleted(self) -> list[str]:
        """Return the deleted volumes."""
        there = {volume.uuid for volume in self.engine.list_volumes(deleted=True)}
        return [uuid for uuid in self.order if uuid in there]

    def volume(self, pick: int) -> str:
        """Return the volume at a place."""
        return at(self.volumes(), pick)

    def snapshots(self, volume: str | None = None) -> list[Snapshot]:
        """Return a volume's snapshots, or all."""
        there = {snapshot.uuid: snapshot for snapshot in self.engine.list_snapshots(volume)}
        return [there[uuid] for uuid in self.order if uuid in there]

    def snapshot(self, pick: int) -> Snapshot:
        """Return the snapshot at a place."""
        return at(self.snapshots(), pick)

    def items(self) -> list[TrashItem]:
        """Return the former active images in the trash."""
        there = {item.uuid: item for item in self.engine.list_trash() if item.kind == "ActiveImage"}
        return [there[uuid] for uuid in self.order if uuid in there]

    def item(self, pick: int) -> TrashItem:
        """Return the trash item at a place."""
        return at(self.items(), pick)

    def group(self, pick: int) -> str:
        """Return the group at a place."""
        return at(self.groups, pick)

    def bases(self) -> set[str]:
        """Return the snapshots that linked clones stand on."""
        return self.oracle.bases()

    def on(self, snapshot: Snapshot) -> list[str]:
        """Return all that stands on a snapshot within its volume: snapshots, trash items, the volume itself."""
        (path,) = (path for path in check.directories(self.engine.root) if _owner(path) == snapshot.volume_uuid)
        return [uuid for uuid, parent in check.Directory(path).parents.items() if parent == snapshot.uuid]

    def own_limit(self, volume: str) -> int | None:
        """Return the depth limit that a volume has of its own."""
        tags = (tag.tag.partition(arguments.DEPTH_TAG) for tag in self.engine.list_tags(volume))
        return next((int(number) for before, found, number in tags if found and not before), None)

    def limit(self, volume: str) -> int:
        """Return the depth limit that is in force for a volume."""
        return self.own_limit(volume) or self.engine.storage.max_incremental_snapshot_num

    def limited(self, limit: int) -> int:
        """Note that a depth limit is in force, and return it."""
        self.deepest = max(self.deepest, limit)
        return limit

    def look(self) -> None:
        """Learn what came and what went."""
        there = self.oracle.expected
        self.order = [uuid for uuid in self.order if uuid in there]
        self.order += sorted(set(there) - set(self.order), key=self._birth())
        made = {group.uuid for group in self.engine.list_groups()}
        self.groups = [uuid for uuid in self.groups if uuid in made]
        self.groups += sorted(made - set(self.groups))
        for snapshot in self.engine.list_snapshots():
            self.notes.setdefault(snapshot.uuid, self.noted(snapshot))

    def _birth(self) -> Callable[[str], tuple[int, int]]:
        """Return by what things are sorted that came in one step: their volume's place, and how deep they stand."""
        found = [check.Directory(path) for path in check.directories(self.engine.root)]
        owner = {uuid: directory.volume.uuid for directory in found for uuid in directory.images}
        depth = {uuid: record.distance for directory in found for uuid, record in directory.snapshots.items()}
        places = {uuid: place for place, uuid in enumerate(self.order)}
        return lambda uuid: (places.get(owner[uuid], len(places)), depth.get(uuid, 0))

    def noted(self, snapshot: Snapshot) -> Note:
        """Return what a snapshot shows of its note."""
        tags = (tag.tag for tag in self.engine.list_tags(snapshot.uuid))
        return Note(snapshot.name, tuple(sorted(tags)))

    def check(self, *, deep: bool) -> None:
        """Assert all that check.full does, and that names and tags are as they were given."""
        check.full(self.engine, self.oracle.expected, depth=self.deepest, deep=deep)
        for snapshot in self.engine.list_snapshots():
            assert self.noted(snapshot) == self.notes[snapshot.uuid]


def at(found: Sequence[Thing], pick: int) -> Thing:
    """Return what stands at a place; the place counts round and round."""
    if not found:
        raise Nothing("there is none")
    return found[pick % len(found)]


def _owner(path: Path) -> str:
    return path.parent.name.removeprefix("vol-")


@contextmanager
def refused(reasons: Mapping[str, bool], kind: type[errors.Error] = errors.Conflict) -> Iterator[None]:
    """Require that the block is refused, with an error of this kind that tells one of the reasons that hold, if any."""
    due = [said for said, holds in reasons.items() if holds]
    if not due:
        yield
        return
    try:
        yield
    except kind as e:
        assert any(said in str(e) for said in due), f"refused for another reason: {e}"
        raise Nothing(f"refused: {' or '.join(due)}") from e
    raise AssertionError(f"not refused, though {due}")
