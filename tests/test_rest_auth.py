"""Who a request is from: logins, sessions, signatures, accounts and what they may see."""

import asyncio
import email.utils
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapengine import passwords
from snapengine.engine import Engine
from snapengine.rest import bodies, faults, logins, routes, sessions, signatures, worker
from snapengine.rest.authority import Accounts
from snapengine.rest.things import Thing
from snapengine.rest.worker import Task
from tests.serving import PASSWORD, Client, Server

OTHER = "another password"


def digest(password: str) -> str:
    return hashlib.sha512(password.encode()).hexdigest()


def log_in(client: Client, name: str, password: str) -> object:
    said = {"logInByAccount": {"accountName": name, "password": password, "systemTags": []}}
    return client.call("PUT", "/accounts/login", said).json()


def test_a_login_gives_a_session_that_ends_at_logout(server: Server) -> None:
    nobody = server.client(None)

    answer = nobody.done(
        "PUT", "/accounts/login", {"logInByAccount": {"accountName": "admin", "password": digest(PASSWORD).upper()}}
    )["inventory"]

    assert set(answer) == {"uuid", "accountUuid", "userUuid", "createDate", "expiredDate"}
    session = answer["uuid"]
    assert nobody.done("GET", f"/accounts/sessions/{session}/valid") == {"valid": True}
    assert nobody.done("GET", "/zones", Authorization=f"OAuth {session}")["total"] == 0
    assert nobody.done("DELETE", f"/accounts/sessions/{session}?deleteMode=") == {}
    assert nobody.done("GET", f"/accounts/sessions/{session}/valid") == {"valid": False}
    error = nobody.error("GET", "/zones", Authorization=f"OAuth {session}")
    assert (error["code"], error["details"]) == ("ID.1001", "Session expired")
    assert nobody.done("DELETE", f"/accounts/sessions/{session}") == {}


@pytest.mark.parametrize(
    "name, password",
    [("nobody", digest(PASSWORD)), ("admin", digest("wrong")), ("web", ""), ("web", "x" * 5000), ("", "é")],
)
def test_a_wrong_login_does_not_tell_what_was_wrong(server: Server, name: str, password: str) -> None:
    assert log_in(server.client(None), name, password) == {
        "error": {
            "code": "ID.1000",
            "description": "The login failed",
            "details": "wrong account name or password",
        }
    }


def test_who_guesses_waits_longer_each_time(server: Server) -> None:
    nobody, spent = server.client(None), []

    for _ in range(6):
        began = time.monotonic()
        log_in(nobody, "guessed", digest("guess"))
        spent.append(time.monotonic() - began)

    assert spent[4] >= 1.0 and spent[5] >= 2.0


def test_another_accounts_objects_are_unknown_to_reads_and_forbidden_to_writes(client: Client, other: Client) -> None:
    volume = client.volume("mine")
    made = client.snapshot(volume, "mine")
    own = other.snapshot(other.volume("theirs"), "theirs")
    uuids = [own["uuid"], made["uuid"]]

    seen = {s["uuid"] for s in other.done("GET", "/volume-snapshots")["inventories"]}  # of other tests, too
    assert seen & set(uuids) == {own["uuid"]}
    assert other.done("GET", f"/volume-snapshots/{made['uuid']}") == {"inventories": [], "schema": {}}
    assert other.done("GET", f"/volumes?q=uuid={volume}")["inventories"] == []
    assert other.done("GET", f"/volume-snapshots/trees?q=volumeUuid={volume}")["inventories"] == []
    assert other.done("GET", f"/system-tags?q=resourceUuid={volume}")["inventories"] == []
    for method, path, body in (
        ("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "n"}}),
        ("DELETE", f"/volume-snapshots/{made['uuid']}", None),
        ("DELETE", f"/volumes/{volume}", None),
        ("PUT", f"/volume-snapshots/{made['uuid']}/actions", {"revertVolumeFromSnapshot": {}}),
        ("PUT", "/volume-snapshots/batch-delete", {"batchDeleteVolumeSnapshot": {"uuids": uuids}}),
        ("POST", f"/volumes/data/from/volume-snapshots/{made['uuid']}", {"params": {"name": "n"}}),
        ("POST", "/volume-snapshots/group", {"params": {"name": "n", "rootVolumeUuid": volume}}),
    ):
        error = other.error(method, path, body)
        assert error["code"] == "SYS.1006" and error["details"].startswith("permission denied"), path
    assert client.done("GET", f"/volume-snapshots/{made['uuid']}")["inventories"] == [made]
    assert client.done("GET", f"/volume-snapshots/{own['uuid']}")["inventories"] == [own]


def test_guesses_side_by_side_are_no_faster_and_keep_no_other_name_out() -> None:
    async def guess() -> tuple[list[bool | BaseException], bool]:
        doorman = logins.Doorman()
        for _ in range(logins.FREE):
            assert not await doorman.lets_in("admin", None, "wrong")
        guesses = [doorman.lets_in("admin", None, "wrong") for _ in range(40)]
        *found, other = await asyncio.gather(*guesses, doorman.lets_in("other", None, "x"), return_exceptions=True)
        return found, other is False

    found, was_heard = asyncio.run(guess())

    assert found.count(False) == logins.MAX_HELD and was_heard
    assert sum(isinstance(each, logins.Crowded) for each in found) == len(found) - logins.MAX_HELD


def test_what_another_account_made_since_a_call_was_looked_at_is_forbidden_to_it_too(engine: Engine) -> None:
    other = engine.create_account("other")
    volume = engine.create_volume("mine", 2**20)
    snapshot = engine.create_snapshot(volume.uuid, "mine").uuid
    for name, thing, body in (
        ("deleteVolumeSnapshot", Thing("VolumeSnapshotVO", snapshot, "uuid"), bodies.DeleteSnapshot()),
        ("deleteDataVolume", Thing("VolumeVO", volume.uuid, "uuid"), bodies.Body()),
        ("batchDeleteVolumeSnapshot", Thing("VolumeSnapshotVO", snapshot, ""), bodies.BatchDelete(uuids=(snapshot,))),
    ):
        at = {"uuid": thing.uuid, "account": other.uuid}

        outcome = worker.carry_out(engine, Task(name, at, body, "ab12", "a" * 32, "b" * 32, unknown=(thing,)))

        assert outcome.code == "SYS.1006"
    assert engine.get_snapshot(snapshot).volume_uuid == volume.uuid


BODIES: dict[str, dict[str, object]] = {
    "createVolumeSnapshot": {"name": "n"},
    "createDataVolumeFromVolumeSnapshot": {"name": "n"},
    "changeVolumeState": {"stateEvent": "disable"},
    "resizeRootVolume": {"size": 2**30},
    "resizeDataVolume": {"size": 2**30},
}
WRITES = [call for call in routes.CALLS if call.verb and "{" in call.path and "tags/" not in call.path]


@pytest.mark.parametrize("call", WRITES, ids=lambda call: call.name)
def test_every_call_that_changes_something_is_forbidden_on_what_is_anothers(
    client: Client, other: Client, call: routes.Call
) -> None:
    volume = client.volume("mine")
    snapshot = client.snapshot(volume, "mine")["uuid"]
    named = {"params": {"name": "g", "rootVolumeUuid": volume}}
    group = client.done("POST", "/volume-snapshots/group", named)["inventory"]["uuid"]
    if call.name in ("recoverDataVolume", "expungeDataVolume"):
        client.done("DELETE", f"/volumes/{volume}")
    kind = "group" if "/group/" in call.path or "/ungroup/" in call.path else call.path.split("/")[0]
    uuid = {"group": group, "volumes": volume, "volume-snapshots": snapshot}[kind]
    path = call.path.replace("{volumeSnapshotUuid}", snapshot).replace("{vmInstanceUuid}", "a" * 32)
    path = "/" + path.replace("{volumeUuid}", volume).replace("{uuid}", uuid)
    more = {"snapShotUuid": snapshot} if call.name == "undoSnapshotCreation" else {}
    body = {call.key: BODIES.get(call.name, {}) | more} if call.key else None
    before = _told(client)

    error = other.error(call.method, path, body)

    assert error["code"] == "SYS.1006" and error["details"].startswith("permission denied")
    assert _told(client) == before


def _told(client: Client) -> list[object]:
    """Return what admin is told of all volumes, snapshots and groups."""
    paths = ("/volumes", "/volume-snapshots", "/volume-snapshots/group")
    return [client.done("GET", path)["inventories"] for path in paths]


def test_who_attaches_a_volume_to_anothers_vm_does_not_freeze_the_others_volumes(client: Client, other: Client) -> None:
    vm = "b" * 32
    mine, theirs = client.volume("mine"), other.volume("theirs")
    client.done("POST", f"/volumes/{mine}/vm-instances/{vm}")
    other.done("POST", f"/volumes/{theirs}/vm-instances/{vm}")

    error = other.error("POST", "/volume-snapshots/group", {"params": {"name": "n", "rootVolumeUuid": theirs}})

    assert error["code"] == "SYS.1006" and error["details"].startswith("permission denied")
    for volume in (mine, theirs):
        assert client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"] == []
    made = client.done("POST", "/volume-snapshots/group", {"params": {"name": "n", "rootVolumeUuid": mine}})
    group = made["inventory"]["uuid"]
    assert made["inventory"]["snapshotCount"] == 2
    assert other.done("GET", f"/volume-snapshots/group/{group}")["inventories"] == []
    assert other.error("DELETE", f"/volume-snapshots/group/{group}")["code"] == "SYS.1006"
    for client_, volume in ((client, mine), (other, theirs)):
        client_.done("DELETE", f"/volumes/{volume}/vm-instances")


def test_a_group_of_two_accounts_stays_hidden_when_the_volume_of_one_is_gone_for_good(
    server: Server, client: Client, other: Client
) -> None:
    mine, theirs, also = client.volume("mine"), other.volume("theirs"), other.volume("also theirs")
    mixed = server.engine.create_group("mixed", (mine, theirs)).uuid
    own = server.engine.create_group("own", (theirs, also)).uuid

    for one, volume in ((client, mine), (other, also)):
        one.done("DELETE", f"/volumes/{volume}")
        one.done("PUT", f"/volumes/{volume}/actions", {"expungeDataVolume": {}})

    assert other.done("GET", f"/volume-snapshots/group/{mixed}")["inventories"] == []
    assert other.error("DELETE", f"/volume-snapshots/group/{mixed}")["code"] == "SYS.1006"
    assert [group["uuid"] for group in other.done("GET", "/volume-snapshots/group")["inventories"]] == [own]
    for group in (mixed, own):
        client.done("DELETE", f"/volume-snapshots/group/{group}")


READS = [call for call in routes.CALLS if call.read and call.name != "queryZone" or call.special == "availability"]


@pytest.fixture(scope="module")
def hidden(server: Server, client: Client, other: Client) -> dict[str, str]:
    """Return the uuids of what `other` may not see: all kinds of admin's, and a group of both accounts."""
    volume, gone = client.volume("hidden"), client.volume("hidden too")
    tag = {"resourceType": "VolumeVO", "resourceUuid": volume, "tag": "hidden::too"}
    tags = [client.done("POST", f"/{kind}-tags", {"params": tag})["inventory"]["uuid"] for kind in ("system", "user")]
    mixed = server.engine.create_group("mixed", (volume, other.volume("seen"))).uuid
    snapshot = client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"][0]
    client.done("DELETE", f"/volumes/{gone}")
    return {"volume": volume, "deleted": gone, "snapshot": snapshot["uuid"], "tree": snapshot["treeUuid"],
            "group": mixed, "system tag": tags[0], "user tag": tags[1]}  # fmt: skip


@pytest.mark.parametrize("call", READS, ids=lambda call: call.name)
def test_every_read_answers_for_what_is_anothers_as_for_what_is_unknown(
    client: Client, other: Client, hidden: dict[str, str], call: routes.Call
) -> None:
    unknown = "f" * 12 + "4fff8" + "f" * 15
    if call.special == "availability":
        paths = [call.path + "?uuids={}"]
    elif "{uuid}" in call.path:
        paths = [call.path.replace("{uuid}", "{}")]
    else:
        paths = [f"{call.path}?q=uuid={{}}{more}" for more in ("", "&count=true", "&replyWithCount=true&fields=uuid")]
    for path in paths:
        told = other.call("GET", "/" + path.format(unknown))
        for uuid in hidden.values():
            reply = other.call("GET", "/" + path.format(uuid))
            assert (reply.status_code, reply.text.replace(uuid, unknown)) == (told.status_code, told.text), path
    if call.special != "availability":
        listed = other.call("GET", "/" + call.path.partition("/{")[0]).text
        own = ("group",) if "/group" not in call.path else ()  # a member of one's own says in which it is
        assert not [uuid for kind, uuid in hidden.items() if uuid in listed and kind not in own]


@pytest.mark.parametrize("call", [call for call in WRITES if "group/" in call.path], ids=lambda call: call.name)
def test_no_account_but_admin_changes_a_group_of_two(
    client: Client, other: Client, hidden: dict[str, str], call: routes.Call
) -> None:
    before = _told(client)

    error = other.error(
        call.method, "/" + call.path.replace("{uuid}", hidden["group"]), {call.key: {}} if call.key else None
    )

    assert error["code"] == "SYS.1006" and error["details"].startswith("permission denied")
    assert _told(client) == before


def test_an_account_has_its_quota(server: Server, other: Client) -> None:
    server.engine.set_quota("other", 0)
    try:
        error = other.error("POST", f"/volumes/{other.volume('full')}/volume-snapshots", {"params": {"name": "n"}})
    finally:
        server.engine.set_quota("other", 200)

    assert error["code"] == "ID.1003"


@pytest.fixture
def key(server: Server) -> Iterator[tuple[str, str]]:
    """Return an access key of admin and its secret."""
    made = server.engine.create_access_key("admin")
    yield made.uuid, made.secret
    server.engine.delete_access_key(made.uuid)


@pytest.mark.parametrize("zone", ["GMT", "UTC", "Etc/UTC", "+0000", "-0000", "CST", "Asia/Shanghai", "+0800", "-0130"])
def test_a_signed_request_is_from_the_keys_account(server: Server, key: tuple[str, str], zone: str) -> None:
    hours = {"CST": 8, "Asia/Shanghai": 8, "+0800": 8, "-0130": -1.5}.get(zone, 0)
    date = email.utils.formatdate(time.time() + hours * 3600).replace("-0000", zone)
    signed = signatures.sign(key[1], "GET", date, "/v1/volumes/x%20y")

    reply = server.client(None).call(
        "GET", "/volumes/x%20y?limit=1", Authorization=f"ZStack {key[0]}:{signed}", Date=date
    )

    assert reply.json() == {"inventories": [], "schema": {}}, reply.text


def test_a_signature_of_another_request_or_time_is_refused(server: Server, key: tuple[str, str]) -> None:
    nobody = server.client(None)

    def call(signed: str, date: str | None, method: str = "GET") -> tuple[int, str]:
        headers = {} if date is None else {"Date": date}
        reply = nobody.call(method, "/zones", Authorization=f"ZStack {key[0]}:{signed}", **headers)
        return reply.status_code, reply.text

    date = email.utils.formatdate(usegmt=True)
    good = signatures.sign(key[1], "GET", date, "/v1/zones")
    assert call(good, date)[0] == 200
    assert "ID.1001" in call(good[::-1], date)[1]
    assert "ID.1001" in call(signatures.sign(key[1], "GET", date, "/v1/volumes"), date)[1]
    assert "ID.1001" in call(signatures.sign("x", "GET", date, "/v1/zones"), date)[1]
    assert call(good, None)[0] == 400
    zones = [date.replace("GMT", zone) for zone in ("MARS", "EST", "+9999")]
    dates = ("now", "Thu, 99 Jun 2017 09:20:17 GMT", "Thu, 08 Foo 2017 09:20:17 GMT", *zones, "")
    for bad in dates:
        assert call(signatures.sign(key[1], "GET", bad, "/v1/zones"), bad)[0] == 400
    old = email.utils.formatdate(time.time() - 1000, usegmt=True)
    assert call(signatures.sign(key[1], "GET", old, "/v1/zones"), old)[0] == 403


def test_who_reads_a_signed_request_may_send_it_again_with_another_body_until_its_date_is_off(
    server: Server, key: tuple[str, str]
) -> None:
    nobody = server.client(None)
    date = email.utils.formatdate(time.time() - 14 * 60, usegmt=True)
    said = f"ZStack {key[0]}:{signatures.sign(key[1], 'POST', date, '/v1/volumes/data')}"
    made = []

    for name in ("sent", "sent", "put in its place"):  # the contract's signature is over no number, and no body
        body = {"params": {"name": name, "diskSize": 512}}
        made.append(nobody.done("POST", "/volumes/data", body, Authorization=said, Date=date)["inventory"])

    assert [each["name"] for each in made] == ["sent", "sent", "put in its place"]
    assert len({each["uuid"] for each in made}) == 3
    for path in ("/volumes/data/", "//volumes/data", "/volumes/%64ata"):  # nor sent elsewhere, by whatever name
        assert nobody.call("POST", path, body, Authorization=said, Date=date).status_code != 200


def test_a_deleted_key_signs_nothing(server: Server) -> None:
    made = server.engine.create_access_key("admin")
    date = email.utils.formatdate(usegmt=True)
    said = f"ZStack {made.uuid}:{signatures.sign(made.secret, 'GET', date, '/v1/zones')}"
    nobody = server.client(None)
    assert nobody.done("GET", "/zones", Authorization=said, Date=date)["total"] == 0

    server.engine.delete_access_key(made.uuid)

    assert nobody.error("GET", "/zones", Authorization=said, Date=date)["code"] == "ID.1001"


def test_a_new_password_ends_the_sessions_of_the_old_one(server: Server) -> None:
    engine = server.engine
    engine.create_account("moved")
    engine.set_password("moved", OTHER)
    moved = server.client("moved", OTHER)
    assert moved.done("GET", "/zones")["total"] == 0

    engine.set_password("moved", "a new password")

    assert moved.error("GET", "/zones")["code"] == "ID.1001"
    assert server.client("moved", "a new password").done("GET", "/zones")["total"] == 0


def test_a_session_ends_with_its_time_and_an_account_has_a_bounded_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 3)
    engine = Engine.init(tmp_path / "storage")
    (admin,) = Accounts(engine.root).all()
    ended, lasting = sessions.Sessions(engine.root, 0), sessions.Sessions(engine.root, 7200)
    assert ended.find(ended.open(admin).uuid) is None
    for _ in range(sessions.MAX_SESSIONS):
        last = lasting.open(admin)

    with pytest.raises(faults.TooManySessions):  # ID.1006
        lasting.open(admin)

    assert last.ends - last.created == 7200 and lasting.find(last.uuid) is not None
    lasting.close(last.uuid)
    assert lasting.find(last.uuid) is None and lasting.open(admin)


def test_no_file_and_no_log_holds_a_secret(server: Server, client: Client) -> None:
    client.done("GET", f"/accounts/sessions/{client.session}/valid")

    accounts = (server.root / "accounts.json", server.root / "server" / "sessions.json")
    for path in (*accounts, server.log):
        text = path.read_text()
        for secret in (client.session, digest(PASSWORD), PASSWORD):
            assert secret not in text, path
    assert [path.stat().st_mode & 0o777 for path in accounts] == [0o600, 0o600]


def test_a_password_is_kept_as_salted_scrypt() -> None:
    sent = passwords.digest("correct horse")
    kept, again = passwords.hashed(sent), passwords.hashed(sent)

    assert kept != again and kept.startswith("scrypt$")
    assert passwords.matches(sent, kept) and passwords.matches(sent, again)
    for wrong in (passwords.digest("wrong horse"), "", "x", "é" * 128, sent[:-1]):
        assert not passwords.matches(wrong, kept)
    for damaged in (None, "", "scrypt$$", "scrypt$zz$00", kept[:-2], "md5$" + kept, kept.removeprefix("scrypt$")):
        assert not passwords.matches(sent, damaged)
