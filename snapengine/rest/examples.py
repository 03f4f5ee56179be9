"""Real requests and their replies, as docs/make_rest.py recorded them: what the API's description shows as examples."""

import functools
from pathlib import Path
from typing import Any

import msgspec


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """A request below /zstack/v1, without its Authorization, and the reply; call is the name of what was called."""

    call: str
    chapter: str
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    status: int
    reply: Any


@functools.cache
def recorded() -> tuple[Example, ...]:
    """Return all examples, in the order in which they were recorded."""
    return msgspec.json.decode(Path(__file__).with_suffix(".json").read_bytes(), type=tuple[Example, ...])
