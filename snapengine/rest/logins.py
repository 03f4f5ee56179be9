"""Logins: passwords checked one by one and beside the server's loop; who guesses has to wait longer each time."""

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from snapengine import passwords
from snapengine.owners import AccountRecord

FREE = 3  # wrong attempts that cost nothing but their own time
LONGEST = 8.0  # seconds that an attempt is held back
FORGET = 300.0  # seconds after which wrong attempts are forgotten
MAX_NAMES = 1000
MAX_WAITING = 32
MAX_HELD = 4  # attempts for one name that are held back at once: else they would be guesses side by side


class Crowded(Exception):
    """Too many attempts wait already."""


class _Wrong(NamedTuple):
    times: int
    last: float


class Doorman:
    """Who tried which name how often."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, _Wrong] = OrderedDict()
        self._one = asyncio.Semaphore(1)
        self._waiting = 0
        self._held: Counter[str] = Counter()

    async def lets_in(self, name: str, account: AccountRecord | None, sent: str) -> bool:
        """
        Tell whether sent is the password of the account called name; None is an unknown one, which takes as long.

        After three wrong attempts each further one for this name is held back, for up to 8 s. Raises Crowded, also
        where four of them are.
        """
        pause = self._pause(name)
        if self._waiting >= MAX_WAITING or (pause and self._held[name] >= MAX_HELD):
            raise Crowded
        with self._counted(name):
            await asyncio.sleep(pause)
            async with self._one:
                kept = account.password if account is not None else None
                right = await asyncio.to_thread(passwords.matches, sent, kept)
        self._note(name, right)
        return right

    @contextmanager
    def _counted(self, name: str) -> Iterator[None]:
        self._waiting += 1
        self._held[name] += 1
        try:
            yield
        finally:
            self._waiting -= 1
            self._held -= Counter((name,))

    def _pause(self, name: str) -> float:
        known = self._wrong.get(name)
        if known is None or time.monotonic() - known.last > FORGET or known.times < FREE:
            return 0.0
        return min(0.5 * 2.0 ** (known.times - FREE), LONGEST)

    def _note(self, name: str, right: bool) -> None:
        known = self._wrong.pop(name, _Wrong(0, 0.0))
        if not right:
            self._wrong[name] = _Wrong(min(known.times + 1, 64), time.monotonic())
        while len(self._wrong) > MAX_NAMES:
            self._wrong.popitem(last=False)
