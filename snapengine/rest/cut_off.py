"""What became of a call whose process died: as recovery decided it, or as the store tells by what is there."""

import functools
import time
from collections.abc import Callable, Mapping

from snapengine import errors, journal, recovery
from snapengine.engine import Engine
from snapengine.inventory import Snapshot, Struct, Volume
from snapengine.rest import bodies, volume_calls
from snapengine.rest.answers import Reply
from snapengine.rest.bodies import Body
from snapengine.rest.things import At
from snapengine.roster import Group

DONE = "it is done, but what it answers is lost"


class CutOff(errors.Busy):
    """A call was cut off, and is not done, or can't be answered any more."""

    msg = "the operation was cut off: {self.what}; see what is there, then ask again"


def verdict(name: str, request: str, fresh: str) -> Callable[[Engine, At, Body], Reply]:
    """Return what answers for a call that was cut off, in the place of its verb."""
    return functools.partial(_decide, name, request, fresh)


def _decide(name: str, request: str, fresh: str, engine: Engine, at: At, body: Body) -> Reply:
    """Return what the call would have answered, if it is done; CutOff otherwise."""
    outcome = _recovered(engine, request)
    is_done = journal.has_ended(engine.root, request)
    try:
        there = _made(name, fresh, engine, at, body)
        if there is None and is_done and name in _CHANGED:
            there = _CHANGED[name](engine, at)
    except errors.NotFound:
        there = None
    if there is None:
        raise CutOff(what=DONE if is_done else outcome)
    return there


def _recovered(engine: Engine, request: str) -> str:
    """Return what became of the operation of a call, once whoever has its volume now has put that right."""
    deadline = time.monotonic() + engine.wait
    while True:
        recovered = Engine.open(engine.root, wait=engine.wait).recovered
        outcome = next((each.outcome for each in recovered if each.request == request), "it is undone")
        is_left = any(entry.request == request for entry in journal.readable(engine.root))
        if not is_left or outcome.startswith(recovery.LEFT) or time.monotonic() > deadline:
            return outcome
        time.sleep(0.05)


def _made(name: str, fresh: str, engine: Engine, at: At, body: Body) -> Reply | None:
    """Return what the store itself tells of a call by what is there, or gone; None where it tells nothing."""
    if name in _MADE:
        assert isinstance(body, bodies.Tagged)
        return {"inventory": _MADE[name](engine, body, fresh)}
    if name == "recoverDataVolume":
        return {"inventory": engine.get_volume(at["uuid"])}
    if name in _GONE:
        try:
            _GONE[name](engine, at["uuid"])
        except errors.NotFound:
            return {}
    if name in _CALLED:
        assert isinstance(body, bodies.Described)
        found = _CALLED[name](engine, at["uuid"])
        is_so = body.name in (None, found.name) and body.description in (None, found.description)
        return {"inventory": found} if is_so else None
    if name == "changeVolumeState":
        assert isinstance(body, bodies.ChangeState)
        volume = engine.get_volume(at["uuid"])
        return {"inventory": volume} if volume.state == f"{body.state_event.capitalize()}d" else None
    return None


def _snapshot(engine: Engine, body: bodies.Tagged, fresh: str) -> Struct:
    return engine.get_snapshot(body.resource_uuid or fresh)


def _new_volume(engine: Engine, body: bodies.Tagged, fresh: str) -> Struct:
    """Return a new volume; it gets its user tags after it is there, and what has a fresh uuid is nobody else's."""
    return engine.get_volume(body.resource_uuid) if body.resource_uuid else volume_calls.tagged(engine, fresh, body)


def _group(engine: Engine, body: bodies.Tagged, fresh: str) -> Struct:
    return engine.get_group(body.resource_uuid or fresh)


# Calls that make something, which has a uuid that nothing else gets.
_MADE: Mapping[str, Callable[[Engine, bodies.Tagged, str], Struct]] = {
    "createVolumeSnapshot": _snapshot,
    "createVolumeSnapshotGroup": _group,
    "createDataVolume": _new_volume,
    "createDataVolumeFromVolumeSnapshot": _new_volume,
}


# Calls after which something is not there any more.
_GONE: Mapping[str, Callable[[Engine, str], object]] = {
    "deleteVolumeSnapshot": Engine.get_snapshot,
    "deleteDataVolume": Engine.get_volume,
}

# Calls that change how something is called, in one write.
_CALLED: Mapping[str, Callable[[Engine, str], Snapshot | Volume | Group]] = {
    "updateVolumeSnapshot": Engine.get_snapshot,
    "updateVolume": Engine.get_volume,
    "updateVolumeSnapshotGroup": Engine.get_group,
}


def _nothing(engine: Engine, at: At) -> Reply:
    return {}


def _volume(engine: Engine, at: At) -> Reply:
    return {"inventory": engine.get_volume(at["uuid"])}


# What those answer that recovery has finished.
_CHANGED: Mapping[str, Callable[[Engine, At], Reply]] = {
    "revertVolumeFromSnapshot": _nothing,
    "expungeDataVolume": _nothing,
    "ungroupVolumeSnapshotGroup": _nothing,
    "flattenVolume": _volume,
    "undoSnapshotCreation": _volume,
    "resizeRootVolume": _volume,
    "resizeDataVolume": _volume,
}
