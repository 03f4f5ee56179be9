"""Conditions and pages as pure functions: how a text is taken apart, and when it is true."""

import time

import pytest

from snapengine import errors
from snapengine.rest import conditions, page, target
from snapengine.rest.conditions import Condition, Value
from snapengine.rest.faults import Malformed

PARSED: dict[str, tuple[str, str, str]] = {
    "name=a": ("name", "=", "a"),
    "name=": ("name", "=", ""),
    "name!=a": ("name", "!=", "a"),
    "name=a=b": ("name", "=", "a=b"),
    "name=a!=b": ("name=a", "!=", "b"),
    "size>=5": ("size", ">=", "5"),
    "size<=5": ("size", "<=", "5"),
    "size>5": ("size", ">", "5"),
    "size < 5": ("size", "<", " 5"),
    "name?=a,b": ("name", "?=", "a,b"),
    "name!?=a": ("name", "!?=", "a"),
    "name~=%a%": ("name", "~=", "%a%"),
    "name!~=a": ("name", "!~=", "a"),
    "name is null": ("name", "is null", ""),
    "name not null": ("name", "not null", ""),
    "name=this is null": ("name", "=", "this is null"),
}


@pytest.mark.parametrize("said", PARSED)
def test_the_first_operator_of_the_contracts_order_takes_a_text_apart(said: str) -> None:
    assert conditions.parse(said) == Condition(*PARSED[said])


@pytest.mark.parametrize("said", ["", "name", "=a", " =a", "!=", "is null", "name:a"])
def test_a_text_without_field_or_operator_is_refused(said: str) -> None:
    with pytest.raises(Malformed):
        conditions.parse(said)


TRUE: list[tuple[tuple[Value, ...], str, bool]] = [
    (("a",), "f=a", True),
    (("a",), "f=A", False),
    ((), "f=a", False),
    ((), "f!=a", False),
    ((), "f!?=a", False),
    ((), "f is null", True),
    (("",), "f is null", False),
    (("a", "b"), "f=b", True),
    (("a", "b"), "f!=b", False),
    (("a", "b"), "f?=x,b", True),
    (("a", "b"), "f!?=x,y", True),
    (("b",), "f>a", True),
    ((10,), "f>9", True),
    ((10,), "f=010", True),
    ((-1,), "f<0", True),
    ((10,), "f~=1_", True),
    ((True,), "f=1", True),
    ((False,), "f~=fa%", True),
    (("Jun 7, 2017 9:20:17 PM",), "fDate=2017-06-07 21:20:17", True),
    (("Jun 7, 2017 9:20:17 PM",), "fDate<Jun 10, 2017 1:00:00 AM", True),
    (("Jun 7, 2017 9:20:17 PM",), "fDate?=2017-06-07 21:20:17,2018-01-01 00:00:00", True),
    (("Jun 7, 2017 9:20:17 PM",), "name=2017-06-07 21:20:17", False),
    (("damaged",), "fDate=2017-06-07 21:20:17", False),
    (("a.c",), "f~=a.c", True),
    (("abc",), "f~=a.c", False),
    (("aXbXc",), "f~=A%B%C", True),
    (("ab",), "f~=a%b%b", False),
    (("a\nb",), "f~=a%b", True),
    (("",), "f~=%", True),
    (("a",), "f~=", False),
    (("aba",), "f~=%ba", True),
    (("abab",), "f~=%ab", True),
    (("ab",), "f~=ab_", False),
]


@pytest.mark.parametrize("values, said, expected", TRUE, ids=lambda x: str(x))
def test_a_condition_is_true_or_not(values: tuple[Value, ...], said: str, expected: bool) -> None:
    assert conditions.holds(conditions.parse(said), values) is expected


def test_no_pattern_takes_long() -> None:
    began = time.process_time()  # which others on the machine don't lengthen

    assert not conditions.is_like("a" * 255, "%a" * 100 + "%b")
    assert conditions.is_like("a" * 255, "%_a" * 100 + "%")
    for _ in range(20):
        assert not conditions.is_like("a" * 2048, "%" + "_a" * 500 + "b%")

    assert time.process_time() - began < 2


def test_a_pattern_that_is_longer_than_any_text_is_refused() -> None:
    with pytest.raises(errors.Invalid, match="at most 2048 characters"):
        conditions.is_like("a", "%" * 2049)


@pytest.mark.parametrize("said", ["n=x", "n>1.5", "n?=1,x", "b=yes", "nDate>now", "nDate>"])
def test_a_value_of_another_kind_is_refused(said: str) -> None:
    held: dict[str, Value] = {"n": 1, "b": True, "nDate": "Jun 7, 2017 9:20:17 PM"}
    value = held[conditions.parse(said).field]

    with pytest.raises(errors.Invalid):
        conditions.holds(conditions.parse(said), (value,))


def test_a_query_is_read_from_the_parameters() -> None:
    found = page.parse(target.parameters(b"q=a%3D1&q=b?=x,y&limit=5&start=2&sort=-name&fields=a,b&fields=c&count=TRUE"))

    assert found.conditions == (Condition("a", "=", "1"), Condition("b", "?=", "x,y"))
    assert (found.limit, found.start, found.sort, found.descending) == (5, 2, "name", True)
    assert (found.fields, found.only_count) == (("a", "b", "c"), True)
    assert page.parse(()) == page.Query()


def test_a_path_is_taken_apart_before_it_is_decoded() -> None:
    assert target.path(b"/zstack/v1/volumes/a%2Fb") == ("volumes", "a/b")
    assert target.path(b"/zstack/v1/volumes/") == ("volumes",)
    assert target.path(b"/zstack/v1") == ()
    assert target.path(b"/zstack//v1/x") is None
    assert target.path(b"zstack/v1/x") is None
