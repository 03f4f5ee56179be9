"""
The conditions of a query, `q=<field><operator><value>` (contract, section 2, queries). Pure.

Operators are looked for in the contract's order, and the first one found anywhere takes the text apart at its first
place. Values are compared as what the field holds: numbers, booleans and dates as such, all else as text.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from snapengine import errors, units
from snapengine.rest.faults import Malformed

OPERATORS = ("!=", ">=", "<=", "!?=", "!~=", "~=", "?=", "=", ">", "<", "is null", "not null")
_MAX_LIKE = 2048  # characters, as the longest description has
_NUMBER = re.compile(r"-?\d{1,30}", re.ASCII)
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d", re.ASCII)

Value = str | int | bool
Get = Callable[[object, str], Iterable[Value]]


class Condition(NamedTuple):
    """One condition: on a field by its name as the client writes it, dots for a nested one."""

    field: str
    operator: str
    value: str


def parse(said: str) -> Condition:
    """Return the condition that a q says; Malformed for one without an operator or a field."""
    for operator in OPERATORS:
        field, found, value = said.partition(operator)
        if found:
            if not field.strip():
                break
            return Condition(field.strip(), operator, value)
    raise Malformed(400, f"invalid query string[q={said[:200]}]: give <field><operator><value>")


def holds(condition: Condition, values: Iterable[Value]) -> bool:
    """
    Tell whether a condition is true of what a field holds: several values where it is a list, none where it is unset.

    A positive condition is true where it is of one of the values; a negated one where its opposite is of none, and
    something is there at all. Raises Invalid for a value that the field can't be compared with.
    """
    there = tuple(values)
    told = (settled(condition, value) for value in there)
    return next((each for each in told if each is not None), unsettled(condition, is_set=bool(there)))


def settled(condition: Condition, value: Value) -> bool | None:
    """Return whether a condition is true of a field that has this value, whatever else it has; None if others tell."""
    operator = condition.operator
    if operator in ("is null", "not null"):
        return operator == "not null"
    if operator[0] == "!":
        return False if _is_true("=" if operator == "!=" else operator[1:], value, condition) else None
    return True if _is_true(operator, value, condition) else None


def unsettled(condition: Condition, *, is_set: bool) -> bool:
    """Tell whether a condition is true of a field of which no value settled it; is_set tells whether it has any."""
    return condition.operator == "is null" or (condition.operator[0] == "!" and is_set)


def _is_true(operator: str, value: Value, condition: Condition) -> bool:
    wanted, is_date = condition.value, condition.field.endswith("Date")
    if operator == "~=":
        return is_like(str(value).lower() if isinstance(value, bool) else str(value), wanted)
    own = _instant(str(value)) if is_date else value
    if own is None:  # a damaged date
        return False
    kind = "date" if is_date else type(own).__name__
    if operator == "?=":
        return own in _listed(kind, wanted, condition.field)
    return _COMPARED[operator](own, _as_kind(kind, wanted, condition.field))


_COMPARED: dict[str, Callable[[Value, Value], bool]] = {
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,  # type: ignore[operator]
    "<": lambda a, b: a < b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
}


@lru_cache(maxsize=8)
def _listed(kind: str, wanted: str, field: str) -> frozenset[Value]:
    """Return what the client listed, which may be much, as _as_kind does: once for all rows."""
    return frozenset(_as_kind(kind, each, field) for each in wanted.split(","))


def _as_kind(kind: str, wanted: str, field: str) -> Value:
    """Return what the client wrote as the kind of a field's own value; Invalid where it is none of that kind."""
    shown = repr(wanted[:64])
    if kind == "date":
        instant = _instant(wanted.strip())
        if instant is None:
            raise errors.Invalid(what=f"field {field} is a date like '2017-06-07 21:20:17', {shown} is none")
        return instant
    if kind == "bool":
        if wanted not in ("true", "false", "0", "1"):
            raise errors.Invalid(what=f"field {field} is true or false, not {shown}")
        return wanted in ("true", "1")
    if kind == "int":
        if _NUMBER.fullmatch(wanted.strip()) is None:
            raise errors.Invalid(what=f"field {field} is a whole number, {shown} is none")
        return int(wanted)
    return wanted


def _instant(text: str) -> int | None:
    """Return the instant of a date in the contract's form, or as databases write it, in UTC; None for none of both."""
    try:
        if _LOCAL.fullmatch(text):
            return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
        return units.parse_date(text)
    except ValueError:
        return None


def is_like(text: str, like: str) -> bool:
    """
    Tell whether text fits a LIKE pattern: % any characters, _ one, upper and lower case alike.

    Each piece between two % is looked for once, the first place being as good as any: no pattern takes long. Invalid
    for one that is longer than any text.
    """
    text, at = text.lower(), 0
    *pieces, last = _pieces(like.lower())
    for number, piece in enumerate(pieces):
        found = piece.search(text, at) if number else piece.match(text)
        if found is None:
            return False
        at = found.end()
    return (last.search(text, at) if pieces else last.match(text)) is not None


@lru_cache(maxsize=64)
def _pieces(like: str) -> tuple[re.Pattern[str], ...]:
    """Return the pieces of a pattern between its %; the last one must end where the text does."""
    if len(like) > _MAX_LIKE:
        raise errors.Invalid(what=f"a pattern has at most {_MAX_LIKE} characters, this one has {len(like)}")
    said = [re.sub("_+", lambda run: f".{{{len(run[0])}}}", re.escape(piece)) for piece in like.split("%")]
    return tuple(re.compile(each, re.DOTALL) for each in (*said[:-1], rf"{said[-1]}\Z"))


def order(value: Value, field: str) -> tuple[int, int, str]:
    """Return what a value of a field is sorted by: numbers and dates as such, texts after them."""
    known = _instant(str(value)) if field.endswith("Date") else value
    return (0, known, "") if isinstance(known, int) else (1, 0, str(value))
