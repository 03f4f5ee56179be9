"""Clients that are slow, idle, many, half gone or in a hurry: each is answered or dropped, and keeps nobody out."""

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from snapengine import lock
from tests import serving
from tests.command_line import START
from tests.serving import MIB, Client, Server

FEW = 400  # files that the server may have open
CROWD = 300


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that waits a second for its clients, and may have few files open."""
    few = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({FEW}, {FEW})); "
    root = tmp_path_factory.mktemp("strict") / "storage"
    running = Server(root, start=few + START, SNAPENGINE_SERVE_IDLE_SECONDS="1")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


def create(session: str, volume: str, body: bytes, length: int | None = None) -> bytes:
    """Return the bytes of a call that creates a snapshot; length is how long it says that its body is."""
    lines = [
        f"POST /zstack/v1/volumes/{volume}/volume-snapshots HTTP/1.1", "Host: x", f"Authorization: OAuth {session}",
        f"Content-Length: {len(body) if length is None else length}", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode() + body


def count(client: Client, volume: str) -> int:
    return int(client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}&count=true")["total"])


def dripped(server: Server, first: bytes, drop: bytes) -> bytes:
    """Send bytes, then a drop every tenth of a second until the server closes; return what it has answered."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as s:
        s.sendall(first)
        found, deadline = b"", time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if not (piece := s.recv(65536)):
                    return found
                found += piece
            except TimeoutError:
                pass
            except ConnectionError:
                return found
            try:
                s.send(drop)
            except OSError:
                return found
    raise AssertionError(f"the server has not closed; it answered {found!r}")


@pytest.mark.parametrize("first", [b"GET /", b"GET / HTTP/1.1\r\nX-Slow: "], ids=["line", "header"])
def test_who_drips_headers_is_dropped_and_answered_nothing(strict: Server, first: bytes) -> None:
    assert dripped(strict, first, b"a") == b""


def test_who_drips_a_body_is_told_so_and_makes_nothing(strict: Server) -> None:
    client = strict.client()
    volume = client.volume()

    reply = dripped(strict, create(client.session, volume, b'{"params":{"name":"', 10_000), b"a")

    assert reply.startswith(b"HTTP/1.1 408 ") and reply.count(b"HTTP/1.1") == 1, reply
    assert b"the body did not come in time" in reply
    assert count(client, volume) == 0


def test_who_closes_in_the_middle_of_a_body_makes_nothing(strict: Server) -> None:
    client = strict.client()
    volume, cut = client.volume(), b'{"params":{"name":"cut"}}'

    for how in (socket.SHUT_WR, socket.SHUT_RDWR):
        with socket.create_connection(("127.0.0.1", strict.port), timeout=60) as s:
            s.sendall(create(client.session, volume, cut, len(cut) + 10))
            s.shutdown(how)
            assert b"HTTP/1.1 200" not in serving.answer(s)

    assert count(client, volume) == 0
    assert client.snapshot(volume, "whole")["name"] == "whole"


def test_a_crowd_of_idle_clients_keeps_out_neither_old_ones_nor_new(strict: Server) -> None:
    old = strict.client()
    volume = old.volume()
    crowd = []
    try:
        for number in range(CROWD):
            crowd.append(socket.create_connection(("127.0.0.1", strict.port), timeout=60))
            crowd[-1].sendall(b"GET /zstack/v1/zones HTT")
            if number % 25 == 0:  # an old client's connection is as good as new, whoever comes
                assert old.done("GET", "/zones")["total"] == 0
        assert old.snapshot(volume, "old")["name"] == "old"
        assert strict.client().snapshot(volume, "new")["name"] == "new"
    finally:
        for each in crowd:
            each.close()
    assert "out of system resource" not in strict.log.read_text()


def test_what_stands_behind_a_body_in_pieces_is_no_header_and_takes_no_memory(strict: Server) -> None:
    client, trailers = strict.client(), b"a: b\r\n" * 500_000
    put = b"PUT /zstack/v1/volume-snapshots/batch-delete HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b'2a\r\n{"batchDeleteVolumeSnapshot":{"uuids":[]}}\r\n0\r\n'

    late = strict.raw(put + body + f"Authorization: OAuth {client.session}\r\n\r\n".encode())

    assert b"missing header 'Authorization'" in late
    small = memory(strict)
    login = put.replace(b"volume-snapshots/batch-delete", b"accounts/login")
    with socket.create_connection(("127.0.0.1", strict.port), timeout=60) as s:
        s.sendall(login + b"0\r\n" + trailers)
        assert memory(strict) - small < 20 * MIB


def test_a_hundred_headers_are_enough(strict: Server) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"

    assert strict.raw(get + b"a: b\r\n" * 99 + b"\r\n").startswith(b"HTTP/1.1 200 ")
    assert strict.raw(get + b"a: b\r\n" * 100 + b"\r\n").startswith(b"HTTP/1.1 400 ")


def test_headers_of_a_next_request_have_an_end_while_a_call_runs_too(strict: Server) -> None:
    client = strict.client()
    volume = client.volume()
    with lock.exclusive(strict.engine.volume_path(volume).parents[1], "hold"):
        waiting = create(client.session, volume, b'{"params":{"name":"n"}}')
        assert b"headers are too large" in dripped(strict, waiting + b"GET / HTTP/1.1\r\nX: ", b"a" * 40_000)


def memory(server: Server) -> int:
    """Return the bytes of memory that a server's process takes."""
    told = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(told.partition("VmRSS:")[2].split()[0]) * 1024


def test_who_asks_for_much_and_reads_nothing_is_dropped_and_takes_little_memory(strict: Server) -> None:
    def files() -> int:
        return len(os.listdir(f"/proc/{strict.process.pid}/fd"))

    get = b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n"
    before = files()
    strict.raw(get)
    small, most = memory(strict), 0
    with ExitStack() as stack:
        for _ in range(40):
            greedy = stack.enter_context(socket.create_connection(("127.0.0.1", strict.port)))
            greedy.sendall(8 * get)
            assert greedy.recv(4) == b"HTTP"
            most = max(most, memory(strict))
        deadline = time.monotonic() + 60
        while (now := files()) > before:
            assert time.monotonic() < deadline, now
            time.sleep(0.05)
    assert most - small < 40 * MIB


def test_writes_in_a_row_on_one_connection_are_done_in_their_order_and_none_is_lost(
    server: Server, client: Client
) -> None:
    volume, names = client.volume(), [f"n{number}" for number in range(6)]
    calls = [create(client.session, volume, json.dumps({"params": {"name": name}}).encode()) for name in names]
    calls[3] = create(client.session, volume, b'{"params":{}}')

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(b"".join(calls))
        found = b""
        while len(re.findall(rb'\r\n\r\n\{.*?\}\}', found)) < len(calls):
            piece = s.recv(65536)
            assert piece, found
            found += piece

    assert [int(code) for code in re.findall(rb"HTTP/1.1 (\d+)", found)] == [200, 200, 200, 503, 200, 200]
    assert re.findall(rb'"name":"(n\d)"', found) == [name.encode() for name in names if name != "n3"]
    line = client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}&sort=distance")["inventories"]
    assert [each["name"] for each in line] == [name for name in names if name != "n3"]
    assert [each.get("parentUuid") for each in line[1:]] == [each["uuid"] for each in line[:-1]]


LONE = b"\xed\xa0\x80"  # half of a pair of surrogates, as UTF-8 may not hold it
PLACES: dict[str, tuple[bytes, bytes]] = {
    "a condition": (b"GET /zstack/v1/volumes?q=name=%ed%a0%80", b"400"),
    "a condition, raw": (b"GET /zstack/v1/volumes?q=name=" + LONE, b"400"),
    "a limit": (b"GET /zstack/v1/volumes?limit=%ed%a0%80", b"400"),
    "the path": (b"GET /zstack/v1/volumes/%ed%a0%80", b"400"),
    "a job": (b"GET /zstack/v1/api-jobs/%ed%a0%80", b"400"),
    "a delete": (b"DELETE /zstack/v1/volume-snapshots/" + b"0" * 32 + b"?scope=%ed%a0%80", b"400"),
}


@pytest.mark.parametrize("place", PLACES)
def test_half_a_pair_of_surrogates_in_a_url_is_refused(server: Server, client: Client, place: str) -> None:
    target, status = PLACES[place]
    head = f" HTTP/1.1\r\nHost: x\r\nAuthorization: OAuth {client.session}\r\nConnection: close\r\n\r\n"

    reply = server.raw(target + head.encode())

    assert reply.startswith(b"HTTP/1.1 " + status), reply


@pytest.mark.parametrize(
    "header, told",
    [("Authorization: OAuth ", b"ID.1001"), ("Authorization: ZStack a:", b"missing header 'Date'"),
     ("X-Job-UUID: ", b"invalid header 'X-Job-UUID'"), ("X-Web-Hook: ", b"header 'X-Web-Hook' is not allowed"),
     ("Content-Length: ", b""), ("Prefer: ", b"SYS.1003"), ("Host: ", b"SYS.1003"), ("Accept-Encoding: ", b"SYS.1003")],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_half_a_pair_of_surrogates_in_a_header_is_told(
    server: Server, client: Client, header: str, told: bytes
) -> None:
    name = header.partition(":")[0]
    lines = {"Host": b"x", "Authorization": f"OAuth {client.session}".encode(), "Content-Length": b"23"}
    lines |= {name: header.partition(": ")[2].encode() + LONE}
    head = b"".join(key.encode() + b": " + value + b"\r\n" for key, value in lines.items())

    reply = server.raw(
        b"POST /zstack/v1/volumes/" + b"0" * 32 + b"/volume-snapshots HTTP/1.1\r\n" + head
        + b'\r\n{"params":{"name":"n"}}'
    )  # fmt: skip

    assert re.match(rb"HTTP/1.1 (400|503) ", reply) and told in reply, reply
    assert b"Traceback" not in reply and b"SYS.1000" not in reply
