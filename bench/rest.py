"""The server: what HTTP adds to a verb, how fast and how many reads are answered, and how much memory it takes."""

import random
import select
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from bench import create, measure, talking
from bench.measure import Subject
from bench.row import Bench, Row
from bench.serving import Connection, Server
from bench.site import SIZE, Site
from snapengine import Engine
from snapengine.units import MIB

CLIENTS = 16
EACH = 10  # snapshots that each of them creates in a run
CONNECTIONS, READS = 32, 6000
CREATES, GETS, FIRST = 10_000, 100_000, 1000
DEPTH = 50  # snapshots of a volume, below the limit, before it goes


def _said(name: str) -> object:
    return {"params": {"name": name}}


def _create(bench: Bench, site: Site) -> Row:
    """Compare a create over HTTP with the verb in this process, on the same volume."""
    chain = site.chain(1)
    client = site.server(site.engine.root).connection()
    request = client.request("POST", f"/volumes/{chain.volume}/volume-snapshots", _said("bench"))
    bare = create.subject(site, chain)
    ours = Subject(lambda: client.done(request), bare.ready)
    return bench.difference(measure.alternate(ours, bare, site.runs or bench.runs, site.root))


def _side_by_side(bench: Bench, site: Site) -> Row:
    """Compare clients that create at once, each on a volume of its own, with the same creates one after the other."""
    engine = site.engine
    volumes = [engine.create_volume(f"client-{number}", SIZE).uuid for number in range(CLIENTS)]
    server = site.server(engine.root)
    clients = [(server.connection(), volume) for volume in volumes]

    def alone() -> None:
        for volume in volumes * EACH:
            engine.create_snapshot(volume, "bench")

    def at_once() -> None:
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(_creating, clients))

    return bench.row(measure.alternate(Subject(at_once), Subject(alone), site.runs or bench.runs, site.root, 1))


def _creating(client: tuple[Connection, str]) -> None:
    connection, volume = client
    request = connection.request("POST", f"/volumes/{volume}/volume-snapshots", _said("bench"))
    for _ in range(EACH):
        connection.done(request)


def _read(bench: Bench, site: Site, requests: Callable[[Site, Connection], Sequence[bytes]]) -> Row:
    """Return the median time of a read, one after the other over one connection."""
    client = site.server(site.inventories).connection()
    wanted = requests(site, client)
    took = [_timed(client, request) for request in islice(cycle(wanted), site.runs or bench.runs)]
    return bench.absolute(1000 * statistics.median(took))


def _timed(client: Connection, request: bytes) -> float:
    start = time.perf_counter()
    client.done(request)
    return time.perf_counter() - start


def _single(site: Site, client: Connection) -> list[bytes]:
    """Return requests for single snapshots; whoever asks for all first lets the server read them all."""
    found = client.answer("GET", "/volume-snapshots?limit=100000&fields=uuid")["inventories"]
    uuids = [each["uuid"] for each in random.Random(1).sample(found, 1000)]
    return [client.request("GET", f"/volume-snapshots/{uuid}") for uuid in uuids]


def _pages(site: Site, client: Connection) -> list[bytes]:
    """Return requests for the newest 100 snapshots of a volume."""
    found = client.answer("GET", "/volume-snapshots?limit=100000&groupBy=volumeUuid")["inventories"]
    wanted = "sort=-createDate&replyWithCount=true&limit=100"
    return [client.request("GET", f"/volume-snapshots?q=volumeUuid={each['volumeUuid']}&{wanted}") for each in found]


def _many(bench: Bench, site: Site) -> Row:
    """Return the time for each of many reads over many connections at once."""
    server = site.server(site.inventories)
    clients = [server.connection() for _ in range(CONNECTIONS)]
    wanted = _single(site, clients[0])
    start = time.perf_counter()
    _read_at_once(clients, islice(cycle(wanted), READS))
    return bench.absolute(1000 * (time.perf_counter() - start) / READS)


def _beside(bench: Bench, site: Site) -> Row:
    """Return the median time of a read while another client has all snapshots sorted."""
    server = site.server(site.inventories)
    client, other = server.connection(), server.connection()
    wanted, took = cycle(_single(site, client)), list[float]()
    while len(took) < (site.runs or bench.runs):
        other.socket.sendall(other.request("GET", "/volume-snapshots?sort=-name"))
        while not select.select([other.socket], [], [], 0)[0]:
            took.append(_timed(client, next(wanted)))
        other.reply()
    return bench.absolute(1000 * statistics.median(took))


def _read_at_once(clients: Sequence[Connection], requests: Iterable[bytes]) -> None:
    """Make requests over all connections, on each the next one as soon as it has its reply."""
    left = iter(requests)

    def asking() -> talking.Talk:
        for request in left:
            yield request

    talking.hold((client, asking()) for client in clients)


def _peak(bench: Bench, site: Site) -> Row:
    return bench.absolute(max(_memory(site)) / MIB, "MiB")


def _growth(bench: Bench, site: Site) -> Row:
    early, *later = _memory(site)
    return bench.absolute((max(later) - early) / MIB, "MiB")


def _memory(site: Site) -> list[int]:
    """
    Return what a server takes after the first thousand creates, and GETs, and after each further tenth of all.

    Volumes that are full are expunged, so that the store does not grow: what the server knows of it would too.
    """
    if "memory" not in site.kept:
        root = site.root / "memory"
        Engine.init(root)
        server = site.server(root)
        site.kept["memory"] = _load(root, server)
    return site.kept["memory"]


def _load(root: Path, server: Server) -> list[int]:
    found = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        for creates in (FIRST, *[(CREATES - FIRST) // 10] * 10):
            made = list(pool.map(partial(_volume_of, server), [DEPTH] * (creates // DEPTH)))
            readers = [server.connection() for _ in range(CONNECTIONS)]  # those of before were idle for too long
            requests = (readers[0].request("GET", f"/volume-snapshots/{uuid}") for _, uuid in made)
            _read_at_once(readers, islice(cycle([*requests]), creates * GETS // CREATES))
            found.append(server.memory())
            list(pool.map(partial(_expunged, server), [volume for volume, _ in made]))
    return found


def _volume_of(server: Server, depth: int) -> tuple[str, str]:
    """Make a volume with so many snapshots, and return its uuid and that of one of them."""
    client = server.connection()
    said = {"params": {"name": "bench", "diskSize": MIB}}
    volume = client.answer("POST", "/volumes/data", said)["inventory"]["uuid"]
    made = [client.answer("POST", f"/volumes/{volume}/volume-snapshots", _said("bench")) for _ in range(depth)]
    return volume, made[-1]["inventory"]["uuid"]


def _expunged(server: Server, volume: str) -> None:
    client = server.connection()
    client.answer("DELETE", f"/volumes/{volume}")
    client.answer("PUT", f"/volumes/{volume}/actions", {"expungeDataVolume": {}})


_HELD = "10,000 snapshots, over HTTP: "
_DONE = "10,000 creates and 100,000 GETs over HTTP: "

BENCHES = (
    Bench("rest-create", "POST create over HTTP - Engine.create_snapshot", 4.0, 60, _create),
    Bench("rest-get", f"{_HELD}GET of one, median", 2.0, 2000, partial(_read, requests=_single)),
    Bench("rest-many", f"{_HELD}GET of one, {CONNECTIONS} connections, a request", 1.0, 1, _many),
    Bench("rest-beside", f"{_HELD}GET of one while all are sorted for another, median", 10.0, 400, _beside),
    Bench("rest-page", f"{_HELD}GET page of 100 of a volume, median", 15.0, 400, partial(_read, requests=_pages)),
    Bench("rest-clients", f"{CLIENTS} clients create over HTTP / one after the other in-process", 1 / 1.5, 5,
          _side_by_side),
    Bench("rest-memory", f"{_DONE}memory", 200.0, 1, _peak),
    Bench("rest-growth", f"{_DONE}its growth after the first {FIRST:,}", 2.0, 1, _growth),
)  # fmt: skip
