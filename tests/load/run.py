"""Let many clients read and write at once; then see who waited for whom, and that what was acknowledged is there."""

import itertools
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

from bench import talking
from bench.serving import Connection
from snapengine.engine import Engine
from tests.command_line import START
from tests.load import clients, judge
from tests.load.book import Book
from tests.load.clients import Client
from tests.load.held import Holder
from tests.load.judge import Report
from tests.oracle import CLUSTER, Oracle
from tests.serving import Server

WORKERS = 4  # of the server: as many operations side by side


class Crew(NamedTuple):
    """How many there are: writers on each volume, readers of all of them."""

    volumes: int = 8
    writers: int = 3
    readers: int = 16


def load(place: Path, seconds: float, seed: int, crew: Crew, broken: str = "") -> Report:
    """Work in place, an empty directory, for so long, a quarter of it reading alone; return how it went."""
    oracle = Oracle(Engine.init(place / "store"))
    bases = {volume: _base(oracle, volume) for volume in (oracle.volume(f"disk-{n}") for n in range(crew.volumes))}
    start = f"from tests.load import ill; ill.fall({broken!r}); {START}"
    server = Server(
        oracle.engine.root, start=start,
        SNAPENGINE_SERVE_WORKERS=str(WORKERS), SNAPENGINE_SERVE_WINDOW="600",  # seconds: no call becomes a job
    )  # fmt: skip
    try:
        with closing(Run(server, oracle.engine, bases, crew, Random(seed))) as run:
            run.alone(seconds / 4)
            run.beside(seconds * 3 / 4)
    finally:
        code = server.stop()
    if code:
        run.book.faults.append(f"the server ended with {code}")
    return judge.report(oracle, run.first, run.book, run.left, run.holder.times, 2 * crew.writers)


def _base(oracle: Oracle, volume: str) -> str:
    """Give a volume a chain with contents of its own, and return the snapshot in the middle."""
    made = []
    for layer in range(3):
        oracle.write(volume, layer * CLUSTER, 2 * CLUSTER)
        made.append(oracle.create(volume, f"base-{layer}").uuid)
    oracle.write(volume, 3 * CLUSTER, CLUSTER)
    return made[1]


class Run:
    """A run: the same readers twice, alone and beside others."""

    def __init__(self, server: Server, engine: Engine, bases: clients.Bases, crew: Crew, chance: Random) -> None:
        self._server, self._session = server, server.client().session
        self._bases, self._chance = bases, chance
        self._readers = [f"reader {n}" for n in range(crew.readers)]
        self._writers = [(f"writer {n}", volume) for n, volume in enumerate([*bases] * crew.writers)]
        self._connections: list[Connection] = []
        self.first, self.book = Book(), Book()
        self.holder = Holder(engine, self.book, self._readers, bases)
        self.left: dict[str, str] = {}

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections:
            connection.socket.close()

    def alone(self, seconds: float) -> None:
        """Let all readers read."""
        talking.hold(self._reading(self.first, _until(seconds), lambda: None))

    def beside(self, seconds: float) -> None:
        """Let all readers read while others write, go away, and hold volumes."""
        goes_on = _until(seconds)
        with ThreadPoolExecutor() as pool:
            holding = pool.submit(self.holder.work, Random(self._chance.random()), goes_on)
            leaving = pool.submit(self._leaving, goes_on)
            others = [(self._client(n, self.book, lambda: not holding.done()), volume) for n, volume in self._writers]
            writing = [(client.connection, clients.writer(client, volume)) for client, volume in others]
            reading = self._reading(self.book, lambda: not holding.done(), lambda: self.holder.held)
            talking.hold([*reading, *writing])
            holding.result()
            leaving.result()

    def _reading(
        self, book: Book, goes_on: Callable[[], bool], there: Callable[[], str | None]
    ) -> list[tuple[Connection, talking.Talk]]:
        readers = [self._client(name, book, goes_on) for name in self._readers]
        return [(client.connection, clients.reader(client, self._bases, there)) for client in readers]

    def _client(self, name: str, book: Book, goes_on: Callable[[], bool]) -> Client:
        return Client(name, self._connection(), book, Random(self._chance.random()), goes_on)

    def _connection(self) -> Connection:
        self._connections.append(Connection(self._server.port, self._session))
        return self._connections[-1]

    def _leaving(self, goes_on: Callable[[], bool]) -> None:
        """Ask for a snapshot of each volume and go away, at once or a moment later, a few times."""
        wait = itertools.cycle((0, 0.01))
        for volume, seconds in itertools.islice(zip(itertools.cycle(self._bases), wait), 5 * len(self._bases)):
            if goes_on() or not self.left:
                asked = uuid.uuid4().hex
                self.left[asked] = volume
                clients.leave(self._connection(), volume, asked, seconds)
                time.sleep(0.1)


def _until(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() < deadline
