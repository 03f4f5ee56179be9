"""A request as it comes in: its body read within bounds, and taken apart into the call that it means."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar, get_args

import msgspec
from starlette.requests import Request

from snapengine import errors
from snapengine.rest import target
from snapengine.rest.bodies import Body, Tagged
from snapengine.rest.faults import Malformed
from snapengine.rest.routes import Call, Match

MAX_BODY = 2**20  # bytes
AT_THE_DOOR = 2**14  # bytes of a body from somebody unknown, of whom there may be thousands at once
Raw = Mapping[str, msgspec.Raw]
Some = TypeVar("Some", bound=Body)
_CHOSEN = re.compile(r"^Invalid enum value .* - at `\$\.(\w+)`$", re.DOTALL)  # as msgspec tells it


async def body(request: Request, seconds: float, most: int = MAX_BODY) -> bytes:
    """
    Return the body, of most bytes at most.

    Raises Malformed (413) for a larger one, (408) for a sender that takes more than so many seconds.
    """
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said[:20]) > most:
        raise Malformed(413, f"the body is larger than {most} bytes")
    found = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for piece in request.stream():
                found += piece
                if len(found) > most:
                    raise Malformed(413, f"the body is larger than {most} bytes")
    except TimeoutError as e:
        raise Malformed(408, "the body did not come in time") from e
    return bytes(found)


def meant(match: Match, raw: bytes, parameters: Sequence[tuple[str, str]]) -> tuple[Call, Body]:
    """
    Return the call that a request means, and its body.

    Raises Malformed (400) for what is no JSON object or has no action's key, Invalid for fields of a wrong type.
    """
    if all(call.key is None for call in match.calls):
        return match.calls[0], _converted({k: v for k, v in parameters if v != ""}, match.calls[0].body)
    said = _object(raw)
    for call in match.calls:
        if (inner := said.get(call.key or "")) is not None:
            return call, _with_tags(_decoded(inner, call.body), raw)
    keys = ", ".join(f"'{call.key}'" for call in match.calls)
    raise Malformed(400, f"the body has no key of an action; one of {keys} is needed")


def _object(raw: bytes) -> Raw:
    try:
        return msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Malformed(400, f"the body is no JSON object: {_said(e)}") from e


def _decoded(raw: bytes | msgspec.Raw, kind: type[Some]) -> Some:
    try:
        return _converted({}, kind) if bytes(raw) == b"null" else msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as e:
        raise _wrong(e, kind) from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Malformed(400, f"the body is no JSON: {_said(e)}") from e


def _converted(said: Mapping[str, str], kind: type[Some]) -> Some:
    try:
        return msgspec.convert(said, kind, strict=False)
    except msgspec.ValidationError as e:
        raise _wrong(e, kind) from e


def _wrong(e: msgspec.ValidationError, kind: type[Body]) -> errors.Invalid:
    """Return what is told of a field of a wrong type; of one that takes one of a few words, also which."""
    at = _CHOSEN.search(str(e))
    types = [get_args(field.type) for field in msgspec.structs.fields(kind) if at and field.encode_name == at[1]]
    words = [repr(word) for word in sum(types, ()) if word]
    return errors.Invalid(what=f"{e}; give {' or '.join(words)}" if words else str(e))


def _with_tags(body: Body, raw: bytes) -> Body:
    """Return a body with the tags that stand beside it too."""
    if not isinstance(body, Tagged):
        return body
    beside = _decoded(raw, _Tags)
    return msgspec.structs.replace(
        body,
        system_tags=tuple(dict.fromkeys((*(body.system_tags or ()), *(beside.system_tags or ())))),
        user_tags=tuple(dict.fromkeys((*(body.user_tags or ()), *(beside.user_tags or ())))),
    )


class _Tags(Body, frozen=True, kw_only=True):
    system_tags: tuple[str, ...] | None = None
    user_tags: tuple[str, ...] | None = None


def _said(e: Exception) -> str:
    return "it is nested too deeply" if isinstance(e, RecursionError) else str(e)


def segments(request: Request) -> tuple[str, ...] | None:
    """Return the path's segments below the base, None for another path; Malformed for what is no UTF-8."""
    return target.path(raw_path(request).encode("latin-1"))


def raw_path(request: Request) -> str:
    """Return the path as it was sent, nothing decoded."""
    raw = request.scope.get("raw_path") or request.scope["path"].encode()
    return bytes(raw).partition(b"?")[0].decode("latin-1")


def parameters(request: Request) -> tuple[tuple[str, str], ...]:
    """Return the query's parameters."""
    return target.parameters(bytes(request.scope["query_string"]))
