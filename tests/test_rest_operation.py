"""The server as an operator runs it: where it listens, its settings, how it stops, what it tells of itself."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from snapengine import lock, records
from snapengine.engine import Engine
from snapengine.intent import Entry
from tests import at_work, serving
from tests.command_line import START, environment, process
from tests.serving import Client, Server, answer

Start = Callable[..., Server]
PASSED = """
import os, sys
os.dup2(int(sys.argv.pop(1)), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
from snapengine import cli
sys.exit(cli.main())
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a server on the test's root with further words and settings; it is killed at the end."""
    started: list[Server] = []

    def begin(*words: str, **more: str) -> Server:
        started.append(Server(tmp_path / "storage", *words, **more))
        return started[-1]

    yield begin
    for each in started:
        each.stop(signal.SIGKILL)


def refused(root: Path, *words: str, code: int = 2, **more: str) -> str:
    """Run a server that does not start, and makes no storage, and return its one line."""
    port = () if "--socket" in words else ("--port", "0")
    before = root.exists()
    ended = process("--root", str(root), "serve", *port, *words, **more)
    assert (ended.code, ended.stdout, ended.stderr.count("\n")) == (code, "", 1), ended
    assert root.exists() == before
    return ended.stderr


def test_other_machines_are_served_with_tls_or_when_that_is_meant(start: Start, tmp_path: Path) -> None:
    assert "--insecure" in refused(tmp_path / "storage", "--host", "0.0.0.0")
    assert "--insecure" in refused(tmp_path / "storage", "--host", "::")
    server = start("--host", "0.0.0.0", "--insecure")

    assert server.client().done("GET", "/zones")["total"] == 0
    assert server.stop() == 0


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 in directory; returns it and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


def test_clients_that_begin_no_handshake_take_neither_all_files_nor_long(start: Start, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    few = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)); "
    tls = ("--tls-cert", str(cert), "--tls-key", str(key))
    server = start(*tls, start=few + START, SNAPENGINE_SERVE_IDLE_SECONDS="3")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(cert)), timeout=60) as old, ExitStack() as crowd:
        for number in range(600):
            crowd.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            if number % 20 == 0:
                assert _again(old, f"{server.address}/healthz") == "ok\n"  # which opens a file
        deadline = time.monotonic() + 60
        while len(os.listdir(f"/proc/{server.process.pid}/fd")) > 100:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        new = ssl.create_default_context(cafile=str(cert))
        assert serving.get(f"{server.address}/healthz", verify=new).text == "ok\n"
    assert "Too many open files" not in server.log.read_text()


def _again(client: httpx.Client, url: str) -> str:
    """Return what is at url; once more where the connection, idle for as long as it may be, was just being closed."""
    try:
        return client.get(url).text
    except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
        return client.get(url).text


def test_https_is_served_with_a_certificate(start: Start, tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    swapped = refused(tmp_path / "storage", "--tls-cert", str(key), "--tls-key", str(cert))
    assert f"{key} is no certificate with the key {cert}; give both as PEM files" in swapped
    none = "error: /none can't be read: No such file or directory;"
    assert none in refused(tmp_path / "storage", "--tls-cert", "/none", "--tls-key", str(key))
    assert none in refused(tmp_path / "storage", "--tls-cert", str(cert), "--tls-key", "/none")
    assert "give both" in refused(tmp_path / "storage", "--tls-cert", str(cert))
    server = start("--tls-cert", str(cert), "--tls-key", str(key))

    assert server.address.startswith("https://127.0.0.1:")
    with httpx.Client(verify=ssl.create_default_context(cafile=str(cert)), timeout=60) as client:
        assert client.get(f"{server.address}/healthz").text == "ok\n"
    assert b"HTTP/1.1 200" not in server.raw(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert server.stop() == 0


def test_a_unix_socket_is_for_owner_and_group(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = start("--socket", str(path))

    assert server.address == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o660
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=60) as client:
        assert client.get("http://localhost/healthz").text == "ok\n"
    assert "somebody listens" in refused(tmp_path / "storage", "--socket", str(path), code=4)
    assert server.stop() == 0
    assert not path.exists()
    path.write_text("precious")
    assert "no socket" in refused(tmp_path / "storage", "--socket", str(path), code=4)
    assert path.read_text() == "precious"
    path.unlink()
    assert "no primary storage" in refused(tmp_path, "--socket", str(path), code=3)
    assert not path.exists()


def test_an_address_that_is_taken_or_not_ours_is_told(server: Server, tmp_path: Path) -> None:
    assert "somebody listens" in refused(tmp_path / "s", "--port", str(server.port), code=4)
    assert "can't listen" in refused(tmp_path / "s", "--host", "192.0.2.1", "--insecure")
    assert "is no address" in refused(tmp_path / "s", "--host", "not an address")


def test_systemd_passes_the_socket_and_is_told_when_it_is_served(tmp_path: Path) -> None:
    Engine.init(tmp_path / "storage")
    with socket.socket() as listening, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(60)
        words = ["--root", str(tmp_path / "storage"), "serve", "--port", "1"]
        running = subprocess.Popen(
            [sys.executable, "-c", PASSED, str(listening.fileno()), *words], pass_fds=[listening.fileno()],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment(NOTIFY_SOCKET=str(tmp_path / "notify"), SNAPENGINE_SERVE_WORKERS="1"),
        )  # fmt: skip
        try:
            assert notified.recv(100) == b"READY=1"
            assert serving.get(f"http://127.0.0.1:{listening.getsockname()[1]}/healthz").text == "ok\n"
        finally:
            running.terminate()
            assert running.wait(60) == 0


def test_the_first_start_prints_a_password_once(tmp_path: Path) -> None:
    Engine.init(tmp_path / "storage")
    first = Server(tmp_path / "storage", SNAPENGINE_ADMIN_PASSWORD="")
    (password,) = re.findall(r"the password of account admin is (\S+);", first.log.read_text())
    assert first.client("admin", password).done("GET", "/zones")["total"] == 0
    assert first.stop() == 0

    second = Server(tmp_path / "storage", SNAPENGINE_ADMIN_PASSWORD="short")  # which only a first start looks at

    assert second.stop() == 0
    assert second.log.read_text().count("the password of") == 1


def test_a_first_password_that_is_too_short_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    told = refused(tmp_path / "storage", SNAPENGINE_ADMIN_PASSWORD="short")
    Engine.init(tmp_path / "empty")

    assert told == "error: SNAPENGINE_ADMIN_PASSWORD: a password has 8 to 255 characters, this one has 5\n"
    assert refused(tmp_path / "empty", SNAPENGINE_ADMIN_PASSWORD="short") == told


def test_settings_come_from_a_file_the_environment_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "serve.toml"
    root = tmp_path / "storage"
    path.write_text('host = "192.0.2.1"\nsession_seconds = 600\naccess_log = false\n')
    more = {"SNAPENGINE_SERVE_CONFIG": str(path), "SNAPENGINE_SERVE_SESSION_SECONDS": "2"}
    server = Server(root, "--host", "127.0.0.1", **more)

    client = server.client()
    valid = f"/accounts/sessions/{client.session}/valid"
    at_work.until(lambda: not client.done("GET", valid)["valid"])
    assert client.error("GET", "/zones")["code"] == "ID.1001"
    assert server.stop() == 0
    assert '"api"' not in server.log.read_text()
    for text, told in {"window = 'x'": f"window in {path} is 'x'; give seconds", "port =": "can't be read"}.items():
        path.write_text(text)
        assert told in refused(root, "--config", str(path))
    assert "SNAPENGINE_SERVE_WORKERS is '0'; give a whole number" in refused(root, SNAPENGINE_SERVE_WORKERS="0")
    assert "/none can't be read: No such file or directory\n" in refused(root, "--config", "/none")
    assert "--socket and --host name two places" in refused(root, "--socket", "/s", "--host", "::1")


def test_a_stop_lets_what_runs_finish(start: Start) -> None:
    server = start(SNAPENGINE_SERVE_GRACE="30")
    client = server.client()
    volume = client.volume()
    with _told_to_stop(server, client, volume) as s:
        at_work.until(lambda: not _lets_in(server))
        held = s.dup()
    with held:
        assert b'"name":"asked"' in answer(held)

    assert server.stop() == 0
    assert [s.name for s in Engine.open(server.root).list_snapshots(volume)] == ["asked"]


def test_what_takes_longer_than_the_grace_time_is_undone(start: Start) -> None:
    server = start(SNAPENGINE_SERVE_GRACE="0.5")
    client = server.client()
    volume = client.volume()
    with _told_to_stop(server, client, volume) as s:
        reply = answer(s)
        assert b"HTTP/1.1 503" in reply and b"SYS.1017" in reply
        assert server.stop() == 0

    engine = Engine.open(server.root)
    assert engine.list_snapshots(volume) == () and engine.verify(deep=True) == ()


def _lets_in(server: Server) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=60).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True


@contextmanager
def _told_to_stop(server: Server, client: Client, volume: str) -> Iterator[socket.socket]:
    """Tell the server to stop while a snapshot, asked for over the connection given, waits for its volume's lock."""
    with lock.exclusive(server.engine.volume_path(volume).parent.parent, "a test"):
        with _asked(server, client, volume) as s:
            server.until_waiting(volume)
            server.process.send_signal(signal.SIGTERM)
            yield s


def _asked(server: Server, client: Client, volume: str) -> socket.socket:
    """Return a connection over which a snapshot was asked for."""
    s = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    body = b'{"params":{"name":"asked"}}'
    lines = [
        f"POST /zstack/v1/volumes/{volume}/volume-snapshots HTTP/1.1", "Host: x",
        f"Authorization: OAuth {client.session}", f"Content-Length: {len(body)}", "Connection: close", "", "",
    ]  # fmt: skip
    s.sendall("\r\n".join(lines).encode() + body)
    return s


def test_the_request_is_named_in_the_reply_the_log_and_the_journal(start: Start) -> None:
    server = start()
    client = server.client()
    volume = client.volume()
    journal = server.root / "journal"
    seen: list[Entry] = []
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            for path in journal.glob("*.json"):
                try:
                    seen.append(records.read(path, Entry))
                except Exception:
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    replies: list[httpx.Response] = []
    try:
        while len(replies) < 5 or not seen:  # an entry is there for a moment only
            replies.append(client.call("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "n"}}))
            assert len(replies) < 100
    finally:
        ended.set()
        watcher.join()

    named = {reply.headers["x-request-id"] for reply in replies}
    assert {entry.request for entry in seen} & named
    assert {entry.request for entry in seen} <= named
    assert server.stop() == 0
    logged = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    lines = [line for line in logged if line["request"] in named]
    assert [(line["api"], line["status"], line["account"], line["volume"]) for line in lines] == [
        ("createVolumeSnapshot", 200, "admin", volume)
    ] * len(replies)


def test_who_watches_a_server_by_head_gets_what_a_get_would_but_no_body(server: Server) -> None:
    with httpx.Client(base_url=server.address, timeout=60) as client:
        for path in ("/healthz", "/metrics", "/openapi.json", "/docs"):
            head, get = client.head(path), client.get(path)

            assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
            assert head.headers["content-type"] == get.headers["content-type"]
        assert client.head("/healthz").headers["content-length"] == "3"


def test_metrics_tell_of_calls_operations_and_the_store(server: Server, client: Client) -> None:
    client.snapshot(client.volume(), "counted")
    deadline = time.monotonic() + 60
    while "snapengine_jobs_running 0.0" not in serving.get(f"{server.address}/metrics").text:  # another test's may run
        assert time.monotonic() < deadline
        time.sleep(0.02)

    text = serving.get(f"{server.address}/metrics").text

    for line in (
        r'snapengine_calls_total{api="createVolumeSnapshot",code="",status="200"} [1-9]',
        r'snapengine_operation_seconds_count{api="createVolumeSnapshot",result="done"} [1-9]',
        r"snapengine_wait_seconds_count [1-9]",
        r"snapengine_snapshots [1-9]",
        r"snapengine_chain_depth_max [1-9]",
        r"snapengine_free_bytes [1-9]",
    ):
        assert re.search(line.replace("{", r"\{").replace("}", r"\}"), text), line


def test_two_servers_on_one_storage_know_each_others_jobs_and_volumes_but_not_sessions(
    server: Server, client: Client
) -> None:
    second = Server(server.root)
    try:
        other, volume = second.client(), client.volume("there")
        with lock.exclusive(server.engine.volume_path(volume).parent.parent, "a test"):
            said = {"params": {"name": "long"}}
            reply = client.call("POST", f"/volumes/{volume}/volume-snapshots", said, Prefer="respond-async")
            beside = reply.json()["location"].replace(server.address, second.address)
            assert [serving.get(beside).status_code for _ in range(3)] == [202] * 3

        assert other.job(beside).json()["inventory"]["name"] == "long"
        assert other.done("GET", f"/volume-snapshots?q=volumeUuid={volume}&count=true") == {"total": 1}
        foreign = f"OAuth {other.session}"
        assert server.client(None).error("GET", "/volumes", Authorization=foreign)["code"] == "ID.1001"
    finally:
        assert second.stop() == 0


def test_the_units_start_what_there_is() -> None:
    unit = (Path(__file__).parents[1] / "systemd" / "snapengine.service").read_text()

    assert re.search(r"^ExecStart=\S+/snapengine serve$", unit, re.MULTILINE)
    assert re.search(r"^Type=notify$", unit, re.MULTILINE) and re.search(r"^KillMode=mixed$", unit, re.MULTILINE)
    assert "Requires=snapengine.socket" in unit
