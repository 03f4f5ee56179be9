"""What a query asks for besides its conditions: how many, from where, in which order, which fields. Pure."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from snapengine import errors
from snapengine.rest import conditions, rows, target
from snapengine.rest.conditions import Condition, Value
from snapengine.rest.faults import Malformed
from snapengine.rest.rows import Row
from snapengine.rest.schema import Part

LIMIT = 1000  # where none is given
Parameters = Sequence[tuple[str, str]]


class Query(NamedTuple):
    """A query as the client wrote it."""

    conditions: tuple[Condition, ...] = ()
    limit: int = LIMIT
    start: int = 0
    only_count: bool = False
    with_count: bool = False
    sort: str | None = None
    descending: bool = False
    fields: tuple[str, ...] = ()
    group_by: str | None = None

    def equal_to(self, field: str) -> str | None:
        """Return the value that a field must have by one of the conditions, if one says so."""
        return next((c.value for c in self.conditions if (c.field, c.operator) == (field, "=")), None)

    def asks(self, name: str) -> bool:
        """Tell whether the query looks at a nested object of this name."""
        asked = (*(c.field for c in self.conditions), self.sort or "", self.group_by or "")
        return any(field.startswith(f"{name}.") for field in asked)


def parse(parameters: Parameters) -> Query:
    """Return the query that the parameters of a URL say; Malformed for what can't be read. Others are ignored."""
    sort = (target.last(parameters, "sort") or "").strip()  # a + in a URL is a space
    fields = ",".join(target.every(parameters, "fields"))
    return Query(
        conditions=tuple(conditions.parse(q) for q in target.every(parameters, "q") if q),
        limit=_number(parameters, "limit", LIMIT),
        start=_number(parameters, "start", 0),
        only_count=_flag(parameters, "count"),
        with_count=_flag(parameters, "replyWithCount"),
        sort=sort.lstrip("+-") or None,
        descending=sort.startswith("-"),
        fields=tuple(dict.fromkeys(field.strip() for field in fields.split(",") if field.strip())),
        group_by=target.last(parameters, "groupBy") or None,
    )


def one(uuid: str) -> Condition:
    """Return the condition that an object has this uuid."""
    return Condition("uuid", "=", uuid)


def _number(parameters: Parameters, name: str, default: int) -> int:
    said = target.last(parameters, name)
    if said is None or said == "":
        return default
    if re.fullmatch(r"\d{1,18}", said, re.ASCII) is None:
        raise Malformed(400, f"invalid {name}[{said[:64]}]: give a whole number, 0 or more")
    return int(said)


def _flag(parameters: Parameters, name: str) -> bool:
    said = (target.last(parameters, name) or "false").lower()
    if said not in ("true", "false"):
        raise Malformed(400, f"invalid {name}[{said[:64]}]: give true or false")
    return said == "true"


def require(query: Query, kind: type) -> None:
    """Raise Invalid where a query names a field that rows of this kind do not have."""
    for condition in query.conditions:
        rows.require(kind, condition.field)
    for field in (query.sort, query.group_by):
        if field is not None:
            rows.require(kind, field)
    for field in query.fields:
        rows.require(kind, field)
        if "." in field or field.startswith("__"):
            raise errors.Invalid(what=f"field {field!r} is no part of an inventory; leave it out of fields")


def answer(query: Query, found: Sequence[Row]) -> dict[str, object]:
    """Return what the query answers of these rows, in their order unless it says another one."""
    kept = [row for row in found if all(conditions.holds(c, rows.values(row, c.field)) for c in query.conditions)]
    if query.group_by is not None:
        kept = _first_of_each(kept, query.group_by)
    if query.only_count:
        return {"total": len(kept)}
    if query.sort is not None:
        kept.sort(key=functools.partial(_order, query.sort), reverse=query.descending)
    shown = [_shown(row, query.fields) for row in kept[query.start : query.start + query.limit]]
    return {"inventories": shown, **({"total": len(kept)} if query.with_count else {})}


def _first_of_each(found: Sequence[Row], field: str) -> list[Row]:
    first: dict[tuple[Value, ...], Row] = {}
    for row in found:
        first.setdefault(rows.values(row, field), row)
    return list(first.values())


def _order(field: str, row: Row) -> tuple[tuple[int, int, str], ...]:
    """Return what a row is sorted by: one without a value comes first, then numbers and dates as such, then texts."""
    return tuple(conditions.order(value, field) for value in rows.values(row, field))


def _shown(row: Row, fields: tuple[str, ...]) -> object:
    return Part(type(row.shown), rows.part(row.shown, fields)) if fields else row.shown
