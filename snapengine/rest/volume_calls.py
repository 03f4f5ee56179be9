"""The calls that change volumes, each by one verb of the engine; they run in a worker."""

from contextlib import suppress

from snapengine import errors
from snapengine.engine import Engine
from snapengine.inventory import State, Volume
from snapengine.rest import bodies, faults
from snapengine.rest.answers import Reply
from snapengine.rest.things import At

FAST = "volume::fastCreate"  # the system tag by which a volume made of a snapshot stands on it


def create_data(engine: Engine, at: At, body: bodies.CreateDataVolume) -> Reply:
    """Create an empty data volume for the caller's account."""
    made = engine.create_volume(
        body.name,
        body.disk_size,
        "Data",
        account=at["account"],
        uuid=body.resource_uuid,
        description=body.description,
        tags=body.system_tags or (),
    )
    return {"inventory": tagged(engine, made.uuid, body)}


def create_from_snapshot(engine: Engine, at: At, body: bodies.Tagged) -> Reply:
    """Create a data volume of what a snapshot froze: a copy; with the tag volume::fastCreate one that stands on it."""
    tags = body.system_tags or ()
    made = engine.clone_volume(
        at["volumeSnapshotUuid"],
        body.name,
        linked=FAST in tags,
        uuid=body.resource_uuid,
        description=body.description,
        tags=tags,
    )
    return {"inventory": tagged(engine, made.uuid, body)}


def tagged(engine: Engine, volume: str, body: bodies.Tagged) -> Volume:
    """Give a new volume its user tags, unless it has them, and return it."""
    for tag in body.user_tags or ():
        engine.add_tag(volume, tag, user=True)
    return engine.get_volume(volume)


def update(engine: Engine, at: At, body: bodies.Described) -> Reply:
    """Change a volume's name or description."""
    return {"inventory": engine.update_volume(at["uuid"], name=body.name, description=body.description)}


def undo(engine: Engine, at: At, body: bodies.Undo) -> Reply:
    """Take back the latest snapshot as if it had never been made."""
    engine.undo_snapshot(at["uuid"], expected=body.snapshot_uuid)
    return {"inventory": engine.get_volume(at["uuid"])}


def flatten(engine: Engine, at: At, body: bodies.Flatten) -> Reply:
    """Let the volume stand on nothing; or tell how many bytes that would take."""
    if body.dry_run:
        return {"size": engine.preview_flatten(at["uuid"]).bytes}
    try:
        return {"inventory": engine.flatten_volume(at["uuid"])}
    except (errors.CommandFailed, errors.Corrupt) as e:
        raise faults.NotFlattened(cause=e) from e


def remove(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Delete a volume, whose files stay until it is expunged; one that is unknown is deleted already."""
    try:
        with suppress(errors.NotFound):
            engine.delete_volumes((at["uuid"],))
    except errors.Error as e:
        raise faults.NotDeleted(cause=e) from e
    return {}


def recover(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Bring a deleted volume back."""
    return {"inventory": engine.recover_volume(at["uuid"])}


def expunge(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Remove a deleted volume for good."""
    engine.expunge_volume(at["uuid"])
    return {}


def change_state(engine: Engine, at: At, body: bodies.ChangeState) -> Reply:
    """Enable or disable a volume."""
    state: State = "Enabled" if body.state_event == "enable" else "Disabled"
    return {"inventory": engine.set_volume_state(at["uuid"], state)}


def sync_size(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Tell a volume's sizes, which are read from its image anew each time."""
    return {"inventory": engine.get_volume(at["uuid"])}


def resize_root(engine: Engine, at: At, body: bodies.Resize) -> Reply:
    """Let a root volume grow."""
    return _resize(engine, at["uuid"], "Root", body.size)


def resize_data(engine: Engine, at: At, body: bodies.Resize) -> Reply:
    """Let a data volume grow."""
    return _resize(engine, at["uuid"], "Data", body.size)


def _resize(engine: Engine, uuid: str, wanted: str, size: int) -> Reply:
    found = engine.get_volume(uuid).type
    if found != wanted:
        raise errors.Conflict(what=f"volume {uuid} is a {found} volume; use the call for those")
    return {"inventory": engine.resize_volume(uuid, size)}


def attach(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Note that a VM uses a volume."""
    return {"inventory": engine.attach_volume(at["volumeUuid"], at["vmInstanceUuid"])}


def detach(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Note that no VM uses a volume any more."""
    vm = at.get("vmInstanceUuid")
    if vm is not None and engine.get_volume(at["uuid"]).vm_instance_uuid not in (vm, None):
        raise errors.Conflict(what=f"volume {at['uuid']} is not attached to VM {vm}")
    return {"inventory": engine.detach_volume(at["uuid"])}
