"""Calls that go on as jobs: polled without a session, kept over a restart, decided by what is there."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry

from snapengine import inventory, layout, lock
from snapengine.engine import Engine
from snapengine.rest import jobs, registry, routes
from snapengine.rest.authority import Who
from snapengine.rest.bodies import Tagged
from snapengine.rest.hooks import Hooks
from snapengine.rest.index import Index
from snapengine.rest.jobs import Job
from snapengine.rest.lines import Lines
from snapengine.rest.measured import Measured
from snapengine.rest.operations import Asked, Operations
from snapengine.rest.registry import Registry
from snapengine.rest.workers import Workers
from tests import serving
from tests.serving import MIB, Client, Server, is_alive

JOB = "0123456789abcdef0123456789abcdef"
CREATE = routes.BY_NAME["createVolumeSnapshot"]


def create(client: Client, volume: str, name: str = "n", **headers: str) -> httpx.Response:
    return client.call("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": name}}, **headers)


def count(client: Client, volume: str) -> int:
    return int(client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}&count=true")["total"])


def test_a_call_with_a_job_uuid_is_answered_at_once_and_polled(server: Server, client: Client) -> None:
    volume = client.volume()

    reply = create(client, volume, "async", X_Job_UUID=JOB, Host="storage.example:8080")

    assert reply.status_code == 202
    assert reply.json() == {"location": f"http://storage.example:8080/zstack/v1/api-jobs/{JOB}"}
    done = client.job(f"{server.address}/zstack/v1/api-jobs/{JOB}")
    assert (done.status_code, done.json()["inventory"]["name"]) == (200, "async")
    again = client.text("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "x"}}, X_Job_UUID=JOB)
    assert again == (400, f"Duplicate job uuid[{JOB}]")
    assert count(client, volume) == 1
    path = server.root / "server" / "jobs" / f"{JOB}.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_client_may_prefer_an_answer_at_once(client: Client) -> None:
    reply = create(client, client.volume(), Prefer="respond-async, wait=10")

    location = reply.json()["location"]
    assert reply.status_code == 202 and re.fullmatch(r"http://.*/zstack/v1/api-jobs/[0-9a-f]{32}", location)
    assert client.job(location).status_code == 200


@pytest.mark.parametrize("uuid", ["", "x", JOB[:-1], f"{JOB}0", "../../../../../../../etc/passwd01", "é" * 16])
def test_a_job_uuid_of_another_form_is_refused(client: Client, uuid: str) -> None:
    assert create(client, JOB, X_Job_UUID=uuid).status_code == 400


def test_an_error_of_a_job_is_told_in_the_job(server: Server, client: Client) -> None:
    for number, (headers, code) in enumerate(
        [({}, "SYS.1003"), ({"Authorization": "OAuth null"}, "ID.1001")]
    ):  # fmt: skip
        uuid = f"{number:x}" * 32
        reply = create(client, JOB, X_Job_UUID=uuid, **headers)
        assert reply.status_code == 202
        failed = client.job(reply.json()["location"])
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, code)
        assert create(client, JOB, X_Job_UUID=uuid, **headers).status_code == 400


def test_a_job_uuid_means_nothing_where_nothing_is_changed(server: Server, client: Client) -> None:
    assert client.call("GET", "/zones", X_Job_UUID=JOB).status_code == 200
    assert client.call("GET", "/zones", X_Job_UUID="x").status_code == 200
    for unknown in ("f" * 32, "x", "%2e%2e%2fsessions", "a" * 500):
        assert client.text("GET", f"/api-jobs/{unknown}") == (404, "the job is unknown, or was forgotten")


def kept(root: Path, uuid: str, age: float = 0.0, **more: Any) -> Path:
    """Write down a job of so many seconds ago, as a server does, and return its file."""
    said = {"name": "deleteVolumeSnapshot", "at": {"uuid": JOB}, "body": msgspec.Raw(b"{}"), "request": "0" * 16}
    job = {"schema_version": inventory.SCHEMA_VERSION, "uuid": uuid, "fresh": JOB, "created": int(time.time() - age)}
    jobs.begin(root, Job(**{**job, **said, **more}))
    path = root / jobs.DIRECTORY / f"{uuid}.json"
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_poll_of_what_failed_under_another_server_is_logged_with_its_code(server: Server, client: Client) -> None:
    error = b'{"error":{"code":"PS.1000","description":"Not enough room","details":"full"}}'
    kept(server.root, "8" * 32, status="failed", answer=msgspec.Raw(error))

    reply = client.call("GET", f"/api-jobs/{'8' * 32}")

    assert (reply.status_code, reply.content) == (503, error)
    (line,) = [line for line in server.log.read_text().splitlines() if reply.headers["x-request-id"] in line]
    assert json.loads(line)["code"] == "PS.1000"


@pytest.mark.parametrize("account", [{}, {"account": "b" * 32}], ids=["nobody", "another"])
def test_a_job_that_was_cut_off_tells_nothing_of_what_its_account_may_not_see(
    server: Server, client: Client, account: dict[str, str]
) -> None:
    uuid = hashlib.md5(repr(account).encode(), usedforsecurity=False).hexdigest()
    volume = client.volume("secret")
    kept(server.root, uuid, name="syncVolumeSize", at={"uuid": volume, **account})

    reply = client.job(f"{server.address}/zstack/v1/api-jobs/{uuid}")

    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "SYS.1006")
    assert "belongs to another account" in reply.text and "secret" not in reply.text


def test_a_job_that_has_ended_does_not_keep_the_much_that_its_client_sent(server: Server, client: Client) -> None:
    location = create(client, client.volume(), "x" * 900_000, Prefer="respond-async").json()["location"]
    assert client.job(location).json()["error"]["code"] == "SYS.1007"
    path = server.root / jobs.DIRECTORY / f"{location.rpartition('/')[2]}.json"
    _until(lambda: json.loads(path.read_text()).get("status") == "failed")
    assert path.stat().st_size < 4096


def test_nobody_else_may_list_the_jobs_whose_names_are_what_a_poll_needs(server: Server, client: Client) -> None:
    done = create(client, client.volume(), Prefer="respond-async").json()["location"]
    assert client.job(done).status_code == 200
    assert (server.root / "server").stat().st_mode & 0o777 == 0o700


def test_a_server_shuts_a_directory_that_an_earlier_one_left_open(tmp_path: Path) -> None:
    jobs.shut(tmp_path)
    (tmp_path / "server").mkdir(mode=0o755)
    jobs.shut(tmp_path)
    assert (tmp_path / "server").stat().st_mode & 0o777 == 0o700


def test_jobs_are_forgotten_after_three_hours_unless_somebody_works_on_them(tmp_path: Path) -> None:
    old, busy, young = (kept(tmp_path, letter * 32, age) for letter, age in (("a", 11000), ("b", 11000), ("c", 10000)))

    with jobs.working(tmp_path, busy.stem):
        jobs.sweep(tmp_path)

    assert [path.exists() for path in (old, busy, young)] == [False, True, True]


def test_a_server_looks_for_jobs_to_forget_from_time_to_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Engine.init(tmp_path / "storage").root
    operations = Operations(Index(root), Workers(root, 1, 1.0), Lines(10), Measured(CollectorRegistry()))
    left = []

    async def begin() -> None:
        known = Registry(root, operations, Hooks(()))
        for letter in "abc":
            old = kept(root, letter * 32, 11000)
            if letter == "c":
                monkeypatch.setattr(registry, "SWEEP", -1.0)
            at, who = {"volumeUuid": JOB}, Who(layout.ADMIN, "admin")
            task = await known.begin(Asked(CREATE, at, Tagged(name="n"), who, "0" * 16, letter.upper() * 32, JOB))
            assert (await task).code == "SYS.1003"
            left.append(old.exists())

    asyncio.run(begin())

    assert left == [False, True, False]


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return what starts a server on a root that all of the test share; whatever runs at its end is killed."""
    started: list[Server] = []

    def begin(**more: str) -> Server:
        started.append(Server(tmp_path / "storage", **more))
        return started[-1]

    yield begin
    for each in started:
        each.stop(signal.SIGKILL)


def test_a_call_that_takes_longer_than_the_window_becomes_a_job(start: Start) -> None:
    own = start(SNAPENGINE_SERVE_WINDOW="0.3")
    client, volume = own.client(), own.engine.create_volume("slow", MIB).uuid

    with lock.exclusive(own.engine.volume_path(volume).parent.parent, "a test"):
        began = time.monotonic()
        reply = create(client, volume, "late")
        assert reply.status_code == 202 and time.monotonic() - began >= 0.3
        location = reply.json()["location"]
        assert serving.get(location).status_code == 202

    done = client.job(location)
    assert (done.status_code, done.json()["inventory"]["name"]) == (200, "late")


def test_operations_on_a_busy_volume_keep_no_others_waiting(start: Start) -> None:
    own = start()
    client = own.client()
    busy, free = client.volume("busy"), client.volume("free")

    with lock.exclusive(own.engine.volume_path(busy).parent.parent, "a test"):
        waiting = [create(client, busy, f"w{number}", Prefer="respond-async") for number in range(8)]
        assert create(client, free, "at once").status_code == 200
        assert client.done("GET", f"/volumes/{busy}")["inventories"][0]["name"] == "busy"

    names = [client.job(reply.json()["location"]).json()["inventory"]["name"] for reply in waiting]
    assert names == [f"w{number}" for number in range(8)]
    line = client.done("GET", f"/volume-snapshots?q=volumeUuid={busy}&sort=distance")["inventories"]
    assert [snapshot["name"] for snapshot in line] == names


def test_what_was_done_before_a_restart_is_known_after_it(start: Start) -> None:
    first = start()
    client = first.client()
    volume = client.volume()
    location = create(client, volume, "before", Prefer="respond-async").json()["location"]
    done = client.job(location).json()
    session = client.session
    assert first.stop() == 0

    second = start()

    assert serving.get(location.replace(first.address, second.address)).json() == done
    again = second.client(None)
    assert again.done("GET", f"/accounts/sessions/{session}/valid") == {"valid": True}
    again.http.headers["Authorization"] = f"OAuth {session}"
    assert create(again, volume, X_Job_UUID=location[-32:]).status_code == 400
    assert second.stop() == 0


def test_a_job_that_a_kill_cut_off_ends_with_what_is_there(start: Start) -> None:
    first = start()
    root, client = first.root, first.client()
    volume, other = client.volume(), client.volume()
    with lock.exclusive(first.engine.volume_path(volume).parent.parent, "a test"):
        location = create(client, volume, "cut off", Prefer="respond-async").json()["location"]
        done = client.job(create(client, other, "done", Prefer="respond-async").json()["location"]).json()
        _until(lambda: len(_working(root)) == 1)
        workers = first.workers()
        first.stop(signal.SIGKILL)
        _kill(workers)
    made = _file_of(root, "done")
    _pretend_cut_off(made)

    second = start()

    nobody = second.client(None)
    failed = nobody.job(location.replace(first.address, second.address))
    assert (failed.status_code, failed.json()["error"]["code"]) == (503, "SYS.1006")
    assert "cut off" in failed.json()["error"]["details"]
    assert nobody.job(f"{second.address}/zstack/v1/api-jobs/{made.stem}").json() == done
    assert json.loads(made.read_text())["status"] == "done"
    assert second.stop() == 0
    assert Engine.open(root).verify(deep=True) == ()


def test_a_worker_whose_server_was_killed_finishes_its_job(start: Start) -> None:
    first = start()
    client = first.client()
    volume = client.volume()
    with lock.exclusive(first.engine.volume_path(volume).parent.parent, "a test"):
        location = create(client, volume, "finished", Prefer="respond-async").json()["location"]
        first.until_waiting(volume)
        workers = first.workers()
        first.stop(signal.SIGKILL)
        second = start()
        moved = location.replace(first.address, second.address)
        assert serving.get(moved).status_code == 202

    done = second.client(None).job(moved)

    assert (done.status_code, done.json()["inventory"]["name"]) == (200, "finished")
    _until(lambda: not any(map(is_alive, workers)))
    assert second.stop() == 0


def test_a_worker_does_not_begin_a_call_whose_server_was_killed(start: Start) -> None:
    first = start()
    client, workers = first.client(), first.workers()
    volume = client.volume()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    location = create(client, volume, "told as cut off", Prefer="respond-async").json()["location"]
    first.until_running()
    first.stop(signal.SIGKILL)

    second = start()
    told = second.client(None).job(location.replace(first.address, second.address))
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    _until(lambda: not any(map(is_alive, workers)))

    assert (told.status_code, told.json()["error"]["code"]) == (503, "SYS.1006")
    assert second.engine.list_snapshots(volume) == ()
    assert second.stop() == 0


# Calls that make something: where they are sent, where it is listed, what is said beside its name.
MAKING: dict[str, tuple[str, str, dict[str, str]]] = {
    "snapshot": ("/volumes/{volume}/volume-snapshots", "/volume-snapshots", {}),
    "group": ("/volume-snapshots/group", "/volume-snapshots/group", {"rootVolumeUuid": "{volume}"}),
    "copy": ("/volumes/data/from/volume-snapshots/{snapshot}", "/volumes", {}),
}


def make(server: Server, client: Client, prefix: str, meanwhile: Callable[[list[str]], None]) -> list[str]:
    """
    Ask for one thing of each kind, of a volume each that is busy so long that the calls become jobs.

    Returns where these are polled, as meanwhile is called with while the volumes still are busy.
    """
    with ExitStack() as busy:
        volumes, locations = [], []
        for what, (path, _, more) in MAKING.items():
            volume = server.engine.create_volume(f"for {prefix} {what}", MIB).uuid
            volumes.append(volume)
            known = {"volume": volume, "snapshot": server.engine.create_snapshot(volume, "base").uuid}
            busy.enter_context(lock.exclusive(server.engine.volume_path(volume).parent.parent, "a test"))
            said = {"name": f"{prefix} {what}", **{key: value.format(**known) for key, value in more.items()}}
            reply = client.call("POST", path.format(**known), {"params": said})
            assert reply.status_code == 202
            locations.append(reply.json()["location"])
        server.until_waiting(*volumes)
        meanwhile(locations)
    return locations


def found(client: Client, prefix: str) -> list[Any]:
    """Return what was made of each kind."""
    lists = {what: listed for what, (_, listed, _) in MAKING.items()}
    return [client.done("GET", f"{lists[what]}?q=name={prefix} {what}")["inventories"] for what in lists]


def test_what_became_of_slow_calls_is_told_after_a_kill(start: Start) -> None:
    first = start(SNAPENGINE_SERVE_WINDOW="0.3", SNAPENGINE_SERVE_WORKERS="3")
    client, workers = first.client(), first.workers()
    done = make(first, client, "done", lambda locations: None)
    for location in done:
        assert client.job(location).status_code == 200

    def kill(locations: list[str]) -> None:
        first.stop(signal.SIGKILL)
        _kill(workers)

    undone = make(first, client, "undone", kill)
    for what in MAKING:
        _pretend_cut_off(_file_of(first.root, f"done {what}"))

    second = start()

    nobody, again = second.client(None), second.client()
    ended = [nobody.job(location.replace(first.address, second.address)) for location in done]
    assert [[reply.json()["inventory"]] for reply in ended] == found(again, "done")
    ended = [nobody.job(location.replace(first.address, second.address)) for location in undone]
    assert [reply.json()["error"]["code"] for reply in ended] == ["SYS.1006"] * 3
    assert found(again, "undone") == [[]] * 3
    assert second.engine.verify(deep=True) == ()


def test_workers_that_outlive_their_server_finish_slow_calls(start: Start) -> None:
    first = start(SNAPENGINE_SERVE_WINDOW="0.3", SNAPENGINE_SERVE_WORKERS="3")
    servers = [first]

    def kill(locations: list[str]) -> None:
        first.stop(signal.SIGKILL)
        servers.append(start())
        for location in locations:
            assert serving.get(location.replace(first.address, servers[1].address)).status_code == 202

    locations = make(first, first.client(), "late", kill)

    nobody = servers[1].client(None)
    ended = [nobody.job(location.replace(first.address, servers[1].address)) for location in locations]
    assert [[reply.json()["inventory"]] for reply in ended] == found(servers[1].client(), "late")


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # an idle one ends by itself
            os.kill(pid, signal.SIGKILL)
    _until(lambda: not any(map(is_alive, pids)))


def test_a_worker_that_dies_is_replaced_and_its_call_answered(start: Start) -> None:
    own = start()
    client = own.client()
    volume = client.volume()

    for _ in range(3):
        for pid in own.workers():
            with suppress(ProcessLookupError):  # one that was killed before is still listed for a moment
                os.kill(pid, signal.SIGKILL)
        reply = create(client, volume)
        assert reply.status_code in (200, 503), reply.text
        assert reply.status_code == 200 or reply.json()["error"]["code"] in ("SYS.1000", "SYS.1006")

    _until(lambda: create(client, volume).status_code == 200)
    assert own.engine.verify(deep=True) == ()


def _working(root: Path) -> list[Path]:
    """Return the files of the jobs that run: what is so by default is not written."""
    found = (root / "server" / "jobs").glob("*.json")
    return [path for path in found if "status" not in json.loads(path.read_text())]


def _file_of(root: Path, name: str) -> Path:
    for path in (root / "server" / "jobs").glob("*.json"):
        if json.loads(path.read_text())["body"]["name"] == name:
            return path
    raise AssertionError(name)


def _pretend_cut_off(path: Path) -> None:
    """Let a job's file be what it was before its worker wrote the result: a kill between both leaves that."""
    job = json.loads(path.read_text())
    del job["answer"], job["status"]
    path.write_text(json.dumps(job))


def _until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_hundreds_of_idle_connections_keep_nobody_out(server: Server, client: Client) -> None:
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=60) for _ in range(800)]
    try:
        assert client.done("GET", "/zones")["total"] == 0
        for s in idle[:50]:
            s.sendall(b"GET /zstack/v1/zones HTT")
        assert client.snapshot(client.volume("beside", MIB), "s")["name"] == "s"
    finally:
        for s in idle:
            s.close()


# Calls that are done before what they answer is written down: what their bodies say, and what does the same.
LOST = {
    "revertVolumeFromSnapshot": ({}, "revert", {}),
    "updateVolumeSnapshot": ({"name": "new"}, "update_snapshot", {"name": "new"}),
    "undoSnapshotCreation": ({"snapShotUuid": JOB}, "undo_snapshot", {}),
    "recoverDataVolume": ({}, "recover_volume", {}),
    "deleteDataVolume": ({}, "delete_volumes", {}),
}


@pytest.mark.parametrize("name", LOST)
def test_a_job_that_was_done_when_all_was_killed_ends_as_done(start: Start, name: str) -> None:
    own = start()
    engine, root = own.engine, own.root
    volume = engine.create_volume("disk", MIB).uuid
    snapshot = engine.create_snapshot(volume, "old").uuid
    if name == "recoverDataVolume":
        engine.delete_volumes((volume,))
    body, verb, more = LOST[name]
    uuid = snapshot if "Snapshot" in name and verb != "undo_snapshot" else volume
    at, said = {"uuid": uuid, "account": layout.ADMIN}, msgspec.Raw(json.dumps(body).encode())
    for job, request in ((JOB, "0123456789abcdef"), (JOB[::-1], "fedcba9876543210")):
        kept(root, job, name=name, at=at, request=request, body=said)
    nobody = own.client(None)
    undone = nobody.job(f"{own.address}/zstack/v1/api-jobs/{JOB[::-1]}")
    assert (undone.status_code, "undone" in undone.text) == (503, True), undone.text

    getattr(engine.asked_by("0123456789abcdef", ""), verb)((uuid,) if verb == "delete_volumes" else uuid, **more)
    Engine.open(root)  # whatever comes first puts right what was cut off

    done = nobody.job(f"{own.address}/zstack/v1/api-jobs/{JOB}")
    assert done.status_code == 200, done.text
    assert not (root / "server" / "ended").exists() or os.listdir(root / "server" / "ended") == []
