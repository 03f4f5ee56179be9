"""What the clients of a load run were answered, in the order in which they asked and were answered."""

import itertools
import time
from collections.abc import Generator
from typing import Any, NamedTuple

import msgspec

Asking = Generator[bytes, tuple[int, bytes], Any]


class Call(NamedTuple):
    """A call that was answered: sent and answered are places in one order of both, took is in seconds."""

    client: str
    verb: str
    volume: str
    sent: int
    answered: int
    took: float


class Book:
    """All calls of a run, the snapshots that were acknowledged, made and deleted, and what was wrong."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.made: dict[str, str] = {}  # volumes, by the snapshot
        self.deleted: set[str] = set()
        self.faults: list[str] = []
        self._order = itertools.count()

    def now(self) -> int:
        """Return the next place in the order."""
        return next(self._order)

    def asked(self, client: str, verb: str, volume: str, request: bytes) -> Asking:
        """Give a request, note the call, and return what the answer says; an error is a fault."""
        sent, since = self.now(), time.monotonic()
        status, body = yield request
        self.calls.append(Call(client, verb, volume, sent, self.now(), time.monotonic() - since))
        if status != 200:
            self.faults.append(f"{client}: {verb} is answered {status}: {body[:200].decode()}")
            return {}
        return msgspec.json.decode(body)

    def since(self, place: int) -> list[Call]:
        """Return the calls that were asked after a place in the order, and are answered."""
        answered = itertools.takewhile(lambda call: call.answered > place, reversed(self.calls))
        return [call for call in answered if call.sent > place]
