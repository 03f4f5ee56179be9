"""Who is next: operations on one volume go one after the other, in the order in which they came."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from weakref import WeakValueDictionary

from snapengine import errors


class Lines:
    """A line for each volume; so many operations may stand in all of them together."""

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.waiting = 0

    @asynccontextmanager
    async def turn(self, volumes: Iterable[str]) -> AsyncIterator[None]:
        """
        Wait until no operation that came before is at work on any of these volumes, and keep others off for the block.

        Raises Busy where too many wait already.
        """
        if self.waiting >= self._bound:
            raise errors.Busy(what=f"{self.waiting} operations are waiting already; try again later")
        self.waiting += 1
        async with AsyncExitStack() as stack:
            try:
                for volume in sorted(set(volumes)):
                    await stack.enter_async_context(self._lock(volume))
            finally:
                self.waiting -= 1
            yield

    def _lock(self, volume: str) -> asyncio.Lock:
        lock = self._locks.get(volume)
        if lock is None:
            lock = self._locks[volume] = asyncio.Lock()
        return lock
