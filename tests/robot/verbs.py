"""What the robot can do: each verb with how often it comes. Numbers pick objects, and say where and how much."""

from collections.abc import Callable
from typing import NamedTuple

from snapengine import arguments
from tests.oracle import CLUSTER, MIB
from tests.robot import moving, removing
from tests.robot.world import Nothing, World, refused

SIZES = (MIB, MIB + 3 * 512, MIB // 2)
LARGEST = 2 * MIB
SNAPSHOTS = 40  # more make each check slow
VM = "web"

Do = Callable[[World, int, int, int], object]


class Verb(NamedTuple):
    """How often a verb comes, and what it does."""

    weight: int
    do: Do


def volume(world: World, a: int, b: int, c: int) -> None:
    """Create a volume, of an odd size or not."""
    moving.require_room(world)
    world.oracle.volume(world.name(), SIZES[a % len(SIZES)], "Root" if b % 2 else "Data")


def write(world: World, a: int, b: int, c: int) -> None:
    """Write some sectors."""
    volume, offset, length = _range(world, a, b, c)
    world.oracle.write(volume, offset, length)


def write_zeros(world: World, a: int, b: int, c: int) -> None:
    """Write zeros that take room."""
    volume, offset, length = _range(world, a, b, c)
    world.oracle.zero(volume, offset, length)


def punch(world: World, a: int, b: int, c: int) -> None:
    """Let some sectors read as zeros, or discard some clusters."""
    volume, offset, length = _range(world, a, b, c)
    if c % 2:
        world.oracle.punch(volume, offset, length)
    elif (offset - offset % CLUSTER) + CLUSTER <= len(world.oracle.expected[volume]):
        world.oracle.punch(volume, offset - offset % CLUSTER, CLUSTER, "discard")


def _range(world: World, a: int, b: int, c: int) -> tuple[str, int, int]:
    volume = world.volume(a)
    size = len(world.oracle.expected[volume])
    offset = b % (size // 512) * 512
    return volume, offset, min((c % 400 + 1) * 512, size - offset)


def create(world: World, a: int, b: int, c: int) -> None:
    """Create a snapshot."""
    volume = world.volume(a)
    if len(world.snapshots()) >= SNAPSHOTS:
        raise Nothing("there are enough snapshots")
    world.oracle.create(volume, world.name())


def revert(world: World, a: int, b: int, c: int) -> None:
    """Revert to a snapshot."""
    world.oracle.revert(world.snapshot(a).uuid)


def update(world: World, a: int, b: int, c: int) -> None:
    """Give a snapshot another name."""
    snapshot, name = world.snapshot(a), world.name()
    world.engine.update_snapshot(snapshot.uuid, name=name)
    world.notes[snapshot.uuid] = world.notes[snapshot.uuid]._replace(name=name)


def tag(world: World, a: int, b: int, c: int) -> None:
    """Give a snapshot a tag, or take it away."""
    snapshot, text = world.snapshot(a), f"tag{b % 3}"
    note = world.notes[snapshot.uuid]
    if text in note.tags:
        world.engine.remove_tag(snapshot.uuid, text)
        tags = tuple(sorted(set(note.tags) - {text}))
    else:
        world.engine.add_tag(snapshot.uuid, text, user=True)
        tags = tuple(sorted({*note.tags, text}))
    world.notes[snapshot.uuid] = note._replace(tags=tags)


def limit(world: World, a: int, b: int, c: int) -> None:
    """Change the depth limit of the store, or of a volume, or let a volume have the store's again."""
    if a % 2:
        world.engine.set_depth_limit(world.limited(b % 5 + 2))
        return
    volume = world.volume(b)
    if (own := world.own_limit(volume)) is not None and c % 2:
        world.engine.remove_tag(volume, f"{arguments.DEPTH_TAG}{own}")
    else:
        world.engine.add_tag(volume, f"{arguments.DEPTH_TAG}{world.limited(c % 5 + 2)}")


def resize(world: World, a: int, b: int, c: int) -> None:
    """Let a volume grow by some sectors."""
    volume = world.volume(a)
    size = len(world.oracle.expected[volume])
    world.oracle.resize(volume, max(size, min(size + b % 1024 * 512, LARGEST)))


def shrink(world: World, a: int, b: int, c: int) -> None:
    """Shrink a snapshot."""
    world.oracle.shrink(world.snapshot(a).uuid)


def flatten(world: World, a: int, b: int, c: int) -> None:
    """Flatten a volume."""
    world.oracle.flatten(world.volume(a))


def clone(world: World, a: int, b: int, c: int) -> None:
    """Clone a snapshot, whole or linked."""
    snapshot = world.snapshot(a)
    moving.require_room(world)
    world.oracle.clone(snapshot.uuid, world.name(), linked=bool(b % 2))


def attach(world: World, a: int, b: int, c: int) -> None:
    """Attach a volume to the VM, or detach it."""
    volume = world.volume(a)
    if world.engine.get_volume(volume).vm_instance_uuid is None:
        world.engine.attach_volume(volume, VM)
    else:
        world.engine.detach_volume(volume)


def create_group(world: World, a: int, b: int, c: int) -> None:
    """Make a group of some volumes, or of those of the VM."""
    volumes = world.volumes()
    chosen = [volume for place, volume in enumerate(volumes) if a >> place & 1]
    if len(world.snapshots()) + len(volumes) > SNAPSHOTS or not volumes:
        raise Nothing("there are enough snapshots, or no volumes")
    if chosen:
        world.oracle.create_group(world.name(), *chosen)
    elif any(world.engine.get_volume(volume).vm_instance_uuid for volume in volumes):
        world.oracle.create_group(world.name(), vm=VM)
    else:
        raise Nothing("the VM has no volumes")


def revert_group(world: World, a: int, b: int, c: int) -> None:
    """Revert to a group."""
    group = world.group(a)
    (told,) = world.engine.groups_available((group,))
    gone = [ref for ref in world.engine.get_group(group).volume_snapshot_refs if ref.snapshot_deleted]
    assert not (gone and told.available)
    with refused({"can't be reverted to": not told.available}):
        world.oracle.revert_group(group)


def restore(world: World, a: int, b: int, c: int) -> None:
    """Make a trash item the active image again."""
    world.oracle.restore(world.item(a).uuid)


def keep(world: World, a: int, b: int, c: int) -> None:
    """Make a trash item a snapshot."""
    item = world.item(a)
    base = world.engine.get_snapshot(item.snapshot_uuid).distance if item.snapshot_uuid else 0
    with refused({"at the depth limit": base >= world.limit(item.volume_uuid)}):
        made = world.oracle.restore_as_snapshot(item.uuid, world.name())
        assert (made.parent_uuid, made.distance) == (item.snapshot_uuid, base + 1)


VERBS: dict[str, Verb] = {
    "volume": Verb(3, volume),
    "delete-volume": Verb(2, removing.delete_volume),
    "recover-volume": Verb(3, removing.recover_volume),
    "expunge-volume": Verb(1, removing.expunge_volume),
    "write": Verb(24, write),
    "write-zeros": Verb(3, write_zeros),
    "punch": Verb(4, punch),
    "create": Verb(28, create),
    "revert": Verb(10, revert),
    "update": Verb(1, update),
    "tag": Verb(2, tag),
    "limit": Verb(4, limit),
    "resize": Verb(4, resize),
    "shrink": Verb(4, shrink),
    "flatten": Verb(3, flatten),
    "clone": Verb(4, clone),
    "attach": Verb(2, attach),
    "create-group": Verb(3, create_group),
    "revert-group": Verb(3, revert_group),
    "update-group": Verb(1, removing.update_group),
    "ungroup": Verb(1, removing.ungroup),
    "delete-group": Verb(2, removing.delete_group),
    "restore": Verb(3, restore),
    "keep": Verb(3, keep),
    "purge": Verb(1, removing.purge),
    "delete": Verb(6, removing.delete),
    "delete-several": Verb(4, removing.delete_several),
    "delete-descendants": Verb(1, removing.delete_descendants),
    "undo": Verb(2, removing.undo),
    "import": Verb(1, moving.import_raw),
    "import-chain": Verb(1, moving.import_chain),
    "export": Verb(1, moving.export),
    "diff": Verb(2, moving.diff),
    "sizes": Verb(1, moving.sizes),
    "move-store": Verb(1, moving.move_store),
    "reflinks": Verb(1, moving.reflinks),
}
