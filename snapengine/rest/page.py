"""What a query asks for besides its conditions: how many, from where, in which order, which fields. Pure."""

import heapq
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from snapengine import errors
from snapengine.rest import conditions, rows, target
from snapengine.rest.conditions import Condition, Value
from snapengine.rest.faults import Malformed
from snapengine.rest.pace import Pace
from snapengine.rest.rows import Row
from snapengine.rest.schema import Part

LIMIT = 1000  # where none is given
_RUN = 100  # rows that are sorted at once
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


async def answer(query: Query, found: Iterable[Row], pace: Pace) -> dict[str, object]:
    """Return what the query answers of these rows, in their order unless it says another one."""
    kept = [row async for row in pace.through(found) if await _fits(query, row, pace)]
    if query.group_by is not None:
        kept = await _first_of_each(kept, query.group_by, pace)
    if query.only_count:
        return {"total": len(kept)}
    shown = await _page(query, kept, pace)
    return {"inventories": shown, **({"total": len(kept)} if query.with_count else {})}


async def _fits(query: Query, row: Row, pace: Pace) -> bool:
    for condition in query.conditions:
        there = rows.values(row, condition.field)
        if not (conditions.holds(condition, there) if len(there) < 2 else await _holds(condition, there, pace)):
            return False
    return True


async def _holds(condition: Condition, there: Sequence[Value], pace: Pace) -> bool:
    """Tell whether a condition is true of a field of several values, which may be thousands: of one after the other."""
    async for value in pace.through(there):
        if (told := conditions.settled(condition, value)) is not None:
            return told
    return conditions.unsettled(condition, is_set=True)


async def _first_of_each(found: Sequence[Row], field: str, pace: Pace) -> list[Row]:
    first: dict[tuple[Value, ...], Row] = {}
    async for row in pace.through(found):
        first.setdefault(rows.values(row, field), row)
    return list(first.values())


async def _page(query: Query, found: Sequence[Row], pace: Pace) -> list[object]:
    """Return what is shown of the rows that are asked for, in the order that is asked for."""
    end = query.start + query.limit
    if query.sort is None:
        return [_shown(row, query.fields) async for row in pace.through(found[query.start : end])]
    keyed = [(_order(query.sort, row), row) async for row in pace.through(found)]
    key, descending = itemgetter(0), query.descending
    starts = pace.through(range(0, len(keyed), _RUN))
    runs = [sorted(keyed[at : at + _RUN], key=key, reverse=descending) async for at in starts]
    merged = pace.through(islice(heapq.merge(*runs, key=key, reverse=descending), end))
    return [_shown(row, query.fields) async for _, row in merged][query.start :]


def _order(field: str, row: Row) -> tuple[int | str, ...]:
    """Return what a row is sorted by: one without a value comes first, then numbers and dates as such, then texts."""
    return tuple(part for value in rows.values(row, field) for part in conditions.order(value, field))


def _shown(row: Row, fields: tuple[str, ...]) -> object:
    return Part(type(row.shown), rows.part(row.shown, fields)) if fields else row.shown
