"""Sets of offsets as spans, against Python's sets of numbers."""

from hypothesis import given
from hypothesis import strategies as st

from snapengine import spans
from snapengine.spans import Span, Spans

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12))).map(
    lambda drawn: spans.union((start, start + length) for start, length in drawn)
)


def numbers(found: Spans) -> set[int]:
    return {number for start, end in found for number in range(start, end)}


def is_normal(found: Spans) -> bool:
    return all(start < end for start, end in found) and all(a[1] < b[0] for a, b in zip(found, found[1:], strict=False))


@given(left=SPANS, right=SPANS)
def test_set_operations_are_those_on_sets_of_numbers(left: Spans, right: Spans) -> None:
    for found, expected in (
        (spans.union(left, right), numbers(left) | numbers(right)),
        (spans.intersection(left, right), numbers(left) & numbers(right)),
        (spans.minus(left, right), numbers(left) - numbers(right)),
    ):
        assert is_normal(found)
        assert numbers(found) == expected
        assert spans.total(found) == len(expected)


@given(drawn=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60))))
def test_a_union_puts_any_spans_in_order(drawn: list[Span]) -> None:
    found = spans.union(drawn)

    assert is_normal(found)
    assert numbers(found) == {number for start, end in drawn for number in range(start, end)}


@given(found=SPANS, step=st.integers(1, 9))
def test_rounded_spans_hold_whole_steps(found: Spans, step: int) -> None:
    grown = spans.rounded(found, step)

    assert numbers(grown) == {n for n in range(200) if any(m // step == n // step for m in numbers(found))}
