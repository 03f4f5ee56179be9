"""Somebody else at work on a volume: its lock is held, as the command line holds it, until it is clear who waits."""

import time
from collections.abc import Callable, Collection
from random import Random

from snapengine import lock
from snapengine.engine import Engine
from tests.load import clients
from tests.load.book import Book

PATIENCE = 30.0  # seconds; far less than a verb of the server waits for a lock
CHANGED = "it is changed"  # which no waiting makes good


class Holder:
    """It holds one volume after the other; that is held now."""

    def __init__(self, engine: Engine, book: Book, readers: Collection[str], volumes: Collection[str]) -> None:
        self._engine, self._book = engine, book
        self._readers, self._volumes = set(readers), set(volumes)
        self.held: str | None = None
        self.times = 0

    def work(self, chance: Random, goes_on: Callable[[], bool]) -> None:
        """Hold volumes drawn by chance, for as long as the run goes on."""
        while True:  # once, however busy the machine
            self._hold(chance.choice(sorted(self._volumes)))
            time.sleep(0.2)
            if not goes_on():
                return

    def _hold(self, volume: str) -> None:
        """Hold a volume until each reader was told of it and each other volume was changed; a fault if that's never."""
        directory = self._engine.volume_path(volume).parents[1]
        with lock.exclusive(directory, "load", PATIENCE):
            since, deadline = self._book.now(), time.monotonic() + PATIENCE
            self.held = volume
            while missing := self._missing(volume, since):
                if missing == CHANGED or time.monotonic() > deadline:
                    self._book.faults.append(f"while volume {volume} is held by another process: {missing}")
                    break
                time.sleep(0.01)
            self.held = None
        self.times += 1

    def _missing(self, volume: str, since: int) -> str:
        """Return who waits for the held volume and should not."""
        calls = self._book.since(since)
        changed = {call.volume for call in calls if call.verb in clients.CHANGES}
        told = {call.client for call in calls if call.verb in clients.READS and call.volume == volume}
        if volume in changed:
            return CHANGED
        if waiting := self._readers - told:
            return f"reads of it wait: {', '.join(sorted(waiting))}"
        if others := self._volumes - changed - {volume}:
            return f"changes of other volumes wait: {', '.join(sorted(others))}"
        return ""
