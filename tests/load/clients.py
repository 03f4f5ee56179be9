"""The clients of a load run, each a conversation with the server."""

import json
import socket
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import NamedTuple

from bench.serving import Connection
from bench.talking import Talk
from tests.load.book import Asking, Book

KEPT = 4  # snapshots of its own that a writer leaves where they are
LEFT = "left"  # the name of the snapshots whose clients go away
LOOKED = 0.2  # of the changes, after how many a writer looks
CHANGES = CREATE, DELETE = "create", "delete"
READS = {"get": "/volume-snapshots/{snapshot}", "page": "/volume-snapshots?q=volumeUuid={volume}&limit=100",
         "tree": "/volume-snapshots/trees?q=volumeUuid={volume}", "volume": "/volumes/{volume}"}  # fmt: skip

Bases = Mapping[str, str]  # of each volume a snapshot that nobody deletes


class Client(NamedTuple):
    """A client: its name and connection, where it notes what it was answered, and whether it still goes on."""

    name: str
    connection: Connection
    book: Book
    chance: Random
    goes_on: Callable[[], bool]

    def ask(self, verb: str, volume: str, method: str, path: str, said: object = None) -> Asking:
        """Make a call, and return what its answer says."""
        request = self.connection.request(method, path, said)
        return (yield from self.book.asked(self.name, verb, volume, request))


def reader(client: Client, bases: Bases, held: Callable[[], str | None]) -> Talk:
    """Read this and that of any volume, more often of the one that is held."""
    volumes = [*bases]
    while True:  # once, however busy the machine
        there = held()
        volume = there if there and client.chance.random() < 0.5 else client.chance.choice(volumes)
        verb, path = client.chance.choice([*READS.items()])
        found = yield from client.ask(verb, volume, "GET", path.format(volume=volume, snapshot=bases[volume]))
        wanted = volume if verb == "volume" else bases[volume]
        if wanted not in json.dumps(found):
            client.book.faults.append(f"{client.name}: {verb} of volume {volume} does not tell of {wanted}")
        if not client.goes_on():
            return


def writer(client: Client, volume: str) -> Talk:
    """Make snapshots of a volume and delete some of them; what was acknowledged must be in the very next answer."""
    own: list[str] = []
    while client.goes_on():
        said = {"params": {"name": client.name}}
        path = f"/volumes/{volume}/volume-snapshots"
        made = (yield from client.ask(CREATE, volume, "POST", path, said)).get("inventory")
        if made is None:
            return
        own.append(made["uuid"])
        client.book.made[made["uuid"]] = volume
        yield from _looked(client, volume, made["uuid"], 1)
        if len(own) > KEPT:
            gone = own.pop(client.chance.randrange(len(own)))
            yield from client.ask(DELETE, volume, "DELETE", f"/volume-snapshots/{gone}?scope=single")
            client.book.deleted.add(gone)
            yield from _looked(client, volume, gone, 0)


def _looked(client: Client, volume: str, uuid: str, count: int) -> Asking:
    if client.chance.random() < LOOKED:
        found = yield from client.ask("look", volume, "GET", f"/volume-snapshots/{uuid}")
        if len(found.get("inventories", ())) != count:
            client.book.faults.append(f"{client.name}: snapshot {uuid} was acknowledged, and the next answer differs")


def leave(connection: Connection, volume: str, uuid: str, seconds: float) -> None:
    """Ask for a snapshot with this uuid, and go away so many seconds later."""
    said = {"params": {"name": LEFT, "resourceUuid": uuid}}
    connection.socket.sendall(connection.request("POST", f"/volumes/{volume}/volume-snapshots", said))
    time.sleep(seconds)
    connection.socket.shutdown(socket.SHUT_RDWR)
    connection.socket.close()
