"""What is malformed gets the contract's answer over a real socket, whatever it is, and changes nothing."""

import json
import re
import socket
import time

import pytest

from tests import serving
from tests.serving import Client, Server

MIB = 2**20


@pytest.fixture(scope="session")
def still(client: Client) -> str:
    """Return a volume with one snapshot, to which nothing is ever done."""
    volume = client.volume("still")
    client.snapshot(volume, "only")
    return volume


def sent(client: Client, method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    """Return the bytes of a request with the client's session."""
    lines = [f"{method} /zstack/v1{path} HTTP/1.1", "Host: x", f"Authorization: OAuth {client.session}", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def params(text: str) -> bytes:
    return f'{{"params":{text}}}'.encode()


# What is sent as the body of a create, and how it is answered.
BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "the body is no JSON object"),
    "cut off": (b'{"params":{"name":"x"', 400, "the body is no JSON object"),
    "text": (b"hello", 400, "the body is no JSON object"),
    "a list": (b"[]", 400, "the body is no JSON object"),
    "null": (b"null", 400, "the body is no JSON object"),
    "two documents": (b"{}{}", 400, "the body is no JSON object"),
    "not UTF-8": (params('{"name":"\xff"}').replace(b"\xc3\xbf", b"\xff"), 400, "the body is no JSON"),
    "a surrogate": (params('{"name":"\\ud800"}'), 400, "the body is no JSON"),
    "a raw control character": (params('{"name":"a\x01"}'), 400, "the body is no JSON"),
    "nested lists": (b"[" * 200_000, 400, "the body is no JSON object"),
    "nested objects": (b'{"params":' * 50_000 + b"1" + b"}" * 50_000, 400, "it is nested too deeply"),
    "nested in an unknown key": (params('{"name":"n","x":%s}' % ("[" * 90_000 + "]" * 90_000)), 400, "too deeply"),
    "no action": (b"{}", 400, "the body has no key of an action"),
    "another action": (b'{"updateVolume":{}}', 400, "the body has no key of an action"),
    "over 1 MiB": (params('{"name":"%s"}' % ("x" * MIB)), 413, "the body is larger than"),
    "params a list": (params("[]"), 503, "SYS.1007"),
    "params null": (params("null"), 503, "SYS.1007"),
    "params a text": (params('"x"'), 503, "SYS.1007"),
    "a huge number": (params('{"name":"n","description":%s}' % ("9" * 5000)), 503, "SYS.1007"),
    "an infinite number": (params('{"name":1e9999}'), 503, "SYS.1007"),
    "NaN": (params('{"name":NaN}'), 400, "the body is no JSON"),
    "an escaped NUL": (params('{"name":"a\\u0000"}'), 503, "SYS.1007"),
}


@pytest.mark.parametrize("body, status, told", BODIES.values(), ids=BODIES.keys())
def test_a_bad_body_is_answered_and_creates_nothing(
    server: Server, client: Client, still: str, body: bytes, status: int, told: str
) -> None:
    reply = server.raw(sent(client, "POST", f"/volumes/{still}/volume-snapshots", body))

    assert reply.startswith(f"HTTP/1.1 {status} ".encode()), reply[:300]
    assert told.encode() in reply and b"Traceback" not in reply
    assert client.done("GET", f"/volume-snapshots?q=volumeUuid={still}&count=true") == {"total": 1}


@pytest.mark.parametrize(
    "method, path, body, told",
    [
        ("PUT", "/volumes/u/actions", {"changeVolumeState": {"stateEvent": "x"}}, "give 'enable' or 'disable'"),
        ("DELETE", "/volume-snapshots/u?scope=all", None, "`$.scope`; give 'chain' or 'single'"),
        ("DELETE", "/volume-snapshots/u?direction=x", None, "`$.direction`; give 'auto' or 'pull' or 'commit'"),
    ],
    ids=("a state", "a scope", "a direction"),
)
def test_who_gives_another_word_than_those_that_there_are_is_told_them(
    client: Client, method: str, path: str, body: object, told: str
) -> None:
    assert client.error(method, path, body)["details"].endswith(told)


def test_of_a_key_given_twice_the_last_one_counts(server: Server, client: Client) -> None:
    body = b'{"params":{"name":"first"},"params":{"name":"a","name":"second"}}'

    reply = server.raw(sent(client, "POST", f"/volumes/{client.volume()}/volume-snapshots", body))

    assert json.loads(reply.partition(b"\r\n\r\n")[2])["inventory"]["name"] == "second"


# Whole requests without a body: the target, and how it is answered.
TARGETS: dict[str, tuple[str, str, int, str]] = {
    "unknown path": ("GET", "/zstack/v1/nonsense", 404, "no api mapping to /v1/nonsense"),
    "below no base": ("GET", "/v1/volumes", 404, "no api mapping to /v1/volumes"),
    "root": ("GET", "/", 404, "no api mapping to /"),
    "another version": ("GET", "/zstack/v2/volumes", 404, "no api mapping"),
    "deeper": ("GET", "/zstack/v1/volumes/a/b/c/d", 404, "no api mapping"),
    "dots": ("GET", "/zstack/v1/volumes/../../../etc/passwd", 404, "no api mapping"),
    "encoded dots": ("GET", "/zstack/v1/volumes/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 200, '"inventories":[]'),
    "an encoded NUL": ("GET", "/zstack/v1/volumes/%00", 200, '"inventories":[]'),
    "a long uuid": ("GET", "/zstack/v1/volume-snapshots/" + "a" * 20_000, 200, '"inventories":[]'),
    "no UTF-8": ("GET", "/zstack/v1/volumes/%ff", 400, "not valid UTF-8"),
    "a wrong method": ("PATCH", "/zstack/v1/volumes", 405, "not allowed"),
    "HEAD": ("HEAD", "/zstack/v1/volumes", 405, ""),
    "a post to a list": ("POST", "/zstack/v1/volumes", 405, "not allowed"),
    "a literal wins": ("GET", "/zstack/v1/volumes/data", 405, "not allowed"),
    "another literal wins": ("DELETE", "/zstack/v1/volume-snapshots/trees", 405, "not allowed"),
    "a slash at the end": ("GET", "/zstack/v1/zones/", 200, '"total":0'),
}


@pytest.mark.parametrize("method, target, status, told", TARGETS.values(), ids=TARGETS.keys())
def test_an_odd_target_is_answered(
    server: Server, client: Client, method: str, target: str, status: int, told: str
) -> None:
    lines = (f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: OAuth {client.session}", "Connection: close")

    reply = server.raw("\r\n".join([*lines, "", ""]).encode())

    assert reply.startswith(f"HTTP/1.1 {status} ".encode()), reply[:300]
    assert told.encode() in reply


RAW: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + bytes(100) + b"\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "a bad header": b"GET /zstack/v1/zones HTTP/1.1\r\nHost: x\r\nbad\x00name: y\r\n\r\n",
    "two lengths": b"GET /zstack/v1/zones HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST /zstack/v1/zones HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    "headers without end": b"GET /zstack/v1/zones HTTP/1.1\r\n" + b"X-A: " + b"a" * 300_000,
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_what_is_no_request_is_answered_400_and_the_connection_closed(server: Server, raw: bytes) -> None:
    reply = server.raw(raw)

    assert reply == b"" or re.match(rb"HTTP/1.1 4\d\d ", reply), reply[:200]
    assert b"Traceback" not in reply


def test_a_call_without_authorization_is_told_so(server: Server) -> None:
    nobody = server.client(None)

    assert nobody.text("GET", "/volumes") == (400, "missing header 'Authorization'")
    for bad in ("OAuth", "Basic YTpi", "ZStack abc", "oauth x", "ZStack"):
        assert nobody.text("GET", "/volumes", Authorization=bad)[0] == 400
    for bad in ("OAuth null", f"OAuth {'0' * 32}", "OAuth ../../x", "OAuth '; drop table"):
        assert nobody.error("GET", "/volumes", Authorization=bad)["code"] == "ID.1001"


def test_requests_in_a_row_on_one_connection_are_answered_in_their_order(server: Server, client: Client) -> None:
    requests = [sent(client, "GET", f"/volumes?q=name=none{number}&count=true") for number in range(20)]
    requests[10] = sent(client, "GET", "/nonsense")

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(b"".join(requests))
        found = b""
        while found.count(b"HTTP/1.1 ") < 20 or not found.endswith((b'{"total":0}', b"nonsense\n")):
            found += s.recv(65536)

    assert [int(code) for code in re.findall(rb"HTTP/1.1 (\d+)", found)] == [200] * 10 + [404] + [200] * 9


def test_a_client_that_closes_its_side_still_gets_the_reply(server: Server, client: Client) -> None:
    volume = client.volume()

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(sent(client, "POST", f"/volumes/{volume}/volume-snapshots", params('{"name":"half"}')))
        s.shutdown(socket.SHUT_WR)
        reply = serving.answer(s)

    assert b'"name":"half"' in reply


def test_a_client_that_goes_away_does_not_stop_its_operation(server: Server, client: Client) -> None:
    volume = client.volume()

    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as s:
        s.sendall(sent(client, "POST", f"/volumes/{volume}/volume-snapshots", params('{"name":"left"}')))

    deadline = time.monotonic() + 60
    while not (there := client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert there[0]["name"] == "left"


def test_a_body_in_pieces_is_read_and_bounded(server: Server, client: Client) -> None:
    head = sent(client, "POST", f"/volumes/{client.volume()}/volume-snapshots").replace(
        b"Content-Length: 0", b"Transfer-Encoding: chunked"
    )

    assert b'"inventory"' in server.raw(head + b"8\r\n{\"params\r\n10\r\n\":{\"name\":\"in\"}}\r\n0\r\n\r\n")
    login = b"PUT /zstack/v1/accounts/login HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n"
    assert b"larger than 16384" in server.raw(login)  # of whom nobody knows
    assert b"HTTP/1.1 413" in server.raw(head + b"200000\r\n" + b"x" * 0x200000 + b"\r\n0\r\n\r\n")


def test_an_answer_is_never_empty_and_never_encoded(client: Client, still: str) -> None:
    reply = client.call("GET", f"/volumes/{still}", Accept_Encoding="gzip, br", Accept="*/*")

    assert reply.status_code == 200 and "content-encoding" not in reply.headers
    assert int(reply.headers["content-length"]) == len(reply.content) > 0


def test_a_reply_waits_for_no_acknowledgement_of_the_client(server: Server, client: Client) -> None:
    spent = [1.0]

    while min(spent) >= 0.035 and len(spent) < 1000:
        began = time.monotonic()
        client.done("GET", "/zones")
        spent.append(time.monotonic() - began)

    assert min(spent) < 0.035  # with headers and body in two delayed packets each takes 40 ms or more
