"""What a user sees of a store, without what a verb makes up: contents and names, no new uuids and no dates."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from snapengine.engine import Engine
from snapengine.inventory import Volume
from tests import check, images

LOST = "no image"  # what an active image holds that is missing or damaged
MAGIC = b"QFI\xfb"


class SnapshotState(NamedTuple):
    """A snapshot: parent and origin (of its tree) are names, content a sha256; grouped: it names a group."""

    name: str
    description: str | None
    parent: str | None
    origin: str
    latest: bool
    distance: int
    content: str
    grouped: bool
    tags: tuple[str, ...] = ()


class VolumeState(NamedTuple):
    """
    A volume: current is the name of the snapshot that it stands on; trash holds base and content of each item.

    bitmaps are the active dirty bitmaps of its active image, and those that are known to be broken; content and
    bitmaps are left out where only records count.
    """

    name: str
    size: int
    content: str
    current: str | None
    snapshots: tuple[SnapshotState, ...]
    trash: tuple[tuple[str | None, str], ...]
    bitmaps: tuple[str, ...] = ()
    deleted: bool = False
    vm: str | None = None
    tags: tuple[str, ...] = ()


class GroupState(NamedTuple):
    """A group; members are the names of its snapshots, and whether each is gone."""

    name: str
    members: tuple[tuple[str, bool], ...]


class State(NamedTuple):
    """A store; accounts are names and quotas."""

    depth_limit: int
    volumes: tuple[VolumeState, ...]
    groups: tuple[GroupState, ...]
    reflinks: str
    accounts: tuple[tuple[str, int | None], ...]


def of(engine: Engine) -> State:
    """Return the state of the engine's store."""
    return _state(engine, contents(engine))


def shown(engine: Engine) -> State:
    """Return the state as the records alone show it: without contents."""
    return _state(engine, defaultdict(str))


def without_contents(state: State) -> State:
    """Return what shown would have returned in this state."""
    volumes = tuple(
        volume._replace(
            content="",
            bitmaps=(),
            snapshots=tuple(snapshot._replace(content="") for snapshot in volume.snapshots),
            trash=tuple(sorted(((base, "") for base, _ in volume.trash), key=str)),
        )
        for volume in state.volumes
    )
    return state._replace(volumes=volumes)


def named_contents(*states: State) -> set[tuple[str, str | None, str]]:
    """Return what each volume and snapshot of these states holds, by their names, and what lies in the trash."""
    volumes = [volume for each in states for volume in each.volumes]
    frozen = {(volume.name, snapshot.name, snapshot.content) for volume in volumes for snapshot in volume.snapshots}
    kept = {(volume.name, "in the trash", content) for volume in volumes for _, content in volume.trash}
    return {*((volume.name, None, volume.content) for volume in volumes), *frozen, *kept}


def _state(engine: Engine, content: Mapping[str, str]) -> State:
    deleted = engine.list_volumes(deleted=True)
    gone = (VolumeState(v.name, v.size, content[v.uuid], None, (), (), (), True) for v in deleted)
    volumes = (*(_volume(engine, volume, content) for volume in engine.list_volumes()), *gone)
    storage = engine.storage
    accounts = tuple((account.name, account.snapshot_quota) for account in engine.list_accounts())
    return State(
        storage.max_incremental_snapshot_num, volumes, tuple(_groups(engine)), storage.reflinks_setting, accounts
    )


def _groups(engine: Engine) -> list[GroupState]:
    members = {
        group.name: [(ref.volume_snapshot_name, ref.snapshot_deleted) for ref in group.volume_snapshot_refs]
        for group in engine.list_groups()
    }
    return sorted(GroupState(name, tuple(sorted(found))) for name, found in members.items())


def is_between(found: State, states: Sequence[State]) -> bool:
    """Tell whether found is one of states in each of its volumes, and in its groups."""
    parts = [(volume, [v for state in states for v in state.volumes]) for volume in found.volumes]
    names = {tuple(volume.name for volume in state.volumes) for state in (found, *states)}
    return len(names) == 1 and all(p in all_ for p, all_ in parts) and found.groups in [s.groups for s in states]


def _volume(engine: Engine, volume: Volume, content: Mapping[str, str]) -> VolumeState:
    snapshots = engine.list_snapshots(volume.uuid)
    trees = engine.snapshot_trees(volume.uuid)
    items = [item for item in engine.list_trash() if item.volume_uuid == volume.uuid]
    listed = [(tag.resource_uuid, tag.tag) for tag in engine.list_tags()]
    tags = {u: tuple(t for of, t in listed if of == u) for u in (volume.uuid, *(s.uuid for s in snapshots))}
    names: dict[str | None, str] = {s.uuid: s.name for s in snapshots}
    origins = {tree.uuid: tree.tree.inventory.name for tree in trees}
    current = [s.name for s in snapshots for tree in trees if tree.current and s.latest and s.tree_uuid == tree.uuid]
    frozen = [
        SnapshotState(
            s.name, s.description, names.get(s.parent_uuid), origins.get(s.tree_uuid, "no tree"), s.latest, s.distance,
            content[s.uuid], s.group_uuid is not None, tags[s.uuid],
        )  # fmt: skip
        for s in snapshots
    ]
    trash = [(names.get(item.snapshot_uuid), content[item.uuid]) for item in items]
    return VolumeState(
        volume.name, volume.size, content[volume.uuid], current[0] if current else None,
        tuple(sorted(frozen, key=str)), tuple(sorted(trash, key=str)),
        _bitmaps(engine.volume_path(volume.uuid)) if content[volume.uuid] not in ("", LOST) else (),
        vm=engine.vm_names().get(volume.vm_instance_uuid or ""), tags=tags[volume.uuid],
    )  # fmt: skip


def _bitmaps(path: Path) -> tuple[str, ...]:
    """Return the active bitmaps of an active image, and those that its volume's record says are broken."""
    broken: list[str] = json.loads(path.with_suffix(".json").read_bytes()).get("brokenBitmaps", [])
    found = images.Images().facts(path).info.bitmaps
    assert not any("in-use" in bitmap.flags for bitmap in found), f"{path} has an inconsistent bitmap"
    return tuple(sorted({*broken, *(bitmap.name for bitmap in found if bitmap.flags == ["auto"])}))


def contents(engine: Engine) -> dict[str, str]:
    """Return the sha256 of what each volume, snapshot and trash item that is known in the store holds, by uuid."""
    now = images.Images()
    known = (path for path in check.directories(engine.root) if (path / f"{path.parent.name[4:]}.json").exists())
    directories = [check.Directory(path) for path in known]
    return {uuid: digest(now, path) for found in directories for uuid, path in found.images.items()}


def digest(now: images.Images, path: Path) -> str:
    """Return the sha256 of what a guest sees of the image at path, LOST where there is none."""
    if not path.exists() or not path.read_bytes().startswith(MAGIC):
        return LOST
    return now.digest(path)
