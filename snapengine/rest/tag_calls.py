"""The calls that give objects tags and take them away, each by one verb of the engine; they run in a worker."""

from collections.abc import Sequence
from contextlib import suppress

from snapengine import errors
from snapengine.engine import Engine
from snapengine.rest import bodies
from snapengine.rest.answers import Reply
from snapengine.rest.things import At
from snapengine.tag import Tag


def create_system(engine: Engine, at: At, body: bodies.CreateTag) -> Reply:
    """Give a volume or snapshot a system tag; a depth limit takes the place of another one, and works at once."""
    return _created(engine, body, user=False)


def create_user(engine: Engine, at: At, body: bodies.CreateTag) -> Reply:
    """Give a volume or snapshot a user tag."""
    return _created(engine, body, user=True)


def _created(engine: Engine, body: bodies.CreateTag, user: bool) -> Reply:
    return {"inventory": given(engine.add_tag(body.resource_uuid, body.tag, user=user), body, user)}


def given(tags: Sequence[Tag], body: bodies.CreateTag, user: bool) -> Tag | None:
    """Return that one of an object's tags which a call gives it; None where it has it not."""
    wanted = (body.tag, "User" if user else "System")
    return next((each for each in tags if (each.tag, each.type) == wanted), None)


def remove(engine: Engine, at: At, body: bodies.Body) -> Reply:
    """Take a tag away; one that is unknown is gone already."""
    for each in engine.list_tags():
        if each.uuid == at["uuid"]:
            with suppress(errors.NotFound):
                engine.remove_tag(each.resource_uuid, each.tag, type=each.type)
    return {}
