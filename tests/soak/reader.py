"""A process that only reads: it must see what was or what is, never a mix, and never an error."""

import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest

from snapengine import errors, records
from snapengine.engine import Engine
from snapengine.records import Contents
from snapengine.tree import Node
from tests.soak import broken, crowd, looking
from tests.soak.diary import Line
from tests.soak.worker import Life


def live(life: Life) -> None:
    """Read until the time is over, or a kill."""
    os.setsid()
    try:
        with broken.broken(life.sabotage), _pauses(Random(f"{life.seed} {life.name} {life.nth}")):
            chance = Random(f"{life.seed} {life.name}")
            engine, rounds = Engine.open(life.place / "store", recover=False), 0
            engine = life.engine(chance) if life.door else engine
            while time.monotonic() < life.until:
                started = time.monotonic()
                _read(engine)
                if rounds % 5 == 0:
                    _export(engine, life)
                rounds += 1
                life.diary.write(Line("done", "read", took=time.monotonic() - started))
    except BaseException:
        life.diary.write(Line("fault", "read", told=traceback.format_exc()))


@contextmanager
def _pauses(chance: Random) -> Iterator[None]:
    """Have this process stand still now and then while it reads a volume's records, so that verbs come in between."""
    read_all = records._read_all

    def slowly(*args: Any) -> Contents:
        if chance.random() < 0.3:
            time.sleep(chance.uniform(0.0, 0.1))
        return read_all(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_read_all", slowly)
        yield


def _read(engine: Engine) -> None:
    """Read all records; a volume that goes away meanwhile is no error, anything else is."""
    for volume in engine.list_volumes():
        try:
            _read_volume(engine, volume.uuid)
        except errors.NotFound:
            assert volume.uuid not in {v.uuid for v in engine.list_volumes()}, f"volume {volume.name} was not found"
    engine.list_trash()
    engine.list_groups()
    assert engine.status().volumes > 0


def _read_volume(engine: Engine, volume: str) -> None:
    snapshots = {s.uuid: s for s in engine.list_snapshots(volume)}
    assert all(s.parent_uuid in snapshots for s in snapshots.values() if s.parent_uuid), "a parent is not listed"
    for tree in (trees := engine.snapshot_trees(volume)):
        nodes = list(_nodes(tree.tree))
        assert [node.inventory.distance for node in nodes].count(1) == 1, "a tree has not one origin"
        assert sum(node.inventory.latest for node in nodes) == 1, "a tree has not one latest"
        assert len({node.inventory.tree_uuid for node in nodes}) == 1, "a tree is torn"
    assert sum(tree.current for tree in trees) <= 1, "more than one tree is current"
    engine.volume_path(volume)


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _nodes(child)


def _export(engine: Engine, life: Life) -> None:
    """Read a snapshot that nobody deletes, while the layers that it stands on and those on it come and go."""
    name, target = f"base-{life.nth % 3}", life.place / f"{life.name}.qcow2"
    engine.export_snapshot(engine.find_snapshot(f"{crowd.SHARED}/{name}"), target, force=True)
    assert looking.content(target) == crowd.BASES[name], f"{name} holds something else"
