"""
The target of a request, its path and its query, as bytes on the wire; and how odd clients write them. Pure.

A plus and %20 are a space. The query begins at the first `?`; later ones are data, as old clients leave them bare.
"""

from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from snapengine.rest.faults import Malformed

BASE = "/zstack"  # what the paths that are signed do without
PREFIX = f"{BASE}/v1"


def text(raw: bytes) -> str:
    """Return what percent-encoded bytes say; Malformed for what is no UTF-8."""
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError as e:
        raise Malformed(400, "the URL is not valid UTF-8") from e


def path(raw: bytes) -> tuple[str, ...] | None:
    """
    Return the segments of a path below PREFIX, None for one that does not lie there.

    They are taken apart before they are decoded, so an encoded slash stays in its segment.
    """
    segments = [text(part) for part in raw.split(b"/")]
    if segments[:3] != PREFIX.split("/"):
        return None
    found = segments[3:]
    return tuple(found[:-1] if found and not found[-1] else found)


def parameters(raw: bytes) -> tuple[tuple[str, str], ...]:
    """Return the query's parameters in their order; one without `=` has an empty value."""
    found = []
    for part in raw.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            found.append((text(name.replace(b"+", b" ")), text(value.replace(b"+", b" "))))
    return tuple(found)


def last(parameters: Sequence[tuple[str, str]], name: str) -> str | None:
    """Return the value of a parameter, the last one where it was given several times."""
    return next((value for key, value in reversed(parameters) if key == name), None)


def every(parameters: Sequence[tuple[str, str]], name: str) -> list[str]:
    """Return all values of a parameter."""
    return [value for key, value in parameters if key == name]
