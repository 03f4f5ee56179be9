"""CreateVolumeSnapshot over HTTP as its page publishes it (CONTRACT.md, section 1)."""

import json
import re
import subprocess

import pytest

from tests.serving import Client, Server

GIVEN = "ec8f396d8a5d48ce8bd949d469c0be62"
KEYS = [
    "uuid", "name", "type", "volumeUuid", "treeUuid", "primaryStorageUuid", "primaryStorageInstallPath", "volumeType",
    "format", "latest", "size", "state", "status", "createDate", "lastOpDate", "backupStorageRefs", "distance",
]  # fmt: skip
# The page's own line, its placeholders to be filled in.
CURL = """curl -s -X POST 'http://{host}/zstack/v1/volumes/{volumeUuid}/volume-snapshots' \
  -H 'Authorization: OAuth {sessionUuid}' -H 'Content-Type: application/json;charset=UTF-8' \
  -d '{"params":{"name":"<name>","description":"<description>","resourceUuid":"<resourceUuid>"},"systemTags":["<systemTags>"],"userTags":["<userTags>"]}'
"""  # noqa: E501
DATE = r"[A-Z][a-z]{2} [1-9]\d?, \d{4} [1-9]\d?:\d\d:\d\d [AP]M"


def test_the_published_curl_line_creates_a_snapshot_to_the_byte(server: Server, client: Client) -> None:
    volume = client.volume("curled")
    filled = {
        "{host}": server.address.removeprefix("http://"), "{volumeUuid}": volume, "{sessionUuid}": client.session,
        "<name>": "Snapshot-1", "<description>": "create-snapshot-from-volume", "<resourceUuid>": GIVEN,
        "<systemTags>": "a::b", "<userTags>": "mine",
    }  # fmt: skip
    line = CURL
    for placeholder, value in filled.items():
        line = line.replace(placeholder, value)

    printed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True, timeout=60).stdout

    found = json.loads(printed)["inventory"]
    engine = server.engine
    made = engine.get_snapshot(GIVEN)
    where = engine.volume_path(volume).with_name(f"{GIVEN}.qcow2")
    expected = (
        f'{{"inventory":{{"uuid":"{GIVEN}","name":"Snapshot-1","description":"create-snapshot-from-volume",'
        f'"type":"Hypervisor","volumeUuid":"{volume}",'
        f'"treeUuid":"{made.tree_uuid}","primaryStorageUuid":"{engine.storage.uuid}",'
        f'"primaryStorageInstallPath":"{where}","volumeType":"Data","format":"qcow2","latest":true,'
        f'"size":{where.stat().st_blocks * 512},"state":"Enabled","status":"Ready","createDate":"{made.create_date}",'
        f'"lastOpDate":"{made.last_op_date}","backupStorageRefs":[],"distance":1}}}}'
    )
    assert printed == expected
    assert re.fullmatch(DATE, found["createDate"])
    assert {(tag.tag, tag.type) for tag in engine.list_tags(GIVEN)} == {("a::b", "System"), ("mine", "User")}
    assert engine.verify(deep=True) == ()


def test_a_snapshot_of_a_snapshotted_volume_names_its_parent(client: Client) -> None:
    volume = client.volume()
    first, second = client.snapshot(volume, "one"), client.snapshot(volume, " two ", description="d")

    assert list(first) == KEYS
    assert list(second) == [*KEYS[:2], "description", *KEYS[2:5], "parentUuid", *KEYS[5:]]
    assert (second["parentUuid"], second["treeUuid"]) == (first["uuid"], first["treeUuid"])
    assert (second["name"], second["distance"]) == ("two", 2)
    found = client.done("GET", f"/volume-snapshots?q=volumeUuid={volume}")["inventories"]
    assert {s["uuid"]: s["latest"] for s in found} == {first["uuid"]: False, second["uuid"]: True}


@pytest.mark.parametrize(
    "tags",
    [
        {"systemTags": ["a::b"], "userTags": ["u"], "params": {"name": "n"}},
        {"params": {"name": "n", "systemTags": ["a::b"], "userTags": ["u"]}},
        {"systemTags": ["a::b"], "params": {"name": "n", "systemTags": ["a::b"], "userTags": ["u"], "tagUuids": ["x"]}},
        {"systemTags": None, "userTags": ["u", "u"], "params": {"name": "n", "systemTags": ["a::b"], "userTags": None}},
    ],
    ids=["beside", "inside", "both", "null"],
)
def test_tags_are_read_beside_params_and_inside(server: Server, client: Client, tags: dict[str, object]) -> None:
    made = client.done("POST", f"/volumes/{client.volume()}/volume-snapshots", {**tags, "unknown": {"a": [1]}})

    found = server.engine.list_tags(made["inventory"]["uuid"])
    assert [(tag.tag, tag.type) for tag in found] == [("a::b", "System"), ("u", "User")]


NAMES = {
    "no name": {},
    "null": {"name": None},
    "a number": {"name": 5},
    "a list": {"name": ["a"]},
    "empty": {"name": ""},
    "only spaces": {"name": "  \t "},
    "256 characters": {"name": "x" * 256},
    "NUL": {"name": "a\0b"},
    "line break": {"name": "a\nb"},
    "description too long": {"name": "n", "description": "x" * 2049},
    "description a number": {"name": "n", "description": 1},
    "uuid in upper case": {"name": "n", "resourceUuid": GIVEN.upper()},
    "uuid with dashes": {"name": "n", "resourceUuid": "ec8f396d-8a5d-48ce-8bd9-49d469c0be62"},
    "uuid of no version": {"name": "n", "resourceUuid": "ec8f396d8a5d08ce8bd949d469c0be62"},
    "uuid with a path": {"name": "n", "resourceUuid": "../../../../../../etc/passwd"},
    "tags no list": {"name": "n", "systemTags": "a::b"},
    "tag a number": {"name": "n", "userTags": [1]},
    "tag empty": {"name": "n", "userTags": [""]},
}


@pytest.mark.parametrize("params", NAMES.values(), ids=NAMES.keys())
def test_a_bad_argument_is_told_and_leaves_nothing(client: Client, spare: str, params: dict[str, object]) -> None:
    error = client.error("POST", f"/volumes/{spare}/volume-snapshots", {"params": params})

    assert error["code"] == "SYS.1007"
    assert client.done("GET", f"/volume-snapshots?q=volumeUuid={spare}&count=true") == {"total": 0}


def test_a_uuid_in_use_is_refused(client: Client) -> None:
    volume = client.volume()
    made = client.snapshot(volume, "one")

    error = client.error(
        "POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "n", "resourceUuid": made["uuid"]}}
    )

    assert error["code"] == "SYS.1007" and made["uuid"] in error["details"]


@pytest.mark.parametrize("uuid", ["0" * 32, "x", "%2e%2e%2f%2e%2e", "%00", "a" * 3000, "%F0%9F%92%BE"])
def test_an_unknown_volume_is_told_in_the_contracts_words(client: Client, uuid: str) -> None:
    error = client.error("POST", f"/volumes/{uuid}/volume-snapshots", {"params": {"name": "n"}})

    assert error["code"] == "SYS.1003"
    told = r"invalid field\[volumeUuid\], resource\[uuid:.*, type:VolumeVO\] not found"
    assert re.fullmatch(told, error["details"], re.DOTALL)
