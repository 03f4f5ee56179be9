"""The verbs of a process on its own volumes: each tells beforehand what it will make of them, then does it."""

import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from snapengine import errors
from snapengine.cost import Direction
from snapengine.engine import Engine
from tests.oracle import CLUSTER
from tests.soak import looking
from tests.soak.model import CLUSTERS, Content, Model, Step, Volume, replaced

SNAPSHOTS, VOLUMES = 6, 3  # of one process, and of each volume
DIRECTIONS: tuple[Direction, ...] = ("auto", "pull", "commit")
change = msgspec.structs.replace


class Task(NamedTuple):
    """What a verb will make of the model, and what does it."""

    steps: tuple[Step, ...]
    do: Callable[[], object]


class Owner(NamedTuple):
    """A process: its name, with which its volumes' names begin, and what it draws from."""

    name: str
    engine: Engine
    chance: Random
    alive: int
    outside: Path

    def called(self) -> str:
        """Return a name that nothing has yet."""
        return f"{self.name}.{uuid.UUID(int=self.chance.getrandbits(128)).hex[:8]}"

    def volume(self, model: Model) -> tuple[str, Volume] | None:
        """Return one of the volumes that are there."""
        return self._any({name: volume for name, volume in model.items() if not volume.deleted})

    def deleted(self, model: Model) -> tuple[str, Volume] | None:
        """Return one of the deleted volumes."""
        return self._any({name: volume for name, volume in model.items() if volume.deleted})

    def snapshot(self, volume: Volume) -> tuple[str, Content] | None:
        """Return one of a volume's snapshots."""
        return self.chance.choice(sorted(volume.snapshots.items())) if volume.snapshots else None

    def item(self, name: str) -> tuple[str, Content] | None:
        """Return a trash item of a volume, and what it holds."""
        volume = self.engine.find_volume(name)
        items = [i.uuid for i in self.engine.list_trash() if i.volume_uuid == volume]
        if not items:
            return None
        item = self.chance.choice(items)
        return item, looking.content(self.engine.volume_path(volume).with_name(f"{item}.trash.qcow2"))

    def _any(self, found: Model) -> tuple[str, Volume] | None:
        return self.chance.choice(sorted(found.items(), key=str)) if found else None

    def find(self, volume: str, snapshot: str) -> str:
        return self.engine.find_snapshot(f"{volume}/{snapshot}")


def create_volume(o: Owner, model: Model) -> Task | None:
    if len(model) >= VOLUMES:
        return None
    name = o.called()
    return Task((Step(name, Volume((0,) * CLUSTERS)),), lambda: o.engine.create_volume(name, CLUSTERS * CLUSTER))


def write(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None:
        return None
    name, volume = found
    at, pattern = o.chance.randrange(CLUSTERS), o.chance.randrange(1, 256)
    new = (*volume.active[:at], pattern, *volume.active[at + 1 :])
    path = o.engine.volume_path(o.engine.find_volume(name))
    return Task((Step(name, change(volume, active=new)),), partial(looking.write, path, at, pattern, o.alive))


def create(o: Owner, model: Model) -> Task | None:
    found = o.volume(model)
    if found is None or len(found[1].snapshots) >= SNAPSHOTS:
        return None
    (name, volume), called = found, o.called()
    step = Step(name, change(volume, snapshots=volume.snapshots | {called: volume.active}))
    return Task((step,), lambda: o.engine.create_snapshot(o.engine.find_volume(name), called))


def revert(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (frozen := o.snapshot(found[1])) is None:
        return None
    (name, volume), (snapshot, content) = found, frozen
    return Task((Step(name, replaced(volume, content)),), lambda: o.engine.revert(o.find(name, snapshot)))


def delete(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (frozen := o.snapshot(found[1])) is None:
        return None
    (name, volume), snapshot, direction = found, frozen[0], o.chance.choice(DIRECTIONS)

    def do() -> None:
        (result,) = o.engine.delete_snapshots((o.find(name, snapshot),), direction=direction)
        if result.error is not None:
            raise errors.Conflict(what=result.error.details)

    return Task((Step(name, _without(volume, snapshot)),), do)


def _without(volume: Volume, snapshot: str) -> Volume:
    return change(volume, snapshots={name: c for name, c in volume.snapshots.items() if name != snapshot})


def undo(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None:
        return None
    (name, volume), of = found, o.engine.find_volume(found[0])
    current = {tree.uuid for tree in o.engine.snapshot_trees(of) if tree.current}
    latest = [s.name for s in o.engine.list_snapshots(of) if s.latest and s.tree_uuid in current]
    return Task((Step(name, _without(volume, latest[0])),), lambda: o.engine.undo_snapshot(of)) if latest else None


def rename(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (frozen := o.snapshot(found[1])) is None:
        return None
    (name, volume), (snapshot, content), called = found, frozen, o.called()
    new = change(_without(volume, snapshot), snapshots=_without(volume, snapshot).snapshots | {called: content})
    return Task((Step(name, new),), lambda: o.engine.update_snapshot(o.find(name, snapshot), name=called))


def flatten(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None:
        return None
    (name, volume) = found
    step = Step(name, replaced(volume, volume.active))
    return Task((step,), lambda: o.engine.flatten_volume(o.engine.find_volume(name)))


def shrink(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (frozen := o.snapshot(found[1])) is None:
        return None
    return Task((), lambda: o.engine.shrink_snapshot(o.find(found[0], frozen[0])))


def export(o: Owner, model: Model) -> Task | None:
    """Export a snapshot and see that it is whole."""
    if (found := o.volume(model)) is None or (frozen := o.snapshot(found[1])) is None:
        return None
    target = o.outside / f"{o.name}.qcow2"

    def do() -> None:
        o.engine.export_snapshot(o.find(found[0], frozen[0]), target, force=True)
        assert looking.content(target) == frozen[1], "an export differs from its snapshot"

    return Task((), do)


def clone(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (frozen := o.snapshot(found[1])) is None or len(model) >= VOLUMES:
        return None
    name, linked = o.called(), o.chance.random() < 0.5
    step = Step(name, Volume(frozen[1]))
    return Task((step,), lambda: o.engine.clone_volume(o.find(found[0], frozen[0]), name, linked=linked))


def restore(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (item := o.item(found[0])) is None:
        return None
    (name, volume), (uuid_, content) = found, item
    return Task((Step(name, replaced(volume, content, content)),), lambda: o.engine.restore_trash(uuid_))


def keep(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (item := o.item(found[0])) is None:
        return None
    (name, volume), (uuid_, content), called = found, item, o.called()
    new = change(_dropped(volume, content), snapshots=volume.snapshots | {called: content})
    return Task((Step(name, new),), lambda: o.engine.restore_trash_as_snapshot(uuid_, called))


def purge(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None or (item := o.item(found[0])) is None:
        return None
    (name, volume), (uuid_, content) = found, item
    do = lambda: o.engine.purge_trash(o.engine.select_trash((uuid_,)))  # noqa: E731
    return Task((Step(name, _dropped(volume, content)),), do)


def _dropped(volume: Volume, content: Content) -> Volume:
    trash = list(volume.trash)
    trash.remove(content)
    return change(volume, trash=tuple(trash))


def retire(o: Owner, model: Model) -> Task | None:
    """Delete a volume, or bring a deleted one back, or remove it for good."""
    if (gone := o.deleted(model)) is not None:
        (name, volume), engine = gone, o.engine
        uuid_ = engine.find_deleted_volume(name)
        if o.chance.random() < 0.5:
            return Task((Step(name, change(volume, deleted=False)),), lambda: engine.recover_volume(uuid_))
        return Task((Step(name, None),), lambda: engine.expunge_volume(uuid_))
    if len(model) < 2 or (found := o.volume(model)) is None:
        return None
    name, volume = found
    step = Step(name, change(volume, deleted=True))
    return Task((step,), lambda: o.engine.delete_volumes((o.engine.find_volume(name),)))


def create_group(o: Owner, model: Model) -> Task | None:
    there = {name: volume for name, volume in model.items() if not volume.deleted}
    if not there or any(len(volume.snapshots) >= SNAPSHOTS for volume in there.values()):
        return None
    called = o.called()
    steps = [
        Step(name, change(volume, snapshots=volume.snapshots | {f"{called}-{name}": volume.active}))
        for name, volume in there.items()
    ]
    return Task((*steps,), lambda: o.engine.create_group(called, tuple(o.engine.find_volume(name) for name in there)))


def revert_group(o: Owner, model: Model) -> Task | None:
    groups = [group for group in o.engine.list_groups() if group.name.startswith(f"{o.name}.")]
    able = [group for group in groups if o.engine.groups_available((group.uuid,))[0].available]
    if not able:
        return None
    group = o.chance.choice(able)
    names = {v.uuid: v.name for v in o.engine.list_volumes()}
    steps = []
    for ref in group.volume_snapshot_refs:
        name = names[ref.volume_uuid]
        steps.append(Step(name, replaced(model[name], model[name].snapshots[ref.volume_snapshot_name])))
    return Task((*steps,), lambda: o.engine.revert_group(group.uuid))


def ungroup(o: Owner, model: Model) -> Task | None:
    groups = [group.uuid for group in o.engine.list_groups() if group.name.startswith(f"{o.name}.")]
    return Task((), lambda: o.engine.ungroup(o.chance.choice(groups))) if groups else None


def verify(o: Owner, model: Model) -> Task | None:
    if (found := o.volume(model)) is None:
        return None

    def do() -> None:
        problems = o.engine.verify((o.engine.find_volume(found[0]),), deep=True)
        assert problems == (), problems

    return Task((), do)


Make = Callable[[Owner, Model], Task | None]
VERBS: dict[str, tuple[int, Make]] = {  # how often each comes
    "create a volume": (4, create_volume),
    "write": (10, write),
    "create": (10, create),
    "revert": (5, revert),
    "delete": (5, delete),
    "undo": (2, undo),
    "rename": (1, rename),
    "flatten": (1, flatten),
    "shrink": (1, shrink),
    "export": (1, export),
    "clone": (2, clone),
    "restore": (2, restore),
    "keep": (2, keep),
    "purge": (2, purge),
    "retire": (2, retire),
    "create a group": (3, create_group),
    "revert a group": (2, revert_group),
    "ungroup": (1, ungroup),
    "verify": (1, verify),
}

# What the API has no call for, of these and of those on the shared volume.
NOT_SERVED = (
    "export", "restore", "keep", "purge", "create a group", "revert a group", "ungroup", "verify",
    "purge in common", "restore in common", "keep in common", "ask who holds it",
)  # fmt: skip
