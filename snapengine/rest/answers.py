"""The bodies of replies: JSON for what a verb answers and for business errors."""

from collections.abc import Mapping, Sequence

import msgspec

from snapengine.rest import faults, schema
from snapengine.rest.faults import Fault
from snapengine.rest.pace import Pace

Reply = Mapping[str, object]  # the top-level keys of an answer; the values are structs, lists of them, plain values

_encoder = msgspec.json.Encoder(enc_hook=schema.shown)


def document(reply: Reply, with_schema: bool = False) -> bytes:
    """Return a reply as JSON, with its schema map if that is asked for."""
    return _encoder.encode({**reply, "schema": dict(schema.of(reply))} if with_schema else reply)


async def paced(reply: Reply, with_schema: bool, pace: Pace) -> bytes:
    """Return a reply that may be long as document() does."""
    whole = {key: await _encoded(value, pace) if isinstance(value, list) else value for key, value in reply.items()}
    if with_schema:
        whole["schema"] = {path: name async for path, name in pace.through(schema.of(reply))}
    return _encoder.encode(whole)


async def _encoded(values: Sequence[object], pace: Pace) -> list[msgspec.Raw]:
    return [msgspec.Raw(_encoder.encode(value)) async for value in pace.through(values)]


def fault(told: Fault) -> bytes:
    """Return an error as JSON."""
    return _encoder.encode(faults.Envelope(error=told))
