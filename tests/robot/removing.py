"""The robot's verbs that remove something."""

from snapengine.cost import Direction
from snapengine.errors import Conflict
from tests.robot.world import Nothing, World, at, refused

DIRECTIONS: tuple[Direction, ...] = ("auto", "pull", "commit")
PROTECTED = "base of linked clones"
IN_TRASH = "lies in the trash"
NO_COMMIT = "can't be committed"


def delete(world: World, a: int, b: int, c: int) -> None:
    """Delete a snapshot in one direction."""
    snapshot, direction = world.snapshot(a), DIRECTIONS[b % 3]
    held, on = world.oracle.expected, world.on(snapshot)
    is_larger = any(len(held[snapshot.uuid]) > len(held[each]) for each in on)
    no_commit = direction == "commit" and (len(on) > 1 or is_larger)
    with refused({PROTECTED: snapshot.uuid in world.bases(), NO_COMMIT: no_commit}):
        world.oracle.delete(snapshot.uuid, direction=direction)


def delete_several(world: World, a: int, b: int, c: int) -> None:
    """
    Delete some snapshots of one volume: each may stay, with a reason, where clones stand on it or a commit can't be.

    Every third time all but one are deleted, every third time about half of them, else few.
    """
    volume = world.volume(a)
    listed = [snapshot.uuid for snapshot in world.snapshots(volume)]
    bits = (b, ~(1 << b % max(1, len(listed))), b & c >> 3)[c % 3]
    chosen = [uuid for place, uuid in enumerate(listed) if bits >> place & 1]
    if not chosen:
        raise Nothing("no snapshot was chosen")
    protected, direction = world.bases() & {*chosen}, DIRECTIONS[c // 3 % 3]
    with refused({PROTECTED: protected == {*chosen}}):
        try:
            failed = world.oracle.delete_some(*chosen, direction=direction)
        except Conflict as e:
            if protected == {*chosen}:
                raise
            assert direction == "commit" and NO_COMMIT in str(e), str(e)
            raise Nothing(f"refused: {NO_COMMIT}") from e
        assert protected <= set(failed)
        for uuid, why in failed.items():
            assert (PROTECTED if uuid in protected else NO_COMMIT) in why
            assert uuid in protected or direction == "commit"


def delete_descendants(world: World, a: int, b: int, c: int) -> None:
    """Delete a snapshot with all that stands on it."""
    snapshot = world.snapshot(a)
    with refused({PROTECTED: bool(world.oracle.above(snapshot.uuid) & world.bases())}):
        world.oracle.delete(snapshot.uuid, descendants=True)


def undo(world: World, a: int, b: int, c: int) -> None:
    """Take back a volume's latest snapshot."""
    volume = world.volume(a)
    latest = next((s for s in world.snapshots(volume) if volume in world.on(s)), None)
    others = latest is not None and world.on(latest) != [volume]
    is_base = latest is not None and latest.uuid in world.bases()
    with refused({"stands on no snapshot": latest is None, "stands on it": others, PROTECTED: is_base}):
        world.oracle.undo(volume)


def delete_group(world: World, a: int, b: int, c: int) -> None:
    """Delete a group with its snapshots, of which those stay that clones stand on."""
    group = world.group(a)
    refs = world.engine.get_group(group).volume_snapshot_refs
    left = {ref.volume_snapshot_uuid for ref in refs if not ref.snapshot_deleted}
    protected = left & world.bases()
    in_trash = any(ref.volume_uuid in world.deleted() for ref in refs)
    with refused({IN_TRASH: in_trash, PROTECTED: bool(protected) and protected == left}):
        gone = world.oracle.delete_group(group)
        assert gone == [ref.volume_snapshot_uuid not in protected for ref in refs]
        assert any(group == found.uuid for found in world.engine.list_groups()) == bool(protected)


def ungroup(world: World, a: int, b: int, c: int) -> None:
    """Forget a group."""
    group = world.group(a)
    refs = world.engine.get_group(group).volume_snapshot_refs
    with refused({IN_TRASH: any(ref.volume_uuid in world.deleted() for ref in refs)}):
        world.engine.ungroup(group)


def update_group(world: World, a: int, b: int, c: int) -> None:
    """Give a group another name."""
    name = world.name()
    assert world.engine.update_group(world.group(a), name=name).name == name


def purge(world: World, a: int, b: int, c: int) -> None:
    """Purge a trash item, or all of them."""
    items = world.items() if a % 4 == 0 else [world.item(b)]
    gone = world.engine.purge_trash(tuple(items))
    assert {item.uuid for item in gone} == {item.uuid for item in items}
    for item in items:
        del world.oracle.expected[item.uuid]


def delete_volume(world: World, a: int, b: int, c: int) -> None:
    """Delete a volume."""
    volume = world.volume(a)
    protected = world.bases() & {snapshot.uuid for snapshot in world.snapshots(volume)}
    is_attached = world.engine.get_volume(volume).vm_instance_uuid is not None
    with refused({"is attached to": is_attached, PROTECTED: bool(protected)}):
        world.oracle.delete_volumes(volume)


def recover_volume(world: World, a: int, b: int, c: int) -> None:
    """Bring a deleted volume back."""
    world.oracle.recover_volume(at(world.deleted(), a))


def expunge_volume(world: World, a: int, b: int, c: int) -> None:
    """Remove a deleted volume for good."""
    world.oracle.expunge_volume(at(world.deleted(), a))
