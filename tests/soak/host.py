"""A server that is killed and started again, with the store and the port that it had."""

import fcntl
import os
import secrets
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from random import Random

from tests import serving
from tests.command_line import START
from tests.serving import Server
from tests.soak.remote import Door
from tests.soak.worker import UNREST

ORPHANS = 60.0  # seconds in which the workers of a killed server must have finished what they were at
HOWS = ("server", "server", "everything", "everything", "worker", "stop")


class Host:
    """The server on the store in place; broken is a way in which it is broken on purpose."""

    def __init__(self, place: Path, broken: str) -> None:
        self._place, self._broken, self._port = place, broken, _free_port()
        self._server = self._started()
        self.kills, self.lived = 0, 0.0
        self.door = Door(self._port, self._server.client().session)

    def _started(self) -> Server:
        start = f"from tests.soak import ill; ill.fall({self._broken!r}); {START}"
        return Server(self._place / "store", "--port", str(self._port), start=start)

    def disturb(self, chance: Random) -> str:
        """Kill the server in one of several ways, and start it again; returns what was wrong, if anything was."""
        how = chance.choice(HOWS)
        if how == "worker":
            if workers := self._server.workers():  # none where all were killed, and nothing was asked for since
                self.kills += 1
                _kill([chance.choice(workers)])
            return ""
        below = serving.children(self._server.process.pid)  # a worker stands before the tools that it has started
        with open(self._place / UNREST, "a") as unrest:
            fcntl.flock(unrest, fcntl.LOCK_EX)
            self.kills += 1
            code = self._server.stop(signal.SIGTERM if how == "stop" else signal.SIGKILL)
            if how == "everything":
                _kill(below)
            self._server = self._started()
            fault = self._gone(below)
        return f"a stopped server ended with {code}" if how == "stop" and code else fault

    def stop(self) -> str:
        """Stop the server for good; returns what was wrong, if anything was."""
        below = serving.children(self._server.process.pid)
        code = self._server.stop()
        return f"the server ended with {code}" if code else self._gone(below)

    def _gone(self, below: list[int]) -> str:
        """Wait until the processes of a server that ended have ended too; returns what was wrong, if anything was."""
        started = time.monotonic()
        while any(map(serving.is_alive, below)):
            if time.monotonic() > started + ORPHANS:
                return f"processes of a server that ended lived on for {ORPHANS} s"
            time.sleep(0.005)
        self.lived = max(self.lived, time.monotonic() - started)
        return ""


def _kill(processes: list[int]) -> None:
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _free_port() -> int:
    """Return a port that nobody gets by chance, not even while the server is not there."""
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = [*range(10_000, low), *range(high + 1, 2**16)] or [0]
    while True:
        with socket.socket() as s, suppress(OSError):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", secrets.choice(ports)))
            return int(s.getsockname()[1])
