"""The robot's verbs that bring something in or out, or only look."""

import random
import shutil

from snapengine.engine import Engine
from snapengine.errors import NoSpace
from snapengine.inventory import Setting
from tests import images
from tests.oracle import CLUSTER
from tests.robot.world import Nothing, World, refused

VOLUMES = 5  # more make each check slow
SETTINGS: tuple[Setting, ...] = ("auto", "off")


def import_raw(world: World, a: int, b: int, c: int) -> None:
    """Import a raw image."""
    require_room(world)
    file = world.outside / "image.raw"
    file.write_bytes(random.Random(b).randbytes(CLUSTER) * (c % 8 + 1))
    world.oracle.import_raw(file, world.name())
    file.unlink()


def require_room(world: World) -> None:
    """Do nothing where there are as many volumes as the robot likes."""
    if len(world.volumes()) + len(world.deleted()) >= VOLUMES:
        raise Nothing("there are enough volumes")


def import_chain(world: World, a: int, b: int, c: int) -> None:
    """Import a copy of a snapshot's chain, layer by layer."""
    snapshot = world.snapshot(a)
    require_room(world)
    path = world.engine.snapshot_path(snapshot.uuid)
    layers = images.Images().chain(path)
    if {layer.parent for layer in layers} != {path.parent}:
        raise Nothing("it stands on another volume's snapshot")
    copy = world.outside / "chain"
    copy.mkdir()
    for layer in layers:
        shutil.copy(layer, copy)
    limit = world.engine.storage.max_incremental_snapshot_num
    try:
        with refused({"depth limit": len(layers) - 1 > limit}, NoSpace):
            world.oracle.import_chain(copy / path.name, world.name(), move=bool(b % 2))
    finally:
        shutil.rmtree(copy)


def export(world: World, a: int, b: int, c: int) -> None:
    """Export a snapshot, as qcow2, compressed or not, or raw."""
    snapshot, file = world.snapshot(a).uuid, world.outside / "export"
    world.engine.export_snapshot(snapshot, file, "raw" if b % 3 == 0 else "qcow2", compress=b % 3 == 1)
    held = file.read_bytes() if b % 3 == 0 else images.read(file)
    file.unlink()
    assert held == world.oracle.expected[snapshot], "the export has another content than the snapshot"


def diff(world: World, a: int, b: int, c: int) -> None:
    """Compare a snapshot with another one of its volume, or with the volume: no byte that differs may be left out."""
    first = world.snapshot(a)
    others = [first.volume_uuid, *(s.uuid for s in world.snapshots(first.volume_uuid))]
    second = others[b % len(others)]
    found = world.engine.diff_snapshots(first.uuid, None if second == first.volume_uuid else second)
    held = [world.oracle.expected[uuid] for uuid in (first.uuid, second)]
    size = max(map(len, held))
    was, is_ = (bytearray(each.ljust(size, b"\0")) for each in held)
    for extent in found.extents:
        assert extent.start + extent.length <= size
        if extent.zero:
            assert not any(is_[extent.start : extent.start + extent.length]), f"{extent} is not zero"
        is_[extent.start : extent.start + extent.length] = was[extent.start : extent.start + extent.length]
    assert was == is_, "the diff leaves something out"


def sizes(world: World, a: int, b: int, c: int) -> None:
    """Ask for a snapshot's sizes, and for previews, which change nothing."""
    snapshot = world.snapshot(a)
    world.engine.snapshot_sizes(snapshot.uuid)
    world.engine.preview_revert(snapshot.uuid)
    world.engine.preview_flatten(snapshot.volume_uuid)
    world.engine.status()


def move_store(world: World, a: int, b: int, c: int) -> None:
    """Move the whole store, or open it again where it is."""
    root = world.engine.root
    world.oracle.engine = Engine.open(root.rename(root.with_name(world.name())) if a % 2 else root)


def reflinks(world: World, a: int, b: int, c: int) -> None:
    """Let copies share extents where they can, or never."""
    world.engine.set_reflinks(SETTINGS[a % 2])
