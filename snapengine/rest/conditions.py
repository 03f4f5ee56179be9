"""
The conditions of a query, `q=<field><operator><value>` (contract, section 2, queries). Pure.

Operators are looked for in the contract's order, and the first one found anywhere takes the text apart at its first
place. Values are compared as what the field holds: numbers, booleans and dates as such, all else as text.
"""

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from snapengine import errors, units
from snapengine.rest.faults import Malformed

OPERATORS = ("!=", ">=", "<=", "!?=", "!~=", "~=", "?=", "=", ">", "<", "is null", "not null")
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
    operator = condition.operator
    if operator in ("is null", "not null"):
        return bool(there) == (operator == "not null")
    if operator[0] == "!":
        opposite = "=" if operator == "!=" else operator[1:]
        return bool(there) and not any(_is_true(opposite, value, condition) for value in there)
    return any(_is_true(operator, value, condition) for value in there)


def _is_true(operator: str, value: Value, condition: Condition) -> bool:
    wanted, is_date = condition.value, condition.field.endswith("Date")
    if operator == "~=":
        return is_like(str(value).lower() if isinstance(value, bool) else str(value), wanted)
    own = _instant(str(value)) if is_date else value
    if own is None:  # a damaged date
        return False
    if operator == "?=":
        return own in [_as_kind(own, each, condition, is_date) for each in wanted.split(",")]
    return _COMPARED[operator](own, _as_kind(own, wanted, condition, is_date))


_COMPARED: dict[str, Callable[[Value, Value], bool]] = {
    "=": lambda a, b: a == b,
    ">": lambda a, b: a > b,  # type: ignore[operator]
    "<": lambda a, b: a < b,  # type: ignore[operator]
    ">=": lambda a, b: a >= b,  # type: ignore[operator]
    "<=": lambda a, b: a <= b,  # type: ignore[operator]
}


def _as_kind(own: Value, wanted: str, condition: Condition, is_date: bool) -> Value:
    """Return what the client wrote as the kind of a field's own value; Invalid where it is none of that kind."""
    field, shown = condition.field, repr(wanted[:64])
    if is_date:
        instant = _instant(wanted.strip())
        if instant is None:
            raise errors.Invalid(what=f"field {field} is a date like '2017-06-07 21:20:17', {shown} is none")
        return instant
    if isinstance(own, bool):
        if wanted not in ("true", "false", "0", "1"):
            raise errors.Invalid(what=f"field {field} is true or false, not {shown}")
        return wanted in ("true", "1")
    if isinstance(own, int):
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

    Each piece between two % is looked for once, the first place being as good as any: no pattern takes long.
    """
    first, *pieces = like.lower().split("%")
    text = text.lower()
    if not pieces:
        return len(text) == len(first) and _found(text, first, 0) == len(first)
    if (at := _found(text, first, 0)) is None:
        return False
    last = pieces.pop()
    for piece in pieces:
        if (end := _found_after(text, piece, at)) is None:
            return False
        at = end
    return len(text) - len(last) >= at and _found(text, last, len(text) - len(last)) is not None


def _found_after(text: str, piece: str, at: int) -> int | None:
    """Return where piece ends if text has it at that place or after it; None where it has not."""
    if "_" not in piece:
        start = text.find(piece, at)
        return start + len(piece) if start >= 0 else None
    ends = (_found(text, piece, start) for start in range(at, len(text) + 1))
    return next((end for end in ends if end is not None), None)


def _found(text: str, piece: str, at: int) -> int | None:
    """Return where piece ends if text has it at that place; None where it has not."""
    end = at + len(piece)
    here = text[at:end]
    same = len(here) == len(piece) and all(p in ("_", t) for p, t in zip(piece, here, strict=True))
    return end if same else None


def order(value: Value, field: str) -> tuple[int, int, str]:
    """Return what a value of a field is sorted by: numbers and dates as such, texts after them."""
    known = _instant(str(value)) if field.endswith("Date") else value
    return (0, known, "") if isinstance(known, int) else (1, 0, str(value))
