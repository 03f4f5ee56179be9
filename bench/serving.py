"""A server of our own, as a process, and a client of it that costs next to nothing: bytes over a kept connection."""

import hashlib
import json
import os
import select
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bench import starting
from bench.measure import Missing

BASE = "/zstack/v1"
PASSWORD = "a password for the bench"
_START = 60.0  # seconds
_PIECE = 2**16


class Server(NamedTuple):
    """A server that runs: its process and port, and the session that all clients share."""

    pid: int
    port: int
    session: str

    def connection(self) -> "Connection":
        """Return a new connection."""
        return Connection(self.port, self.session)

    def memory(self) -> int:
        """Return the bytes that the server and all its processes have in memory, what they share counted once."""
        return sum(map(_memory, (self.pid, *_below(self.pid))))


class Connection:
    """One kept connection; each call waits for its reply."""

    def __init__(self, port: int, session: str = "") -> None:
        self._session = session
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self, method: str, path: str, said: object = None) -> bytes:
        """Return a call as bytes."""
        body = b"" if said is None else json.dumps(said).encode()
        known = f"Authorization: OAuth {self._session}\r\n" if self._session else ""
        head = f"{method} {BASE}{path} HTTP/1.1\r\nHost: bench\r\n{known}Content-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a call and return its reply: status and body."""
        self.socket.sendall(request)
        return self.reply()

    def reply(self) -> tuple[int, bytes]:
        """Return the reply to a call that was sent."""
        found = b""
        while (whole := parsed(found)) is None:
            if not (piece := self.socket.recv(_PIECE)):
                raise ConnectionResetError("the server closed the connection")
            found += piece
        return whole

    def done(self, request: bytes) -> bytes:
        """Send a call that succeeds, and return its answer."""
        status, body = self.exchange(request)
        if status != 200:
            raise Missing(f"the server answered {status}: {body[:300].decode()}")
        return body

    def answer(self, method: str, path: str, said: object = None) -> Any:
        """Make a call that succeeds, and return what its answer says."""
        return json.loads(self.done(self.request(method, path, said)))


def parsed(found: bytes) -> tuple[int, bytes] | None:
    """Return status and body of a reply, None as long as that is not whole."""
    head, end, body = found.partition(b"\r\n\r\n")
    if not end:
        return None
    length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
    return (int(head[9:12]), body) if len(body) >= length else None


@contextmanager
def running(root: Path, *words: str) -> Iterator[Server]:
    """Serve the store at root, which may be new, for the block, with the settings that a user gets."""
    line = starting.line("--root", str(root), "serve", "--port", "0", *words)
    env = {**os.environ, "SNAPENGINE_ADMIN_PASSWORD": PASSWORD}
    log = root.with_name(f"{root.name}.log")
    with log.open("wb") as errors:
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=errors, env=env)
    try:
        port = _port(process, log)
        yield Server(process.pid, port, log_in(port))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(40)
        process.kill()
        process.communicate()


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], _START)
    said = process.stdout.readline().decode() if ready else ""
    if not said.startswith("listening on "):
        raise Missing(f"the server does not start: {log.read_text()[-300:]}")
    return int(said.rpartition(":")[2])


def log_in(port: int) -> str:
    """Return a new session of admin."""
    digest = hashlib.sha512(PASSWORD.encode()).hexdigest()
    said = {"logInByAccount": {"accountName": "admin", "password": digest}}
    return str(Connection(port).answer("PUT", "/accounts/login", said)["inventory"]["uuid"])


def _below(pid: int) -> list[int]:
    found = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return [each for child in found for each in (child, *_below(child))]


def _memory(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return 0
