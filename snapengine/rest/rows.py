"""
What queries run over: rows of a kind, each with the inventory that is shown and what stands behind it. Pure.

A field is named as in the inventory; with a dot it is one of another object that the row belongs to; `__systemTag__`
and `__userTag__` are the tags. What a field holds is a list of values, none where it is unset.
"""

from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import msgspec

from snapengine import errors
from snapengine.inventory import Snapshot, Tree, Volume
from snapengine.rest.conditions import Value
from snapengine.roster import Described, Group, Ref
from snapengine.tag import Tag
from snapengine.tree import DrawnTree

_TAGS = {"__systemTag__": "system_tags", "__userTag__": "user_tags"}
Struct = msgspec.Struct


class Row(NamedTuple):
    """One object: what is shown of it, its own record where it has tags, and what it belongs to by the dotted names."""

    shown: Struct
    tagged: Struct | None = None
    nested: Mapping[str, Struct | tuple[Struct, ...] | None] = {}


NESTED: Mapping[type, Mapping[str, type]] = {
    Snapshot: {"volume": Volume, "tree": Tree, "group": Described},
    DrawnTree: {"volume": Volume, "snapshot": Snapshot},
    Group: {"volumeSnapshotRefs": Ref},
    Volume: {"snapshot": Snapshot, "tree": Tree},
    Tag: {},
}
_TAGGED = {Snapshot, Volume}


def require(kind: type, field: str) -> None:
    """Raise Invalid unless rows of this kind have a field of this name."""
    outer, dot, inner = field.partition(".")
    if dot:
        known = outer in NESTED[kind] and inner in _attributes(NESTED[kind][outer])
    else:
        known = field in _attributes(kind) or (field in _TAGS and kind in _TAGGED)
    if not known:
        known_ones = ", ".join(known_to(kind))
        raise errors.Invalid(what=f"there is no field {field[:128]!r} to ask for; known are {known_ones}")


def known_to(kind: type) -> list[str]:
    """Return the names of all fields of a kind of rows, in the order in which they are shown."""
    own = [*_attributes(kind), *(_TAGS if kind in _TAGGED else ())]
    return own + [f"{outer}.{inner}" for outer, of in NESTED[kind].items() for inner in _attributes(of)]


def values(row: Row, field: str) -> tuple[Value, ...]:
    """Return what a field of a row holds; a field that require() has let pass."""
    outer, dot, inner = field.partition(".")
    if not dot:
        if field in _TAGS:
            return () if row.tagged is None else tuple(getattr(row.tagged, _TAGS[field]))
        return _held(row.shown, _attributes(type(row.shown))[field])
    there = row.nested.get(outer)
    several = there if isinstance(there, tuple) else (there,)
    return tuple(value for each in several if each is not None for value in _held(each, _attributes(type(each))[inner]))


def _held(struct: Struct, attribute: str) -> tuple[Value, ...]:
    value = getattr(struct, attribute)
    return (value,) if isinstance(value, str | int) else ()


@cache
def _attributes(kind: type[Struct]) -> dict[str, str]:
    """Return the attribute of each plain field of a struct, by its name in JSON."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(kind)}


def part(struct: Struct, fields: tuple[str, ...]) -> dict[str, object]:
    """Return these fields of an inventory, those that are set."""
    known = _attributes(type(struct))
    held = {field: getattr(struct, known[field]) for field in fields}
    return {field: value for field, value in held.items() if value is not None}
