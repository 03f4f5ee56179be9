"""The bodies of replies: JSON for what a verb answers and for business errors."""

from collections.abc import Mapping

import msgspec

from snapengine.rest import faults, schema
from snapengine.rest.faults import Fault

Reply = Mapping[str, object]  # the top-level keys of an answer; the values are structs, lists of them, plain values

_encoder = msgspec.json.Encoder(enc_hook=schema.shown)


def document(reply: Reply, with_schema: bool = False) -> bytes:
    """Return a reply as JSON, with its schema map if that is asked for."""
    return _encoder.encode({**reply, "schema": schema.of(reply)} if with_schema else reply)


def fault(told: Fault) -> bytes:
    """Return an error as JSON."""
    return _encoder.encode(faults.Envelope(error=told))
