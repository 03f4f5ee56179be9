"""What became of a call whose process died: as recovery decided it, or as the store tells by what is there."""

import functools
from collections.abc import Callable, Mapping

from snapengine import errors, settle
from snapengine.engine import Engine
from snapengine.inventory import Struct
from snapengine.rest import bodies, volume_calls
from snapengine.rest.answers import Reply
from snapengine.rest.bodies import Body
from snapengine.rest.things import At


class CutOff(errors.Busy):
    """A call was cut off, and is not done."""

    msg = "the operation was cut off: {self.what}; see what is there, then ask again"


def verdict(name: str, request: str, fresh: str) -> Callable[[Engine, At, Body], Reply]:
    """Return what answers for a call that was cut off, in the place of its verb."""
    return functools.partial(_decide, name, request, fresh)


def _decide(name: str, request: str, fresh: str, engine: Engine, at: At, body: Body) -> Reply:
    """Return what the call would have answered, if it is done; CutOff otherwise."""
    opened = Engine.open(engine.root, wait=engine.wait)
    outcome = next((each.outcome for each in opened.recovered if each.request == request), "it is undone")
    try:
        there = _made(name, fresh, engine, at, body)
    except errors.NotFound:
        there = None
    if there is None and outcome == settle.FINISHED and name in _CHANGED:
        there = _CHANGED[name](engine, at)
    if there is None:
        raise CutOff(what=outcome)
    return there


def _made(name: str, fresh: str, engine: Engine, at: At, body: Body) -> Reply | None:
    """Return what the store itself tells of a call by what is there, or gone; None where it tells nothing."""
    if name in _MADE:
        assert isinstance(body, bodies.Tagged)
        return {"inventory": _MADE[name](engine, body, fresh)}
    if name == "deleteVolumeSnapshot":
        try:
            engine.get_snapshot(at["uuid"])
        except errors.NotFound:
            return {}
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


def _nothing(engine: Engine, at: At) -> Reply:
    return {}


def _volume(engine: Engine, at: At) -> Reply:
    return {"inventory": engine.get_volume(at["uuid"])}


# What those answer that recovery has finished.
_CHANGED: Mapping[str, Callable[[Engine, At], Reply]] = {
    "revertVolumeFromSnapshot": _nothing,
    "expungeDataVolume": _nothing,
    "flattenVolume": _volume,
    "undoSnapshotCreation": _volume,
    "resizeRootVolume": _volume,
    "resizeDataVolume": _volume,
}
