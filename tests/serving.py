"""A server as tests run it: `snapengine serve` as a process of its own at a free port, and clients of it."""

import hashlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from snapengine import layout
from snapengine.engine import Engine
from tests.command_line import START, environment

PASSWORD = "a password for tests"
PATIENCE = 60.0  # seconds that a reply may take on a busy machine
MIB = 2**20


class Server:
    """
    A running server on the store at root, made if it is not there; words are further options, by default a free port.

    start is the Python text that calls the command. Its log goes to a file, log.
    """

    def __init__(self, root: Path, *words: str, start: str = START, **more: str) -> None:
        self.root = root
        self.log = root.with_name(f"{root.name}.log")
        port = () if "--socket" in words else ("--port", "0")
        command = [sys.executable, "-c", start, "--root", str(root), "serve", *port, *words]
        env = environment(SNAPENGINE_ADMIN_PASSWORD=PASSWORD, SNAPENGINE_SERVE_WORKERS="2")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, env={**env, **more})
        self.address = self._address()
        self._clients: list[Client] = []

    def _address(self) -> str:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        line = self.process.stdout.readline().decode() if ready else ""
        assert line.startswith("listening on "), (line, self.log.read_text())
        return line.removeprefix("listening on ").strip()

    @property
    def port(self) -> int:
        """Return the port that it listens at."""
        return int(self.address.rpartition(":")[2])

    @property
    def engine(self) -> Engine:
        """Return an engine beside it, as the command line has one."""
        return Engine.open(self.root)

    def client(self, account: str | None = "admin", password: str = PASSWORD) -> "Client":
        """Return a client, logged in unless account is None."""
        self._clients.append(Client(self, account, password))
        return self._clients[-1]

    def raw(self, sent: bytes, seconds: float = PATIENCE) -> bytes:
        """Send bytes, and return all that comes until the server closes or has answered once."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as s:
            s.sendall(sent)
            return answer(s)

    def workers(self) -> list[int]:
        """Return the processes that carry out its operations: all that the fork server has started."""
        below = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        (first,) = [pid for pid in below if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        return [*map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]

    def until_running(self) -> None:
        """Wait until an operation was given to a worker."""
        deadline = time.monotonic() + 60
        while "snapengine_operations_running 1.0" not in get(f"{self.address}/metrics").text:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def until_waiting(self, *volumes: str) -> None:
        """Wait until workers stand at the locks of all these volumes, which the test holds."""
        wanted = {os.path.realpath(self.engine.volume_path(each).parents[1] / layout.LOCK) for each in volumes}
        deadline = time.monotonic() + 60
        while not wanted <= {path for worker in self.workers() for path in _opened(worker)}:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> int:
        """Close the clients, send a signal, wait for the end, and return the exit code."""
        for client in self._clients:
            client.http.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(seconds)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def answer(s: socket.socket) -> bytes:
    """Return one reply from a connection, or what came of it before it was closed."""
    found = b""
    while piece := _piece(s):
        found += piece
        head, end, body = found.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if end and length and len(body) >= int(length[1]):
            break
    return found


def _piece(s: socket.socket) -> bytes:
    try:
        return s.recv(65536)
    except ConnectionResetError:
        return b""


class Client:
    """One client: calls by method and path below /zstack/v1, each with the session that it has."""

    def __init__(self, server: Server, account: str | None, password: str) -> None:
        self.http = httpx.Client(base_url=f"{server.address}/zstack/v1", timeout=PATIENCE)
        self.session = ""
        if account is not None:
            digest = hashlib.sha512(password.encode()).hexdigest()
            said = {"logInByAccount": {"accountName": account, "password": digest}}
            self.session = self.done("PUT", "/accounts/login", said)["inventory"]["uuid"]
            self.http.headers["Authorization"] = f"OAuth {self.session}"

    def call(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Send a call and return the reply; names of headers are given with _ for -."""
        raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        content = None if body is None else json.dumps(body).encode()
        reply = self.http.request(method, path, content=content, headers=raw)
        assert reply.headers["x-request-id"]
        return reply

    def done(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send a call that succeeds, and return its answer."""
        reply = self.call(method, path, body, **headers)
        assert reply.status_code == 200, (reply.status_code, reply.text)
        assert reply.headers["content-type"] == "application/json;charset=UTF-8"
        found = reply.json()
        assert isinstance(found, dict) and "error" not in found
        return found

    def error(self, method: str, path: str, body: object = None, **headers: str) -> Any:
        """Send a call that fails as business does, and return the error object."""
        reply = self.call(method, path, body, **headers)
        assert reply.status_code == 503, (reply.status_code, reply.text)
        found = reply.json()
        assert set(found) == {"error"} and set(found["error"]) - {"cause"} == {"code", "description", "details"}
        return found["error"]

    def text(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, str]:
        """Send a call that is answered in plain text, and return its status and the text."""
        reply = self.call(method, path, body, **headers)
        assert reply.headers["content-type"].lower() == "text/plain;charset=utf-8", reply.text
        return reply.status_code, reply.text.rstrip("\n")

    def volume(self, name: str = "disk", size: int = MIB) -> str:
        """Create a data volume and return its uuid."""
        made = self.done("POST", "/volumes/data", {"params": {"name": name, "diskSize": size}})
        return str(made["inventory"]["uuid"])

    def snapshot(self, volume: str, name: str, **more: object) -> Any:
        """Create a snapshot and return its inventory."""
        said = {"params": {"name": name, **more}}
        return self.done("POST", f"/volumes/{volume}/volume-snapshots", said)["inventory"]

    def job(self, location: str, seconds: float = 60.0) -> httpx.Response:
        """Poll a job until it has ended, as clients do: without a session; return the reply."""
        deadline = time.monotonic() + seconds
        while (reply := get(location)).status_code == 202:
            assert reply.json() == {} and time.monotonic() < deadline
            time.sleep(0.02)
        return reply


def get(url: str, **more: Any) -> httpx.Response:
    """Get what anybody may, over a connection of its own, and be as patient as a test has to be."""
    return httpx.get(url, timeout=PATIENCE, **more)


def children(pid: int) -> list[int]:
    """Return the processes below one; any of them may end meanwhile."""
    found: list[str] = []
    with suppress(FileNotFoundError, ProcessLookupError):
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [each for child in map(int, found) for each in (child, *children(child))]


def _opened(pid: int) -> set[str]:
    """Return the paths of the files that a process has open."""
    found = set()
    with suppress(FileNotFoundError, ProcessLookupError):  # a file may be closed meanwhile, or the process end
        for name in os.listdir(f"/proc/{pid}/fd"):
            found.add(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
