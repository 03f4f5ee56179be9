"""What became of a call whose process died: as recovery decided it, or as the store tells by what is there."""

import functools
from collections.abc import Callable, Mapping

from snapengine import errors, settle
from snapengine.engine import Engine
from snapengine.rest import bodies
from snapengine.rest.answers import Reply
from snapengine.rest.bodies import Body
from snapengine.rest.things import At


class CutOff(errors.Busy):
    """A call was cut off, and is not done."""

    msg = "the operation was cut off: {self.what}; see what is there, then ask again"


def verdict(name: str, request: str) -> Callable[[Engine, At, Body], Reply]:
    """Return what answers for a call that was cut off, in the place of its verb."""
    return functools.partial(_decide, name, request)


def _decide(name: str, request: str, engine: Engine, at: At, body: Body) -> Reply:
    """Return what the call would have answered, if it is done; CutOff otherwise."""
    opened = Engine.open(engine.root, wait=engine.wait)
    outcome = next((each.outcome for each in opened.recovered if each.request == request), "it is undone")
    try:
        there = _MADE[name](engine, at, body) if name in _MADE else None
    except errors.NotFound:
        there = None
    if there is None and outcome == settle.FINISHED and name in _CHANGED:
        there = _CHANGED[name](engine, at)
    if there is None:
        raise CutOff(what=outcome)
    return there


def _made_snapshot(engine: Engine, at: At, body: Body) -> Reply | None:
    assert isinstance(body, bodies.Tagged)
    return {"inventory": engine.get_snapshot(body.resource_uuid)} if body.resource_uuid else None


def _made_volume(engine: Engine, at: At, body: Body) -> Reply | None:
    assert isinstance(body, bodies.Tagged)
    return {"inventory": engine.get_volume(body.resource_uuid)} if body.resource_uuid else None


def _gone(engine: Engine, at: At, body: Body) -> Reply | None:
    try:
        engine.get_snapshot(at["uuid"])
    except errors.NotFound:
        return {}
    return None


# Calls of which the store itself tells whether they are done: what they make has a uuid that nothing else gets.
_MADE: Mapping[str, Callable[[Engine, At, Body], Reply | None]] = {
    "createVolumeSnapshot": _made_snapshot,
    "createDataVolume": _made_volume,
    "createDataVolumeFromVolumeSnapshot": _made_volume,
    "deleteVolumeSnapshot": _gone,
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
