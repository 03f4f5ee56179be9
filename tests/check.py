"""
The full check: what must be true of a store after every step, told from its files and not from the engine's word.

What every volume, snapshot and trash item must hold the caller knows; oracle.Oracle keeps a model of it.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from snapengine.engine import Engine
from snapengine.tree import Node
from tests import images

KINDS = ("rootVolumes", "dataVolumes")
TRASH = "trash"


class _SnapshotFile(msgspec.Struct, rename="camel"):
    uuid: str
    volume_uuid: str
    tree_uuid: str
    latest: bool
    distance: int
    status: str
    parent_uuid: str | None = None
    group_uuid: str | None = None
    linked: bool = False


class _TreeEntry(msgspec.Struct, rename="camel"):
    uuid: str
    latest: str
    current: bool


class _VolumeFile(msgspec.Struct, rename="camel"):
    uuid: str
    size: int
    install_path: str
    trees: tuple[_TreeEntry, ...] = ()
    base: str | None = None
    linked: bool = False


class _TrashFile(msgspec.Struct, rename="camel"):
    uuid: str
    volume_uuid: str
    snapshot_uuid: str | None = None
    linked: bool = False


class _MemberEntry(msgspec.Struct, rename="camel"):
    volume_uuid: str
    volume_snapshot_uuid: str


class _GroupFile(msgspec.Struct, rename="camel"):
    uuid: str
    name: str
    members: tuple[_MemberEntry, ...]


Record = TypeVar("Record", _SnapshotFile, _VolumeFile, _TrashFile, _GroupFile)


class Directory:
    """The records and images of one volume as they lie on the disk."""

    def __init__(self, path: Path) -> None:
        uuid = path.parent.name.removeprefix("vol-")
        names = {name.removesuffix(".json") for name in os.listdir(path) if name.endswith(".json")}
        self.path = path
        self.volume = _record(path / f"{uuid}.json", _VolumeFile)
        self.active = Path(self.volume.install_path).name
        self.snapshots = {n: _record(path / f"{n}.json", _SnapshotFile) for n in names if n != uuid and "." not in n}
        items = [name.removesuffix(".trash") for name in names if name.endswith(".trash")]
        self.trash = {n: _record(path / f"{n}.trash.json", _TrashFile) for n in items}

    @property
    def images(self) -> dict[str, Path]:
        """The image of each volume, snapshot and trash item, by its uuid."""
        frozen = {uuid: self.path / f"{uuid}.qcow2" for uuid in self.snapshots}
        kept = {uuid: self.path / f"{uuid}.trash.qcow2" for uuid in self.trash}
        return {self.volume.uuid: self.path / self.active, **frozen, **kept}

    @property
    def parents(self) -> dict[str, str | None]:
        """What each image must stand on, as the records say: the uuid of a snapshot."""
        current = [tree.latest for tree in self.volume.trees if tree.current]
        frozen = {uuid: record.parent_uuid for uuid, record in self.snapshots.items()}
        kept = {uuid: record.snapshot_uuid for uuid, record in self.trash.items()}
        return {self.volume.uuid: current[0] if current else None, **frozen, **kept}

    @property
    def backings(self) -> dict[str, str | None]:
        """What each image must call the one that it stands on: a snapshot beside it, or the base of a linked clone."""
        linked = {self.volume.uuid: self.volume.linked}
        linked |= {uuid: record.linked for uuid, record in self.snapshots.items()}
        linked |= {uuid: record.linked for uuid, record in self.trash.items()}
        bases = {uuid: self.volume.base if is_linked else None for uuid, is_linked in linked.items()}
        return {uuid: f"{parent}.qcow2" if parent else bases[uuid] for uuid, parent in self.parents.items()}


def _record(path: Path, kind: type[Record]) -> Record:
    return msgspec.json.decode(path.read_bytes(), type=kind)


def full(
    engine: Engine, expected: Mapping[str, images.Content], *, depth: int | None = None, deep: bool = True
) -> None:
    """
    Assert all that SCENARIOS.md's check asks for of the engine's store.

    expected holds the content, or its sha256, of every volume, snapshot and trash item, by uuid: no more and no fewer
    may be there. depth is the greatest depth limit that was ever in force, by default the present one. Without deep
    the engine's own verify leaves out `qemu-img check`, which is run here anyhow.
    """
    found = [Directory(path) for path in directories(engine.root)]
    _check_store(engine.root)
    for directory in found:
        _check_files(directory)
        _check_trees(directory, depth or engine.storage.max_incremental_snapshot_num)
        _check_answers(engine, directory)
    _check_groups(engine, found)
    _check_bases(engine, found)
    _check_images(found, expected)
    assert locks(engine.root) == [], "a lock is held"
    assert engine.status().unfinished == ()
    assert engine.verify(deep=deep) == ()


def directories(root: Path) -> Iterator[Path]:
    """Give the directory of every volume's files."""
    yield from sorted(path for kind in (*KINDS, TRASH) for path in root.glob(f"{kind}/acct-*/vol-*/snapshots"))


def _check_store(root: Path) -> None:
    known = {"primary-storage.json", "accounts.json", "journal", ".lock", "groups", "imagecache", "trash", "server"}
    known |= {*KINDS}
    assert set(os.listdir(root)) <= known
    assert os.listdir(root / "journal") == [], "the journal is not empty"
    for kind in (kind for kind in (*KINDS, TRASH) if (root / kind).exists()):
        for account in (root / kind).iterdir():
            assert account.name.startswith("acct-"), f"{account} is no account"
            for volume in account.iterdir():
                assert volume.name.startswith("vol-"), f"{volume} is no volume"
                assert set(os.listdir(volume)) <= {"snapshots", ".lock"}, f"{volume} holds something else"


def _check_files(directory: Directory) -> None:
    records = {f"{uuid}.json" for uuid in (directory.volume.uuid, *directory.snapshots)}
    kept = {f"{uuid}.trash.json" for uuid in directory.trash}
    assert set(os.listdir(directory.path)) == {path.name for path in directory.images.values()} | records | kept
    owners = [r.volume_uuid for r in directory.snapshots.values()] + [r.volume_uuid for r in directory.trash.values()]
    assert set(owners) <= {directory.volume.uuid}
    assert {r.status for r in directory.snapshots.values()} <= {"Ready"}
    for path in directory.images.values():
        assert path.stat().st_nlink == 1, f"{path} has another name"


def _check_trees(directory: Directory, depth: int) -> None:
    volume, snapshots = directory.volume, directory.snapshots
    assert sum(tree.current for tree in volume.trees) <= 1, "more than one tree is current"
    assert {tree.uuid for tree in volume.trees} == {record.tree_uuid for record in snapshots.values()}
    for tree in volume.trees:
        latest = [uuid for uuid, record in snapshots.items() if record.tree_uuid == tree.uuid and record.latest]
        assert latest == [tree.latest], f"tree {tree.uuid} of volume {volume.uuid} has the latest {latest}"
        origins = [r.uuid for r in snapshots.values() if r.tree_uuid == tree.uuid and r.parent_uuid is None]
        assert len(origins) == 1, f"tree {tree.uuid} of volume {volume.uuid} has the origins {origins}"
    for uuid, record in snapshots.items():
        line = _line(directory.parents, uuid)
        assert record.distance == len(line) <= depth
        assert {snapshots[above].tree_uuid for above in line} == {record.tree_uuid}


def _line(parents: Mapping[str, str | None], uuid: str) -> list[str]:
    """Return uuid and all that it stands on, itself first."""
    line, at = [uuid], parents[uuid]
    while at is not None:
        assert at not in line, f"{at} stands on itself"
        line.append(at)
        at = parents[at]
    return line


def _check_answers(engine: Engine, directory: Directory) -> None:
    """Compare what the engine says with the files."""
    volume = directory.volume.uuid
    deleted = {v.uuid: (v.status, v.install_path) for v in engine.list_volumes(deleted=True)}
    assert (directory.path.parts[-4] == TRASH) == (volume in deleted)
    assert (volume in deleted) == (volume not in {v.uuid for v in engine.list_volumes()})
    assert [i.kind for i in engine.list_trash() if i.uuid == volume] == ["Volume"] * (volume in deleted)
    if volume in deleted:
        assert deleted[volume] == ("Deleted", str(directory.path / directory.active))
        return
    assert engine.volume_path(volume) == directory.path / directory.active
    there = directory.snapshots.items()
    listed = engine.list_snapshots(volume)
    said = {s.uuid: (s.parent_uuid, s.tree_uuid, s.latest, s.distance) for s in listed}
    assert said == {u: (r.parent_uuid, r.tree_uuid, r.latest, r.distance) for u, r in there}
    assert all(s.primary_storage_install_path == str(directory.images[s.uuid]) for s in listed)
    assert {i.uuid for i in engine.list_trash() if i.volume_uuid == volume} == set(directory.trash)
    drawn = [path for tree in engine.snapshot_trees(volume) for path in _paths(tree.tree)]
    parents = {uuid: record.parent_uuid for uuid, record in there}
    assert sorted(drawn) == sorted(_line(parents, leaf)[::-1] for leaf in set(parents) - set(parents.values()))


def _check_groups(engine: Engine, found: list[Directory]) -> None:
    """Compare the groups' records with the copies in the snapshots' own, and with what the engine says."""
    names = os.listdir(engine.root / "groups") if (engine.root / "groups").exists() else []
    groups = [_record(engine.root / "groups" / name, _GroupFile) for name in names]
    assert sorted(names) == sorted(f"{group.uuid}.json" for group in groups)
    told = {uuid: record.group_uuid for directory in found for uuid, record in directory.snapshots.items()}
    members = [(member.volume_snapshot_uuid, group.uuid) for group in groups for member in group.members]
    assert len(dict(members)) == len(members), "a snapshot is in two groups"
    assert {u: g for u, g in told.items() if g is not None} == {u: g for u, g in members if u in told}
    listed = [ref for group in engine.list_groups() for ref in group.volume_snapshot_refs]
    refs = {(ref.volume_snapshot_uuid, ref.volume_snapshot_group_uuid, ref.snapshot_deleted) for ref in listed}
    live = {uuid for directory in found if directory.path.parts[-4] != TRASH for uuid in directory.snapshots}
    assert refs == {(uuid, group, uuid not in live) for uuid, group in members}


def _paths(node: Node) -> list[list[str]]:
    """Return the paths from node to each leaf above it."""
    below = [path for child in node.children for path in _paths(child)]
    return [[node.inventory.uuid, *path] for path in below or [[]]]


def _check_bases(engine: Engine, found: list[Directory]) -> None:
    """Every linked image stands on a snapshot that is there, below the root, and the engine knows of it."""
    for directory in found:
        if any(name and "/" in name for name in directory.backings.values()):
            base = Path(os.path.normpath(directory.path / str(directory.volume.base)))
            (owner,) = (other for other in found if base.parent == other.path)
            assert base.stem in owner.snapshots
            clones = engine.linked_clones(owner.volume.uuid, base.stem)
            assert directory.volume.uuid in [clone.uuid for clone in clones]


def _check_images(found: list[Directory], expected: Mapping[str, images.Content]) -> None:
    """Compare headers with records, and what a guest sees with what it must see."""
    paths = {uuid: path for directory in found for uuid, path in directory.images.items()}
    assert set(paths) == set(expected), "other volumes, snapshots or trash items than there should be"
    now = images.Images()
    digests = now.digests(paths.values())
    for directory in found:
        for uuid, path in directory.images.items():
            _check_image(now.facts(path), path, directory.backings[uuid])
            assert digests[path] == images.sha(expected[uuid]), f"{path} has another content than it should have"
        assert now.facts(directory.path / directory.active).info.virtual_size == directory.volume.size


def _check_image(image: images.Facts, path: Path, name: str | None) -> None:
    backing = (name, "qcow2") if name else (None, None)
    said = (image.info.backing_filename, image.info.backing_filename_format)
    assert said == backing, f"{path} stands on {said}"
    assert image.info.format == "qcow2"
    assert image.problem == "", f"{path}: {image.problem}"


def locks(root: Path) -> list[str]:
    """Return the kernel's lines on locks and leases of files below root."""
    files = [Path(at, name) for at, _, names in os.walk(root) for name in names]
    numbers = {(path.stat().st_dev, path.stat().st_ino) for path in files}
    inodes = {f"{os.major(device):02x}:{os.minor(device):02x}:{inode}" for device, inode in numbers}
    return [line for line in Path("/proc/locks").read_text().splitlines() if inodes & set(line.split())]
