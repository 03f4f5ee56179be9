"""Web hooks: results sent to where clients want them, and to nowhere else (CONTRACT.md, section 2)."""

import asyncio
import functools
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from snapengine.rest import hooks
from snapengine.rest.faults import Malformed
from snapengine.rest.hooks import Hooks
from snapengine.rest.worker import Outcome
from tests.serving import Client, Server

Told = tuple[str, dict[str, str], bytes]
SECRET = "/done?token=s3cr3t"


class Receiver(ThreadingHTTPServer):
    """What listens for hooks at a port of this machine: keeps what it is told; answers are the first replies."""

    daemon_threads = True

    def __init__(self, *answers: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = list(answers)
        self.told: list[Told] = []

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_port}{SECRET}"

    def wait(self, count: int) -> list[Told]:
        """Return what it was told, once that is so much."""
        _until(lambda: len(self.told) >= count)
        return self.told


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        self.wfile.write(self.server.answers.pop(0) if self.server.answers else b"HTTP/1.1 200 OK\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving(*answers: bytes) -> Iterator[Receiver]:
    receiver = Receiver(*answers)
    thread = threading.Thread(target=receiver.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield receiver
    finally:
        receiver.shutdown()
        receiver.server_close()
        thread.join()


def _until(is_so: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that may call hooks on this machine."""
    running = Server(tmp_path_factory.mktemp("hooked") / "storage", SNAPENGINE_SERVE_WEB_HOOKS="localhost, ci.example")
    yield running
    assert running.stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log and "s3cr3t" not in log and "/done" not in log


@pytest.fixture(scope="module")
def caller(hooked: Server) -> Client:
    return hooked.client()


def create(client: Client, volume: str, url: str, **headers: str) -> Any:
    said = {"params": {"name": "hooked"}}
    return client.call("POST", f"/volumes/{volume}/volume-snapshots", said, X_Web_Hook=url, **headers)


def test_a_result_is_told_to_the_hook_as_a_poll_tells_it(caller: Client) -> None:
    volume = caller.volume()
    with receiving() as receiver:
        for target, success in ((volume, "true"), ("0" * 32, "false")):
            location = create(caller, target, receiver.url).json()["location"]
            polled = caller.job(location)
            path, headers, body = receiver.wait(1).pop()
            assert (path, headers["x-job-uuid"], headers["x-job-success"]) == (SECRET, location[-32:], success)
            assert headers["content-type"] == "application/json;charset=UTF-8"
            assert body == polled.content
        given = "ab" * 16
        assert create(caller, "x", receiver.url, X_Job_UUID=given).status_code == 202
        assert receiver.wait(1).pop()[1]["x-job-uuid"] == given
        refused = caller.call("POST", "/volumes/data", {"params": {"name": 5}}, X_Web_Hook=receiver.url)
        assert refused.status_code == 202
        assert json.loads(receiver.wait(1).pop()[2])["error"]["code"] == "SYS.1007"


def test_a_hook_that_fails_is_called_again_and_keeps_nobody_waiting(hooked: Server, caller: Client) -> None:
    volume = caller.volume()
    with receiving() as other, receiving(
        b"HTTP/1.1 500 No\r\n\r\n", f"HTTP/1.1 307 No\r\nLocation: {other.url}\r\n\r\n".encode(), b"\0garbage\r\n\r\n"
    ) as bad, socket.create_server(("127.0.0.1", 0)) as hanging, receiving() as good:
        hangs = f"http://127.0.0.1:{hanging.getsockname()[1]}/"
        assert create(caller, volume, hangs).status_code == 202
        assert create(caller, volume, "http://[::1]:9/").status_code == 202
        assert create(caller, volume, bad.url).status_code == 202
        assert create(caller, volume, good.url).status_code == 202
        assert len(good.wait(1)) == 1
        assert caller.snapshot(volume, "beside")["name"] == "beside"
        told = bad.wait(4)
        assert len({body for _, _, body in told}) == 1
        assert other.told == []
    _until(lambda: "it answered 307" in hooked.log.read_text())
    assert "it answered 500" in hooked.log.read_text()


def test_who_is_unknown_lets_the_server_call_nobody(hooked: Server) -> None:
    nobody = hooked.client(None)
    with receiving() as receiver:
        reply = create(nobody, "0" * 32, receiver.url, X_Job_UUID="cd" * 16, Authorization="OAuth null")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "ID.1001")
        time.sleep(0.3)
        assert receiver.told == []


def test_a_hook_is_refused_where_none_is_allowed(client: Client, caller: Client) -> None:
    reply = create(client, "0" * 32, "http://localhost:1/")
    assert (reply.status_code, "no setting 'web_hooks'" in reply.text) == (400, True)
    reply = create(caller, "0" * 32, "http://169.254.169.254/latest")
    assert (reply.status_code, "leads to 169.254.169.254" in reply.text) == (400, True)
    assert client.call("GET", "/zones", X_Web_Hook="http://localhost:1/").status_code == 200


def test_what_is_owed_to_a_hook_is_told_after_a_kill(tmp_path: Path) -> None:
    first = Server(tmp_path / "storage", SNAPENGINE_SERVE_WEB_HOOKS="localhost")
    with receiving(*[b"HTTP/1.1 503 No\r\n\r\n"] * 100) as receiver:
        try:
            client = first.client()
            location = create(client, client.volume(), receiver.url).json()["location"]
            receiver.wait(1)
        finally:
            first.stop(signal.SIGKILL)
        receiver.answers.clear()
        told = len(receiver.told)
        second = Server(tmp_path / "storage", SNAPENGINE_SERVE_WEB_HOOKS="localhost")
        try:
            path = tmp_path / "storage" / "server" / "jobs" / f"{location[-32:]}.json"
            _until(lambda: "hook" not in json.loads(path.read_text()))
            answer = second.client(None).job(location.replace(first.address, second.address))
            assert len(receiver.told) > told and receiver.told[-1][2] == answer.content
        finally:
            assert second.stop() == 0


ALLOWED = (
    "http://localhost/", "http://LOCALHOST.:81/x", "http://127.9.9.9:5000", "https://[::1]:5000/a?b=c",
    "http://a.localhost/", "http://[::ffff:127.0.0.1]/", "https://ci.example/x", "http://CI.example.:8080/",
)  # fmt: skip
REFUSED = (
    "", "x", "localhost", "//localhost/", "ftp://localhost/", "file:///etc/shadow", "http://", "http:///x",
    "http://localhost:99999/", "http://localhost:x/", "http://localhost:0/", "http://u:p@localhost/",
    "http://u@ci.example/", "http://@localhost/", "http://evil.example/",
    "http://localhost.evil.example/", "http://evil.example#@localhost/",
    "http://10.0.0.1/", "http://0.0.0.0/", "http://[::]/", "http://[::ffff:10.0.0.1]/", "http://2130706433/",
    "http://0x7f.1/", "http://127.1/", "http://sub.ci.example/", "http://local host/", "http://localhost/\r\nX: y",
    "http://localhost/é", "http://[::1/", "http://localhost/" + "x" * 3000,
)  # fmt: skip


@pytest.mark.parametrize("url", ALLOWED)
def test_a_url_of_an_allowed_host_is_taken(url: str) -> None:
    assert hooks.parse(url, frozenset({"localhost", "ci.example"})).url == url
    with pytest.raises(Malformed):
        hooks.parse(url, frozenset())


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_any_other_url_is_refused(number: int) -> None:
    with pytest.raises(Malformed):
        hooks.parse(REFUSED[number], frozenset({"localhost", "ci.example"}))


class Lying(asyncio.SelectorEventLoop):
    """A loop for which every name leads to a receiver, said to have the addresses given first."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self._addresses = addresses

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        if func is not socket.getaddrinfo:
            return super().run_in_executor(executor, func, *args)
        found = self.create_future()
        port = args[1]
        found.set_result([(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self._addresses])
        return found


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("169.254.169.254", "192.0.2.1"), ()], ids=["one", "two", "none"])
def test_a_loopback_name_that_leads_elsewhere_is_not_followed(addresses: tuple[str, ...]) -> None:
    with asyncio.Runner(loop_factory=lambda: Lying(*addresses)) as runner:
        with pytest.raises(hooks.Failed, match="no address that is allowed"):
            runner.run(_send("http://a.localhost/"))


def test_of_the_addresses_of_a_name_only_those_of_this_machine_are_called() -> None:
    lying = functools.partial(Lying, "192.0.2.1", "127.0.0.1")
    with receiving() as receiver, asyncio.Runner(loop_factory=lying) as runner:
        runner.run(_send(receiver.url))
        assert len(receiver.told) == 1


def test_names_that_are_looked_up_for_long_keep_no_other_work_waiting() -> None:
    """What a server does beside its loop, as to check passwords, has threads of its own: here they are all busy."""
    busy, done = threading.Barrier(2), threading.Event()

    async def sent(url: str) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        waiting = loop.run_in_executor(None, lambda: (busy.wait(60), done.wait(60)))
        busy.wait(60)
        try:
            await _send(url)
        finally:
            done.set()
            await waiting

    with receiving() as receiver:
        asyncio.run(sent(receiver.url))
        assert len(receiver.told) == 1


async def _send(url: str) -> None:
    allowed = Hooks(("localhost",))
    hook = allowed.wanted(url)
    assert hook is not None
    await allowed._sent(hook, hooks._request(hook, "ab" * 16, Outcome(b"{}")))
