"""Meet an image over HTTP: a server of its own for each case, one request, and its answer as a command would end."""

import hashlib
import http.client
import json
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from snapengine import cli, errors
from tests.hostile.doors import ALONE, LINE, SNAPSHOT

PASSWORD = "a password for tests"
SECONDS = 60.0  # that a server may take to listen
_ACTIONS = f"/volume-snapshots/{SNAPSHOT}/actions"
_REQUESTS: dict[str, tuple[str, str, object]] = {
    "create": ("POST", f"/volumes/{ALONE}/volume-snapshots", {"params": {"name": "new"}}),
    "revert": ("PUT", _ACTIONS, {"revertVolumeFromSnapshot": {}}),
    "delete": ("DELETE", f"/volume-snapshots/{SNAPSHOT}?deleteMode=Permissive", None),
    "clone": ("POST", f"/volumes/data/from/volume-snapshots/{SNAPSHOT}", {"params": {"name": "new"}}),
    "undo": ("PUT", f"/volumes/{LINE}/actions", {"undoSnapshotCreation": {"snapShotUuid": SNAPSHOT}}),
}


class _Connection(http.client.HTTPConnection):
    """A connection to a unix socket."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.host)


def answered(root: Path, request: str) -> int:
    """Start a server on the store at root, send it a request, end it; returns the exit code of a command."""
    tempfile.tempdir = str(root.with_name("outside"))
    os.environ.update(SNAPENGINE_ADMIN_PASSWORD=PASSWORD, SNAPENGINE_SERVE_WORKERS="1")
    os.chdir(root.parent)  # the name of a socket is short
    server = os.fork()
    if server == 0:
        _serve(root)
    try:
        _listening(server)
        digest = hashlib.sha512(PASSWORD.encode()).hexdigest()
        login = {"logInByAccount": {"accountName": "admin", "password": digest}}
        _, opened = _called("PUT", "/accounts/login", login)
        method, path, body = _REQUESTS[request]
        status, reply = _called(method, path, body, Authorization=f"OAuth {opened['inventory']['uuid']}")
    finally:
        os.kill(server, signal.SIGTERM)
        os.waitpid(server, 0)
    return _told(status, reply)


def _serve(root: Path) -> None:
    os.dup2(os.open("outside/log", os.O_WRONLY | os.O_CREAT, 0o600), 2)
    try:
        cli.main(["--root", str(root), "serve", "--socket", "outside/socket"])
    finally:
        os._exit(0)


def _listening(server: int) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        with socket.socket(socket.AF_UNIX) as s:
            if s.connect_ex("outside/socket") == 0:
                return
        assert time.monotonic() < deadline and os.waitpid(server, os.WNOHANG) == (0, 0), "the server does not listen"
        time.sleep(0.05)


def _called(method: str, path: str, body: object, **headers: str) -> tuple[int, Any]:
    connection = _Connection("outside/socket", timeout=300)
    connection.request(method, f"/zstack/v1{path}", json.dumps(body) if body else None, headers)
    reply = connection.getresponse()
    text = reply.read()
    connection.close()
    return reply.status, json.loads(text) if reply.status in (200, 503) else text.decode()


def _told(status: int, reply: Any) -> int:
    """Print a refusal as one line on stderr, and return the exit code of the kind of error that has its code."""
    if status == 200:
        return 0
    if status != 503:
        print(f"status {status}: {reply}", file=sys.stderr)
        return 70
    fault = reply["error"]
    while fault.get("cause"):
        fault = fault["cause"]
    print(fault["details"], file=sys.stderr)
    kinds = (errors.Corrupt, errors.Refused, errors.NoSpace, errors.CommandFailed)
    return {kind.description: kind.exit_code for kind in kinds}.get(fault["description"], 70)
