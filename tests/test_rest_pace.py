"""Long reads give way: what comes of them is what would come at once, and others have the loop in between."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from snapengine.rest import answers, pace, page
from snapengine.rest.conditions import Condition
from snapengine.rest.pace import Pace
from snapengine.rest.page import Query
from snapengine.rest.rows import Row
from snapengine.tag import Tag

ROWS = [
    Row(Tag(uuid=f"{n:032x}", resource_type="VolumeVO", resource_uuid="", tag=f"{n * 7 % 10}", type="User"))
    for n in range(350)
]


@pytest.fixture(autouse=True)
def every_row_is_a_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "SLICE", 0.0)


def turns_of_another(long: Callable[[], Awaitable[object]]) -> int:
    """Return how often another task had the loop while something long was done in it."""

    async def both() -> int:
        turns = 0
        work = asyncio.ensure_future(long())
        while not work.done():
            await asyncio.sleep(0)
            turns += 1
        work.result()
        return turns

    return asyncio.run(both())


QUERIES = {
    "plain": Query(),
    "sorted": Query(sort="tag"),
    "grouped": Query(group_by="tag"),
    "fields": Query(fields=("tag",)),
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_others_have_the_loop_at_every_row_of_a_long_query(query: Query) -> None:
    assert turns_of_another(lambda: page.answer(query, iter(ROWS), Pace())) >= len(ROWS)


@pytest.mark.parametrize(("operator", "kept"), [("~=", 1), ("!~=", 0)])
def test_others_have_the_loop_at_every_value_of_a_row_that_has_many(operator: str, kept: int) -> None:
    row = Row(ROWS[0].shown, None, {"tags": tuple(row.shown for row in ROWS)})
    query = Query(conditions=(Condition("tags.uuid", operator, f"%{len(ROWS) - 1:x}"),), only_count=True)

    assert turns_of_another(lambda: page.answer(query, iter([row]), Pace())) >= len(ROWS)
    assert asyncio.run(page.answer(query, iter([row]), Pace())) == {"total": kept}


def test_others_have_the_loop_at_every_row_of_a_long_reply() -> None:
    reply = {"inventories": [row.shown for row in ROWS], "total": len(ROWS)}

    assert turns_of_another(lambda: answers.paced(reply, True, Pace())) >= len(ROWS)


def test_two_long_queries_have_the_loop_in_turn() -> None:
    order: list[str] = []

    async def one(name: str, turns: Pace) -> None:
        async for _ in turns.through(range(20)):
            order.append(name)

    async def both() -> None:
        turns = Pace()
        await asyncio.gather(one("a", turns), one("b", turns))

    asyncio.run(both())

    assert max(abs(order[:n].count("a") - order[:n].count("b")) for n in range(len(order))) <= 2


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize(("start", "limit"), [(0, 1000), (0, 7), (95, 110), (400, 10), (0, 10**18 - 1)])
def test_many_rows_are_sorted_as_at_once_and_keep_their_order_where_they_are_alike(
    descending: bool, start: int, limit: int
) -> None:
    query = Query(sort="tag", descending=descending, start=start, limit=limit, with_count=True)

    found = asyncio.run(page.answer(query, iter(ROWS), Pace()))

    ordered = sorted((row.shown for row in ROWS), key=lambda shown: getattr(shown, "tag"), reverse=descending)
    assert found == {"inventories": ordered[start : start + limit], "total": len(ROWS)}


@pytest.mark.parametrize("fields", [(), ("uuid", "tag")], ids=["whole", "fields"])
def test_a_reply_is_the_same_a_slice_at_a_time(fields: tuple[str, ...]) -> None:
    async def both() -> tuple[bytes, bytes]:
        reply = await page.answer(Query(fields=fields, with_count=True), iter(ROWS), Pace())
        return await answers.paced(reply, True, Pace()), answers.document(reply, True)

    paced, at_once = asyncio.run(both())

    assert paced == at_once
    told: Any = msgspec.json.decode(paced)
    assert [each["tag"] for each in told["inventories"]] == [getattr(row.shown, "tag") for row in ROWS]
