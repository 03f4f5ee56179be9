"""Long work in the event loop: it is done a slice at a time, and all else that is asked for comes in between."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

SLICE = 0.001  # seconds
T = TypeVar("T")


class Pace:
    """The turns of all that is long: between two slices of any of it, others have the loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def through(self, items: Iterable[T]) -> AsyncIterator[T]:
        """Give the items, and the loop to others whenever the work on them has taken a slice."""
        since = time.monotonic()
        for item in items:
            yield item
            if time.monotonic() - since >= SLICE:
                async with self._turn:
                    await asyncio.sleep(0)
                since = time.monotonic()
