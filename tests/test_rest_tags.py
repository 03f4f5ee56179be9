"""Tags given and taken over HTTP, as clients of the API send them."""

import re
from typing import Any

import pytest

from tests.serving import Client, Server

LIMIT = "volumeMaxIncrementalSnapshotNum::"


def give(client: Client, path: str, uuid: str, tag: str, kind: str = "VolumeVO") -> Any:
    said = {"params": {"resourceType": kind, "resourceUuid": uuid, "tag": tag}, "systemTags": [], "userTags": []}
    return client.done("POST", path, said)["inventory"]


def tags(client: Client, path: str, uuid: str) -> list[Any]:
    found = client.done("GET", f"{path}?q=resourceUuid={uuid}")["inventories"]
    assert isinstance(found, list)
    return found


def test_tags_are_given_listed_and_taken_away(server: Server, client: Client) -> None:
    volume = client.volume()
    snapshot = client.snapshot(volume, "tagged")["uuid"]

    of_volume = give(client, "/system-tags", volume, "same::text")
    of_user = give(client, "/user-tags", volume, "same::text")
    of_snapshot = give(client, "/user-tags", snapshot, "snowman ☃", "VolumeSnapshotVO")

    assert re.fullmatch("[0-9a-f]{12}5[0-9a-f]{19}", of_volume["uuid"]) and of_volume["uuid"] != of_user["uuid"]
    assert (of_user["type"], of_snapshot["resourceType"]) == ("User", "VolumeSnapshotVO")
    assert give(client, "/system-tags", volume, "same::text") == of_volume
    assert tags(client, "/system-tags", volume) == [of_volume]
    assert tags(client, "/user-tags", snapshot) == [of_snapshot]
    assert client.done("DELETE", f"/user-tags/{of_user['uuid']}?deleteMode=Permissive") == {}
    assert (tags(client, "/user-tags", volume), tags(client, "/system-tags", volume)) == ([], [of_volume])
    assert client.done("DELETE", f"/tags/{of_volume['uuid']}") == {}
    assert client.done("DELETE", f"/system-tags/{of_volume['uuid']}") == {}
    assert [tag.tag for tag in server.engine.list_tags(snapshot)] == ["snowman ☃"]


def test_a_depth_limit_counts_from_the_next_snapshot_on(client: Client) -> None:
    volume = client.volume()
    first = client.snapshot(volume, "first")
    give(client, "/system-tags", volume, f"{LIMIT}9")
    limit = give(client, "/system-tags", volume, f"{LIMIT}2")
    assert [tag["tag"] for tag in tags(client, "/system-tags", volume)] == [f"{LIMIT}2"]

    second, third = client.snapshot(volume, "second"), client.snapshot(volume, "third")
    assert (second["treeUuid"], "parentUuid" in third) == (first["treeUuid"], False)
    client.done("DELETE", f"/system-tags/{limit['uuid']}")
    more = [client.snapshot(volume, f"more {number}") for number in range(2)]
    assert [each["treeUuid"] for each in more] == [third["treeUuid"]] * 2


@pytest.mark.parametrize(
    "changed, code",
    [
        ({"resourceType": "VmInstanceVO"}, "SYS.1007"),
        ({"resourceType": None}, "SYS.1007"),
        ({"resourceUuid": "0" * 32}, "SYS.1003"),
        ({"resourceUuid": "../.."}, "SYS.1003"),
        ({"resourceType": "VolumeSnapshotVO"}, "SYS.1003"),
        ({"tag": ""}, "SYS.1007"),
        ({"tag": "x" * 2049}, "SYS.1007"),
        ({"tag": "a\0b"}, "SYS.1007"),
        ({"tag": f"{LIMIT}1"}, "SYS.1007"),
        ({"tag": f"{LIMIT}many"}, "SYS.1007"),
        ({"tag": 5}, "SYS.1007"),
    ],
    ids=str,
)  # fmt: skip
def test_a_bad_tag_is_told_and_not_given(client: Client, spare: str, changed: dict[str, object], code: str) -> None:
    said = {"resourceType": "VolumeVO", "resourceUuid": spare, "tag": "a", **changed}

    assert client.error("POST", "/system-tags", {"params": said})["code"] == code
    assert tags(client, "/system-tags", spare) == []


def test_tags_of_other_accounts_are_neither_seen_nor_touched(client: Client, other: Client) -> None:
    volume = client.volume()
    tag = give(client, "/system-tags", volume, "a::b")

    said = {"params": {"resourceType": "VolumeVO", "resourceUuid": volume, "tag": "theirs"}}
    assert other.error("POST", "/user-tags", said)["code"] == "SYS.1006"
    assert other.error("DELETE", f"/system-tags/{tag['uuid']}")["code"] == "SYS.1006"
    assert other.done("GET", f"/system-tags/{tag['uuid']}")["inventories"] == []
    assert tags(client, "/system-tags", volume) == [tag]
