"""The calls that change groups, each by one verb of the engine; they run in a worker."""

from snapengine import errors, layout
from snapengine.engine import Engine
from snapengine.inventory import Struct
from snapengine.rest import bodies, faults
from snapengine.rest.answers import Reply
from snapengine.rest.things import At


class Reverted(Struct, frozen=True, kw_only=True):
    """What became of one member of a group that was reverted to; all are taken back, or none."""

    snapshot_uuid: str
    volume_uuid: str
    success: bool


def create(engine: Engine, at: At, body: bodies.CreateGroup) -> Reply:
    """
    Snapshot all volumes of the VM that a root volume is attached to; without a VM that volume alone.

    Whoever attaches a volume to a VM that has another account's may not freeze that one.
    """
    root = engine.get_volume(body.root_volume_uuid)
    vm = root.vm_instance_uuid
    alone = (root.uuid,) if vm is None else ()
    only = None if at["account"] == layout.ADMIN else at["account"]
    return {
        "inventory": engine.create_group(
            body.name, alone, vm=vm, description=body.description, uuid=body.resource_uuid, only=only
        )
    }


def update(engine: Engine, at: At, body: bodies.Described) -> Reply:
    """Change a group's name or description."""
    return {"inventory": engine.update_group(at["uuid"], name=body.name, description=body.description)}


def revert(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Take all volumes of a group back to it, or none."""
    told = reverted(engine, at)
    engine.revert_group(at["uuid"])
    return told


def reverted(engine: Engine, at: At) -> Reply:
    """Return what a revert to a group answers once it is done."""
    refs = engine.get_group(at["uuid"]).volume_snapshot_refs
    return {
        "results": [
            Reverted(snapshot_uuid=ref.volume_snapshot_uuid, volume_uuid=ref.volume_uuid, success=True) for ref in refs
        ]
    }


def remove(engine: Engine, at: At, body: bodies.DeleteSnapshot) -> Reply:
    """Delete the snapshots of a group, and the group once all are gone; one that is unknown is deleted already."""
    try:
        return {"results": engine.delete_group(at["uuid"], direction=body.direction or "auto")}
    except errors.NotFound:
        return {"results": ()}
    except errors.Error as e:
        raise faults.NotDeleted(cause=e) from e


def ungroup(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Forget a group; its snapshots stay."""
    engine.ungroup(at["uuid"])
    return {}
