"""
Sets of offsets as sorted spans. Pure.

A span is (start, end), its end not included. What comes in and what goes out is sorted and disjoint; what goes out is
also joined where spans touch. Every function takes time linear in its spans (union: and their sorting).
"""

from collections.abc import Iterable

Span = tuple[int, int]
Spans = tuple[Span, ...]


def union(*sets: Iterable[Span]) -> Spans:
    """Return what is in any of sets; within one set spans may come in any order and overlap."""
    found: list[Span] = []
    for start, end in sorted(span for spans in sets for span in spans):
        if found and start <= found[-1][1]:
            if end > found[-1][1]:
                found[-1] = (found[-1][0], end)
        elif end > start:
            found.append((start, end))
    return tuple(found)


def intersection(left: Iterable[Span], right: Iterable[Span]) -> Spans:
    """Return what is in both."""
    found: list[Span] = []
    a, b = iter(left), iter(right)
    one, two = next(a, None), next(b, None)
    while one is not None and two is not None:
        start, end = max(one[0], two[0]), min(one[1], two[1])
        if start < end:
            found.append((start, end))
        if one[1] <= two[1]:
            one = next(a, None)
        else:
            two = next(b, None)
    return union(found)


def minus(left: Iterable[Span], right: Iterable[Span]) -> Spans:
    """Return what is in left and not in right."""
    found: list[Span] = []
    b = iter(right)
    hole = next(b, None)
    for start, end in left:
        while hole is not None and hole[1] <= start:
            hole = next(b, None)
        while hole is not None and hole[0] < end:
            if hole[0] > start:
                found.append((start, hole[0]))
            start = max(start, hole[1])
            if hole[1] > end:
                break
            hole = next(b, None)
        if start < end:
            found.append((start, end))
    return union(found)


def rounded(spans: Iterable[Span], step: int) -> Spans:
    """Return spans grown to whole multiples of step at both ends."""
    return union((start // step * step, -(-end // step) * step) for start, end in spans)


def total(spans: Iterable[Span]) -> int:
    """Return how many offsets spans hold."""
    return sum(end - start for start, end in spans)
