"""What became of a call whose process died: as recovery decided it, or as the store tells by what is there."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

from snapengine import delete, errors, journal
from snapengine.engine import Engine
from snapengine.inventory import Snapshot, Struct, Volume
from snapengine.rest import bodies, group_calls, snapshot_calls, tag_calls, volume_calls
from snapengine.rest.answers import Reply
from snapengine.rest.bodies import Body
from snapengine.rest.things import At
from snapengine.roster import Group
from snapengine.shrinking import Shrunk

DONE = "it is done, but what it answers is lost"
NOTHING = "nothing was deleted"
NOT_THIS = "this snapshot was not deleted"


class CutOff(errors.Busy):
    """A call was cut off, and is not done, or can't be answered any more."""

    msg = "the operation was cut off: {self.what}; see what is there, then ask again"


def verdict(name: str, request: str, fresh: str) -> Callable[[Engine, At, Body], Reply]:
    """Return what answers for a call that was cut off, in the place of its verb."""
    return functools.partial(_decide, name, request, fresh)


def _decide(name: str, request: str, fresh: str, engine: Engine, at: At, body: Any) -> Reply:
    """Return what the call would have answered, if it is done; CutOff otherwise."""
    outcome = _recovered(engine, request)
    is_done = journal.has_ended(engine.root, request)
    try:
        if name in _MADE and (is_done or body.resource_uuid is None):
            return {"inventory": _MADE[name](engine, body, fresh)}
        if name in _TOLD and (told := _TOLD[name](engine, at, body)) is not None:
            return told
        if is_done and name in _CHANGED:
            return _CHANGED[name](engine, at, request)
    except errors.NotFound:
        pass
    raise CutOff(what=DONE if is_done else outcome)


def _recovered(engine: Engine, request: str) -> str:
    """
    Return what became of the operation of a call, once whoever has its volume now has put that right.

    What keeps recovery from it, such as a tool of the dead process that still holds an image, may pass: as long as the
    entry is there nothing is decided.
    """
    deadline = time.monotonic() + engine.wait
    while True:
        recovered = Engine.open(engine.root, wait=engine.wait).recovered
        outcome = next((each.outcome for each in recovered if each.request == request), "it is undone")
        is_left = any(entry.request == request for entry in journal.readable(engine.root))
        if not is_left or time.monotonic() > deadline:
            return outcome
        time.sleep(0.05)


def _snapshot(engine: Engine, body: bodies.Tagged, fresh: str) -> Struct:
    return engine.get_snapshot(body.resource_uuid or fresh)


def _new_volume(engine: Engine, body: bodies.Tagged, fresh: str) -> Struct:
    """Return a new volume; it gets its user tags after it is there."""
    return volume_calls.tagged(engine, body.resource_uuid or fresh, body)


def _group(engine: Engine, body: bodies.Tagged, fresh: str) -> Struct:
    return engine.get_group(body.resource_uuid or fresh)


# Calls that make something. A fresh uuid nothing else gets; one that a client gave another object may have had before.
_MADE: Mapping[str, Callable[[Engine, Any, str], Struct]] = {
    "createVolumeSnapshot": _snapshot,
    "createVolumeSnapshotGroup": _group,
    "createDataVolume": _new_volume,
    "createDataVolumeFromVolumeSnapshot": _new_volume,
}

Told = Callable[[Engine, At, Any], Reply | None]


def _gone(get: Callable[[Engine, str], object]) -> Told:
    def told(engine: Engine, at: At, body: Body) -> Reply | None:
        try:
            get(engine, at["uuid"])
        except errors.NotFound:
            return {}
        return None

    return told


def _batch(engine: Engine, at: At, body: bodies.BatchDelete) -> Reply:
    wanted = tuple(dict.fromkeys(body.uuids))
    left = {snapshot.uuid for snapshot in snapshot_calls.known(engine, wanted)}
    return _deleted(wanted, left)


def _deleted(wanted: tuple[str, ...], left: set[str]) -> Reply:
    """Return the results of a deletion of several snapshots, of which some are left; CutOff where all are."""
    if len(left) == len(wanted) > 0:
        raise CutOff(what=NOTHING)
    results = {uuid: delete.Deleted(snapshot_uuid=uuid, success=True) for uuid in wanted}
    results |= {uuid: delete.failure(uuid, CutOff(what=NOT_THIS)) for uuid in left}
    return {"results": [*results.values()]}


def _group_deleted(engine: Engine, at: At, body: bodies.DeleteSnapshot) -> Reply:
    """Return the results of a group's deletion, by which of its snapshots are left; the group goes with the last."""
    try:
        refs = engine.get_group(at["uuid"]).volume_snapshot_refs
    except errors.NotFound:
        return {"results": ()}
    left = {ref.volume_snapshot_uuid for ref in refs if not ref.snapshot_deleted}
    if not left:
        return group_calls.remove(engine, at, body)
    return _deleted(tuple(ref.volume_snapshot_uuid for ref in refs), left)


def _called(get: Callable[[Engine, str], Snapshot | Volume | Group]) -> Told:
    def told(engine: Engine, at: At, body: bodies.Described) -> Reply | None:
        found = get(engine, at["uuid"])
        is_so = body.name in (None, found.name) and body.description in (None, found.description)
        return {"inventory": found} if is_so else None

    return told


def _volume(engine: Engine, at: At) -> Reply:
    return {"inventory": engine.get_volume(at["uuid"])}


def _recovered_volume(engine: Engine, at: At, body: Body) -> Reply:
    return _volume(engine, at)


def _state(engine: Engine, at: At, body: bodies.ChangeState) -> Reply | None:
    is_so = engine.get_volume(at["uuid"]).state == f"{body.state_event.capitalize()}d"
    return _volume(engine, at) if is_so else None


def _resized(engine: Engine, at: At, body: bodies.Resize) -> Reply | None:
    return _volume(engine, at) if engine.get_volume(at["uuid"]).size == body.size else None


def _attached(engine: Engine, at: At, body: Body) -> Reply | None:
    own = (volume for volume in engine.vm_volumes(at["vmInstanceUuid"]) if volume.uuid == at["volumeUuid"])
    found = next(own, None)
    return None if found is None else {"inventory": found}


def _detached(engine: Engine, at: At, body: Body) -> Reply | None:
    return _volume(engine, at) if engine.get_volume(at["uuid"]).vm_instance_uuid is None else None


def _flattened(engine: Engine, at: At, body: bodies.Flatten) -> Reply | None:
    return volume_calls.flatten(engine, at, body) if body.dry_run else None


def _tagged(user: bool) -> Told:
    def told(engine: Engine, at: At, body: bodies.CreateTag) -> Reply | None:
        found = tag_calls.given(engine.list_tags(body.resource_uuid), body, user)
        return None if found is None else {"inventory": found}

    return told


def _untagged(engine: Engine, at: At, body: Body) -> Reply | None:
    return None if any(each.uuid == at["uuid"] for each in engine.list_tags()) else {}


# Calls of which the store tells by what it holds; those that change nothing are made again.
_TOLD: Mapping[str, Told] = {
    "deleteVolumeSnapshot": _gone(Engine.get_snapshot),
    "batchDeleteVolumeSnapshot": _batch,
    "deleteVolumeSnapshotGroup": _group_deleted,
    "deleteDataVolume": _gone(Engine.get_volume),
    "recoverDataVolume": _recovered_volume,
    "updateVolumeSnapshot": _called(Engine.get_snapshot),
    "updateVolume": _called(Engine.get_volume),
    "updateVolumeSnapshotGroup": _called(Engine.get_group),
    "changeVolumeState": _state,
    "resizeRootVolume": _resized,
    "resizeDataVolume": _resized,
    "attachDataVolumeToVm": _attached,
    "detachDataVolumeFromVm": _detached,
    "detachDataVolumeFromNamedVm": _detached,
    "createSystemTag": _tagged(user=False),
    "createUserTag": _tagged(user=True),
    "deleteTag": _untagged,
    "deleteSystemTag": _untagged,
    "deleteUserTag": _untagged,
    "flattenVolume": _flattened,
    "syncVolumeSize": volume_calls.sync_size,
    "getVolumeSnapshotSize": snapshot_calls.size,
}


def _nothing(engine: Engine, at: At, request: str) -> Reply:
    return {}


def _changed(engine: Engine, at: At, request: str) -> Reply:
    return _volume(engine, at)


def _reverted(engine: Engine, at: At, request: str) -> Reply:
    return group_calls.reverted(engine, at)


def _shrunk(engine: Engine, at: At, request: str) -> Reply:
    """Return what a shrink gave back: its entry in the journal says what the image took before."""
    before, now = journal.ended(engine.root, request).allocated or 0, engine.snapshot_sizes(at["uuid"]).actual_size
    return {"shrinkResult": Shrunk(old_size=before, size=now, delta_size=max(before - now, 0))}


# What those answer that recovery has finished.
_CHANGED: Mapping[str, Callable[[Engine, At, str], Reply]] = {
    "revertVolumeFromSnapshot": _nothing,
    "revertVmFromSnapshotGroup": _reverted,
    "shrinkVolumeSnapshot": _shrunk,
    "expungeDataVolume": _nothing,
    "ungroupVolumeSnapshotGroup": _nothing,
    "flattenVolume": _changed,
    "undoSnapshotCreation": _changed,
    "resizeRootVolume": _changed,
    "resizeDataVolume": _changed,
}
