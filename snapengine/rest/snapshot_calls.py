"""The calls that change snapshots (contract, sections 1 and 3), each by one verb of the engine, in a worker."""

from collections.abc import Iterator

from snapengine import delete, errors
from snapengine.engine import Engine
from snapengine.inventory import Snapshot
from snapengine.rest import bodies, faults
from snapengine.rest.answers import Reply
from snapengine.rest.things import At


def create(engine: Engine, at: At, body: bodies.Tagged) -> Reply:
    """Create a snapshot of a volume."""
    made = engine.create_snapshot(
        at["volumeUuid"],
        body.name,
        description=body.description,
        uuid=body.resource_uuid,
        system_tags=body.system_tags or (),
        user_tags=body.user_tags or (),
    )
    return {"inventory": made}


def update(engine: Engine, at: At, body: bodies.Described) -> Reply:
    """Change a snapshot's name or description."""
    return {"inventory": engine.update_snapshot(at["uuid"], name=body.name, description=body.description)}


def revert(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Take the volume back to a snapshot."""
    engine.revert(at["uuid"])
    return {}


def size(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Tell a snapshot's virtual and allocated size."""
    found = engine.snapshot_sizes(at["uuid"])
    return {"size": found.size, "actualSize": found.actual_size}


def shrink(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Give back what a snapshot's image takes for zeros."""
    return {"shrinkResult": engine.shrink_snapshot(at["uuid"])}


def remove(engine: Engine, at: At, body: bodies.DeleteSnapshot) -> Reply:
    """Delete a snapshot, by default with its descendants; one that is unknown is deleted already."""
    try:
        results = engine.delete_snapshots(
            (at["uuid"],), descendants=body.scope != "single", direction=body.direction or "auto"
        )
    except errors.NotFound:
        return {}
    except errors.Error as e:
        raise faults.NotDeleted(cause=e) from e
    for result in results:
        if result.error is not None:  # with a single one that can't be: the engine raises it
            raise faults.NotDeleted(cause=errors.Conflict(what=result.error.details))
    return {}


def remove_several(engine: Engine, at: At, body: bodies.BatchDelete) -> Reply:
    """Delete snapshots of one volume, each without its descendants; those that are unknown are deleted already."""
    wanted = tuple(dict.fromkeys(body.uuids))
    results = {uuid: delete.Deleted(snapshot_uuid=uuid, success=True) for uuid in wanted}
    there = {snapshot.uuid: snapshot.volume_uuid for snapshot in known(engine, wanted)}
    if len(set(there.values())) > 1:
        raise errors.Invalid(what="the snapshots are of several volumes; delete those of one volume at a time")
    try:
        results |= {result.snapshot_uuid: result for result in engine.delete_snapshots(tuple(there))}
    except errors.Error as e:  # none of them went
        if len(there) == len(wanted):
            raise faults.BatchNotDeleted(cause=e) from e
        results |= {uuid: delete.failure(uuid, e) for uuid in there}
    return {"results": list(results.values())}


def known(engine: Engine, wanted: tuple[str, ...]) -> Iterator[Snapshot]:
    """Give those of the snapshots wanted that are there."""
    for uuid in wanted:
        try:
            yield engine.get_snapshot(uuid)
        except errors.NotFound:
            continue
