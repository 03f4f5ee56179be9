"""Every call of the family over HTTP (CONTRACT.md, section 3), with what the volumes hold."""

from pathlib import Path
from typing import Any

import pytest

from snapengine.engine import Engine
from snapengine.rest import routes
from snapengine.rest.index import Index, Known
from snapengine.rest.things import Thing
from tests import images
from tests.oracle import poke
from tests.serving import MIB, Client, Server

UNKNOWN = "0123456789ab4cde8f0123456789abcd"


def act(client: Client, uuid: str, action: str, body: object = None, kind: str = "volume-snapshots") -> Any:
    """Send an action that succeeds, and return its answer."""
    return client.done("PUT", f"/{kind}/{uuid}/actions", {action: {} if body is None else body})


def write(server: Server, volume: str, pattern: int) -> None:
    """Fill the volume with a pattern, as a guest does."""
    poke(server.engine.volume_path(volume), pattern, 0, MIB)


def held(server: Server, volume: str) -> int:
    """Return the pattern that fills the volume."""
    found = images.read(server.engine.volume_path(volume))
    assert found == found[:1] * MIB
    return found[0]


def test_a_revert_takes_the_volume_back_and_may_be_repeated(server: Server, client: Client) -> None:
    volume = client.volume()
    write(server, volume, 1)
    first = client.snapshot(volume, "first")
    write(server, volume, 2)
    client.snapshot(volume, "second")

    for _ in range(2):
        assert act(client, first["uuid"], "revertVolumeFromSnapshot") == {}
        assert held(server, volume) == 1
    assert client.snapshot(volume, "third")["parentUuid"] == first["uuid"]


def test_a_revert_to_a_snapshot_that_is_not_ready_has_a_code_of_its_own(server: Server, client: Client) -> None:
    made = client.snapshot(client.volume(), "s")
    record = server.engine.snapshot_path(made["uuid"]).with_suffix(".json")
    record.write_text(record.read_text().replace('"Enabled"', '"Disabled"'))

    error = client.error("PUT", f"/volume-snapshots/{made['uuid']}/actions", {"revertVolumeFromSnapshot": {}})
    assert error["code"] == "VOLUME_SNAPSHOT.1000" and "is Disabled, Ready" in error["details"]


def test_a_snapshot_is_updated_and_what_is_absent_stays(client: Client) -> None:
    made = client.snapshot(client.volume(), "old", description="kept")

    changed = act(client, made["uuid"], "updateVolumeSnapshot", {"name": "new", "description": None})["inventory"]

    assert (changed["name"], changed["description"]) == ("new", "kept")
    assert client.done("GET", f"/volume-snapshots/{made['uuid']}")["inventories"] == [changed]


def test_sizes_and_a_shrink_are_told(server: Server, client: Client) -> None:
    volume = client.volume()
    write(server, volume, 7)
    poke(server.engine.volume_path(volume), 0, 0, MIB // 2)
    made = client.snapshot(volume, "fat")

    before = act(client, made["uuid"], "getVolumeSnapshotSize")
    shrunk = client.done("PUT", f"/volume-snapshots/shrink/{made['uuid']}/actions", {"shrinkVolumeSnapshot": {}})

    assert (before["size"], before["actualSize"]) == (MIB, made["size"])
    result = shrunk["shrinkResult"]
    assert result["deltaSize"] == result["oldSize"] - result["size"] >= MIB // 4
    assert act(client, made["uuid"], "getVolumeSnapshotSize")["actualSize"] == result["size"]


@pytest.mark.parametrize(
    "query, left", [("", 1), ("?scope=chain&deleteMode=", 1), ("?scope=single&direction=commit", 2)]
)
def test_a_delete_takes_the_descendants_unless_told_otherwise(
    server: Server, client: Client, query: str, left: int
) -> None:
    volume = client.volume()
    made = []
    for pattern in (1, 2, 3):
        write(server, volume, pattern)
        made.append(client.snapshot(volume, f"s{pattern}"))
    write(server, volume, 4)

    assert client.done("DELETE", f"/volume-snapshots/{made[1]['uuid']}{query}") == {}

    assert client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}&count=true") == {"total": left}
    assert held(server, volume) == 4
    assert client.done("DELETE", f"/volume-snapshots/{made[1]['uuid']}{query}") == {}


def test_a_delete_that_fails_names_its_cause(client: Client) -> None:
    made = client.snapshot(client.volume(), "base")
    said = {"params": {"name": "clone"}, "systemTags": ["volume::fastCreate"]}
    clone = client.done("POST", f"/volumes/data/from/volume-snapshots/{made['uuid']}", said)["inventory"]

    error = client.error("DELETE", f"/volume-snapshots/{made['uuid']}")

    assert (error["code"], error["cause"]["code"]) == ("SYS.1004", "SYS.1006")
    assert clone["name"] in error["details"]
    assert client.done("GET", f"/volume-snapshots/{made['uuid']}&count=true".replace("&", "?")) == {"total": 1}


def test_a_batch_deletes_each_alone_and_tolerates_the_unknown(server: Server, client: Client) -> None:
    volume = client.volume()
    made = [client.snapshot(volume, f"s{number}")["uuid"] for number in range(4)]
    wanted = [made[1], UNKNOWN, made[2], made[1]]

    answer = client.done(
        "PUT", "/volume-snapshots/batch-delete", {"batchDeleteVolumeSnapshot": {"uuids": wanted, "deleteMode": "x"}}
    )

    assert answer == {"results": [{"snapshotUuid": u, "success": True} for u in (made[1], UNKNOWN, made[2])]}
    left = client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"]
    assert [snapshot["uuid"] for snapshot in left] == [made[0], made[3]]
    other = client.snapshot(client.volume(), "other")["uuid"]
    body = {"batchDeleteVolumeSnapshot": {"uuids": [made[0], other]}}
    assert client.error("PUT", "/volume-snapshots/batch-delete", body)["code"] == "SYS.1007"
    body["batchDeleteVolumeSnapshot"]["uuids"] *= 501
    assert "length <= 1000" in client.error("PUT", "/volume-snapshots/batch-delete", body)["details"]


def test_however_many_unknown_snapshots_are_named_each_volume_is_looked_at_once(engine: Engine) -> None:
    made = [engine.create_snapshot(engine.create_volume(name, 2**20).uuid, name) for name in ("one", "two")]
    looked = list[Path]()

    class Noting(Index):
        def volume(self, directory: Path) -> Known | None:
            looked.append(directory)
            return super().volume(directory)

    known = Noting(engine.root)
    uuids = [f"{number:032x}" for number in range(100)] + [snapshot.uuid for snapshot in made]

    found = known.places([Thing("VolumeSnapshotVO", uuid, "uuids", True) for uuid in uuids], None)

    places = [None if place is None else place.volumes for _, place in found]
    assert places == [None] * 100 + [(snapshot.volume_uuid,) for snapshot in made]
    assert len(looked) == 2


def test_a_volume_is_made_of_a_snapshot(server: Server, client: Client) -> None:
    volume = client.volume()
    write(server, volume, 9)
    made = client.snapshot(volume, "source")

    said = {"params": {"name": "copy", "description": "d", "resourceUuid": UNKNOWN}, "userTags": ["mine"]}
    copy = client.done("POST", f"/volumes/data/from/volume-snapshots/{made['uuid']}", said)["inventory"]

    assert (copy["uuid"], copy["name"], copy["description"], copy["type"]) == (UNKNOWN, "copy", "d", "Data")
    assert held(server, UNKNOWN) == 9
    assert client.done("GET", f"/user-tags?q=resourceUuid={UNKNOWN}")["inventories"][0]["tag"] == "mine"


def test_the_latest_snapshot_is_undone_and_no_other(server: Server, client: Client) -> None:
    volume = client.volume()
    first, second = client.snapshot(volume, "first"), client.snapshot(volume, "second")
    write(server, volume, 5)

    wrong = {"undoSnapshotCreation": {"snapShotUuid": first["uuid"]}}
    assert client.error("PUT", f"/volumes/{volume}/actions", wrong)["code"] == "SYS.1006"
    done = act(client, volume, "undoSnapshotCreation", {"snapShotUuid": second["uuid"]}, "volumes")

    assert done["inventory"]["uuid"] == volume
    assert held(server, volume) == 5
    assert client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}&fields=name")["inventories"] == [
        {"name": "first"}
    ]


def test_a_volume_is_flattened_after_its_price_was_asked(server: Server, client: Client) -> None:
    volume = client.volume()
    write(server, volume, 6)
    client.snapshot(volume, "below")

    price = act(client, volume, "flattenVolume", {"dryRun": True}, "volumes")
    assert price["size"] > 0 and len(server.engine.volume_chain(volume)) == 2
    done = act(client, volume, "flattenVolume", {}, "volumes")

    assert done["inventory"]["uuid"] == volume
    assert (len(server.engine.volume_chain(volume)), held(server, volume)) == (1, 6)
    trees = client.done("GET", f"/volume-snapshots/trees?q=volumeUuid={volume}")["inventories"]
    assert [tree["current"] for tree in trees] == [False]


def test_a_volume_lives_from_its_creation_to_its_end(client: Client) -> None:
    said = {"params": {"name": "life", "diskSize": MIB + 1, "description": "d"}, "systemTags": ["a::b"]}
    volume = client.done("POST", "/volumes/data", said)["inventory"]["uuid"]
    path = f"/volumes/{volume}"

    assert act(client, volume, "updateVolume", {"name": "lives"}, "volumes")["inventory"]["name"] == "lives"
    assert act(client, volume, "syncVolumeSize", None, "volumes")["inventory"]["size"] == MIB + 512
    grown = client.done("PUT", f"/volumes/data/resize/{volume}/actions", {"resizeDataVolume": {"size": 2 * MIB}})
    assert grown["inventory"]["size"] == 2 * MIB
    smaller = {"resizeDataVolume": {"size": MIB}}
    assert client.error("PUT", f"/volumes/data/resize/{volume}/actions", smaller)["code"] in ("SYS.1006", "SYS.1007")
    as_root = {"resizeRootVolume": {"size": 3 * MIB}}
    assert client.error("PUT", f"/volumes/resize/{volume}/actions", as_root)["code"] == "SYS.1006"
    disabled = act(client, volume, "changeVolumeState", {"stateEvent": "disable"}, "volumes")["inventory"]
    assert disabled["state"] == "Disabled"
    assert client.error("POST", f"{path}/volume-snapshots", {"params": {"name": "n"}})["code"] == "SYS.1006"
    act(client, volume, "changeVolumeState", {"stateEvent": "enable"}, "volumes")
    assert client.done("DELETE", path) == {} == client.done("DELETE", path)
    assert client.done("GET", path)["inventories"][0]["status"] == "Deleted"
    assert act(client, volume, "recoverDataVolume", None, "volumes")["inventory"]["status"] == "Ready"
    assert client.done("DELETE", f"{path}?deleteMode=Permissive") == {}
    assert act(client, volume, "expungeDataVolume", None, "volumes") == {}
    assert client.done("GET", path)["inventories"] == []


def test_volumes_are_attached_to_a_vm_and_snapshotted_together(server: Server, client: Client) -> None:
    root = server.engine.create_volume("boot", MIB, "Root").uuid
    data, vm = client.volume("data"), "aaaaaaaaaaaa4aaa8aaaaaaaaaaaaaaa"
    for volume in (root, data):
        assert client.done("POST", f"/volumes/{volume}/vm-instances/{vm}")["inventory"]["vmInstanceUuid"] == vm
        write(server, volume, 1)

    given = "0123456789ab4def8123456789abcdef"
    said = {"params": {"rootVolumeUuid": root, "name": "both", "withMemory": False, "resourceUuid": given}}
    group = client.done("POST", "/volume-snapshots/group", said)["inventory"]

    assert (group["name"], group["snapshotCount"], group["vmInstanceUuid"]) == ("both", 2, vm)
    uuid = group["uuid"]
    assert uuid == given
    refs = {ref["volumeSnapshotName"]: ref for ref in group["volumeSnapshotRefs"]}
    assert set(refs) == {"both-boot", "both-data"}
    found = client.done("GET", f"/volume-snapshots/group/{uuid}")
    assert found["inventories"] == [group]
    ref = "org.zstack.header.storage.snapshot.group.VolumeSnapshotGroupRefInventory"
    assert found["schema"]["inventories[0].volumeSnapshotRefs[0]"] == ref
    assert client.done("GET", f"/volume-snapshots?q=group.name=both&q=groupUuid={uuid}&count=true") == {"total": 2}
    renamed = act(client, uuid, "updateVolumeSnapshotGroup", {"name": "pair"}, "volume-snapshots/group")
    assert renamed["inventory"]["name"] == "pair"
    for volume in (root, data):
        write(server, volume, 2)
    results = act(client, uuid, "revertVmFromSnapshotGroup", None, "volume-snapshots/group")["results"]
    assert [result["success"] for result in results] == [True, True]
    assert (held(server, root), held(server, data)) == (1, 1)
    for uuids in (f"uuids={uuid}", f"uuids={uuid}&uuids={uuid}", f"uuids={uuid},{uuid}"):
        answer = client.done("GET", f"/volume-snapshots/groups/availabilities?{uuids}")
        assert answer["results"] == [{"uuid": uuid, "available": True, "reason": ""}]
    assert client.done("DELETE", f"/volumes/{data}/vm-instances?vmUuid={vm}")["inventory"].get("vmInstanceUuid") is None
    answer = client.done("GET", f"/volume-snapshots/groups/availabilities?uuids={uuid}")["results"][0]
    assert not answer["available"] and "detached" in answer["reason"]
    for unknown in ("f" * 32, "x"):
        error = client.error("GET", f"/volume-snapshots/groups/availabilities?uuids={uuid},{unknown}")
        told = f"invalid field[uuids], resource[uuid:{unknown}, type:VolumeSnapshotGroupVO] not found"
        assert (error["code"], error["details"]) == ("SYS.1003", told)
    assert client.done("DELETE", f"/volumes/{root}/vm-instances/{vm}")["inventory"]["uuid"] == root
    results = client.done("DELETE", f"/volume-snapshots/group/{uuid}")["results"]
    assert {result["snapshotUuid"] for result in results} == {ref["volumeSnapshotUuid"] for ref in refs.values()}
    assert client.done("GET", f"/volume-snapshots/group/{uuid}")["inventories"] == []


def test_a_group_is_forgotten_and_its_snapshots_stay(client: Client) -> None:
    volume = client.volume()
    group = client.done("POST", "/volume-snapshots/group", {"params": {"rootVolumeUuid": volume, "name": "g"}})

    assert client.done("DELETE", f"/volume-snapshots/ungroup/{group['inventory']['uuid']}") == {}

    (left,) = client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"]
    assert "groupUuid" not in left
    assert client.error("DELETE", f"/volume-snapshots/ungroup/{group['inventory']['uuid']}")["code"] == "SYS.1003"


CHANGING = [call for call in routes.CALLS if call.verb is not None and "{" in call.path]


@pytest.mark.parametrize("call", CHANGING, ids=lambda call: call.name)
def test_an_unknown_object_is_told_or_gone_already(client: Client, call: routes.Call) -> None:
    path = "/".join(UNKNOWN[::-1] if part[0] == "{" else part for part in call.path.split("/"))
    full = {"name": "n", "snapShotUuid": UNKNOWN, "size": MIB, "stateEvent": "enable"}

    reply = client.call(call.method, f"/{path}", {call.key: full} if call.key else None)

    if call.method == "DELETE" and call.name.startswith("delete"):
        assert (reply.status_code, reply.json()) in ((200, {}), (200, {"results": []}))
    else:
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "SYS.1003"), reply.text


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", f"/images/root-volume-templates/from/volume-snapshots/{UNKNOWN}"),
        ("DELETE", f"/volume-snapshots/{UNKNOWN}/backup-storages"),
        ("PUT", f"/system-tags/{UNKNOWN}/actions"),
    ],
)
def test_what_a_single_host_can_not_do_is_said_with_the_reason(client: Client, method: str, path: str) -> None:
    error = client.error(method, path)

    assert error["code"] == "SYS.1013" and error["details"].startswith("not supported: ")


def test_a_schema_is_given_where_it_is_asked_for(client: Client) -> None:
    said = {"params": {"name": "n"}}
    made = client.done("POST", f"/volumes/{client.volume()}/volume-snapshots", said, X_JSON_Schema="true")

    assert made["schema"] == {"inventory": "org.zstack.header.storage.snapshot.VolumeSnapshotInventory"}
    action = {"revertVolumeFromSnapshot": None}
    path = f"/volume-snapshots/{made['inventory']['uuid']}/actions"
    assert client.done("PUT", path, action, X_JSON_Schema="true") == {"schema": {}}


@pytest.mark.parametrize("path", ["volume-snapshots", "volume-snapshots/group", "volumes", "tags", "batch-delete"])
def test_only_a_well_formed_uuid_is_deleted_already_when_unknown(client: Client, path: str) -> None:
    def request(uuid: str) -> tuple[str, str, object]:
        if path == "batch-delete":
            return "PUT", f"/volume-snapshots/{path}", {"batchDeleteVolumeSnapshot": {"uuids": [uuid]}}
        return "DELETE", f"/{path}/{uuid}", None

    for bad in ("x", "a" * 31, "a" * 33, "g" * 32):
        assert client.error(*request(bad))["code"] == "SYS.1007", bad
    client.done(*request("a" * 32))
