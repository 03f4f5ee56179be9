"""Shorten a list that fails to one that still fails and can lose nothing more: delta debugging. Pure."""

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def shortest(items: Sequence[Item], fails: Callable[[Sequence[Item]], bool]) -> list[Item]:
    """
    Return the items of a list that fails without which it would not; all that is left is needed.

    Chunks are dropped, large ones first, as long as what is left fails; fails is never asked for the whole list.
    """
    kept, size = [*items], max(1, len(items) // 2)
    while size:
        at, before = 0, len(kept)
        while at < len(kept):
            rest = kept[:at] + kept[at + size :]
            if rest and fails(rest):
                kept = rest
            else:
                at += size
        if size == 1 and len(kept) == before:
            break
        size = max(1, size // 2)
    return kept
