"""Queries over HTTP: conditions, pages, order, fields, schema maps, and whose objects are seen."""

from typing import Any

import pytest

from tests.serving import Client, Server


@pytest.fixture(scope="session")
def made(client: Client) -> dict[str, Any]:
    """Return a volume with a line of four snapshots and a branch, by their names; nothing changes them later."""
    volume = client.volume("queried % volume")
    names = {name: client.snapshot(volume, name, description=f"the {name}") for name in ("one", "two", "three")}
    client.done("PUT", f"/volume-snapshots/{names['one']['uuid']}/actions", {"revertVolumeFromSnapshot": {}})
    said = {"params": {"name": "a_branch"}, "systemTags": ["kind::daily"], "userTags": ["keep me"]}
    names["a_branch"] = client.done("POST", f"/volumes/{volume}/volume-snapshots", said)["inventory"]
    return {"volume": volume, **names}


# Conditions beside the one for the volume, and the names of the snapshots that are left, oldest first.
QUERIES: dict[str, list[str]] = {
    "": ["one", "two", "three", "a_branch"],
    "q=name=two": ["two"],
    "q=name!=two": ["one", "three", "a_branch"],
    "q=name%3Dtwo": ["two"],
    "q=name~=t%25": ["two", "three"],
    "q=name~=T%25E": ["three"],
    "q=name~=_ne": ["one"],
    "q=name~=a\\_branch": [],
    "q=name!~=t%25": ["one", "a_branch"],
    "q=name?=one,two": ["one", "two"],
    "q=name!?=one,two": ["three", "a_branch"],
    "q=name?=": [],
    "q=distance>1": ["two", "three", "a_branch"],
    "q=distance>=2&q=distance<3": ["two", "a_branch"],
    "q=distance<=1": ["one"],
    "q=latest=true": ["a_branch"],
    "q=latest!=true": ["one", "two", "three"],
    "q=parentUuid is null": ["one"],
    "q=parentUuid+not+null": ["two", "three", "a_branch"],
    "q=description%20is%20null": ["a_branch"],
    "q=groupUuid is null": ["one", "two", "three", "a_branch"],
    "q=description=the+two": ["two"],
    "q=createDate>2001-01-01 00:00:00": ["one", "two", "three", "a_branch"],
    "q=createDate<Jan 1, 2001 12:00:00 AM": [],
    "q=volume.name=queried %25 volume&q=name=one": ["one"],
    "q=volume.actualSize>0&q=name=one": ["one"],
    "q=tree.current=true": ["one", "two", "three", "a_branch"],
    "q=group.name=none": [],
    "q=__systemTag__=kind::daily": ["a_branch"],
    "q=__systemTag__~=kind::%25": ["a_branch"],
    "q=__userTag__=keep me": ["a_branch"],
    "q=__userTag__ is null": ["one", "two", "three"],
    "sort=name": ["a_branch", "one", "three", "two"],
    "sort=%2Bname": ["a_branch", "one", "three", "two"],
    "sort=+name": ["a_branch", "one", "three", "two"],
    "sort=-name": ["two", "three", "one", "a_branch"],
    "sort=-distance": ["three", "two", "a_branch", "one"],
    "sort=description&limit=2": ["a_branch", "one"],
    "limit=2": ["one", "two"],
    "limit=2&start=1": ["two", "three"],
    "start=4": [],
    "limit=0": [],
    "limit=999999999999": ["one", "two", "three", "a_branch"],
    "groupBy=distance": ["one", "two", "three"],
    "filterName=x&unknown=y&q=name=one": ["one"],
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_finds_what_it_asks_for_in_its_order(client: Client, made: dict[str, Any], query: str) -> None:
    found = client.done("GET", f"/volume-snapshots?q=volumeUuid={made['volume']}&{query}")

    assert [snapshot["name"] for snapshot in found["inventories"]] == QUERIES[query]


BAD: dict[str, tuple[int, str]] = {
    "q=name": (400, "invalid query string"),
    "q==x": (400, "invalid query string"),
    "q=nonsense": (400, "invalid query string"),
    "limit=-1": (400, "invalid limit"),
    "limit=1e3": (400, "invalid limit"),
    "limit=x": (400, "invalid limit"),
    "limit=%D9%A3": (400, "invalid limit"),
    "limit=9999999999999999999": (400, "invalid limit"),
    "start=-5": (400, "invalid start"),
    "count=maybe": (400, "invalid count"),
    "q=name=%ff": (400, "not valid UTF-8"),
    "q=password=x": (503, "there is no field 'password'"),
    "q=account=x": (503, "there is no field"),
    "q=volume.account=x": (503, "there is no field"),
    "q=volume.volume.name=x": (503, "there is no field"),
    "q=__class__=x": (503, "there is no field"),
    "q=';drop table=1": (503, "there is no field"),
    "sort=bogus": (503, "there is no field"),
    "fields=bogus": (503, "there is no field"),
    "groupBy=bogus": (503, "there is no field"),
    "q=distance=two": (503, "is a whole number"),
    "q=latest=2": (503, "is true or false"),
    "q=createDate>yesterday": (503, "is a date like"),
    "q=createDate>2001-13-41 00:00:00": (503, "is a date like"),
}


@pytest.mark.parametrize("query", BAD)
def test_a_bad_query_is_told(client: Client, made: dict[str, Any], query: str) -> None:
    reply = client.call("GET", f"/volume-snapshots?q=volumeUuid={made['volume']}&{query}")

    assert (reply.status_code, BAD[query][1] in reply.text) == (BAD[query][0], True), reply.text
    assert reply.status_code == 400 or reply.json()["error"]["code"] == "SYS.1007"


def test_a_count_and_a_page_with_its_total(client: Client, made: dict[str, Any]) -> None:
    base = f"/volume-snapshots?q=volumeUuid={made['volume']}"

    assert client.done("GET", f"{base}&count=true&limit=1") == {"total": 4}
    page = client.done("GET", f"{base}&replyWithCount=true&limit=1&start=2")
    assert (len(page["inventories"]), page["total"]) == (1, 4)


def test_fields_choose_what_is_shown(client: Client, made: dict[str, Any]) -> None:
    found = client.done("GET", f"/volume-snapshots/{made['two']['uuid']}?fields=name,uuid,groupUuid&fields=parentUuid")

    assert found == {
        "inventories": [{"name": "two", "uuid": made["two"]["uuid"], "parentUuid": made["one"]["uuid"]}],
        "schema": {"inventories[0]": "org.zstack.header.storage.snapshot.VolumeSnapshotInventory"},
    }


@pytest.mark.parametrize("path", ["volume-snapshots", "volumes", "volume-snapshots/trees", "volume-snapshots/group"])
def test_an_unknown_uuid_is_an_empty_list(client: Client, path: str) -> None:
    assert client.done("GET", f"/{path}/{'0' * 32}") == {"inventories": [], "schema": {}}


def test_trees_are_nested_and_named_in_the_schema(client: Client, made: dict[str, Any]) -> None:
    found = client.done("GET", f"/volume-snapshots/trees?q=volumeUuid={made['volume']}")

    (tree,) = found["inventories"]
    assert set(tree) == {"uuid", "volumeUuid", "current", "status", "tree", "createDate", "lastOpDate"}
    root = tree["tree"]
    assert (root["inventory"], root.get("parentUuid")) == ({**made["one"], "latest": False}, None)
    assert [child["inventory"]["name"] for child in root["children"]] == ["two", "a_branch"]
    assert root["children"][1] == {
        "inventory": made["a_branch"], "parentUuid": made["one"]["uuid"], "children": []
    }  # fmt: skip
    leaf = "org.zstack.header.storage.snapshot.VolumeSnapshotTree$SnapshotLeafInventory"
    assert {path for path, name in found["schema"].items() if name == leaf} == {
        "inventories[0].tree",
        "inventories[0].tree.children[0]",
        "inventories[0].tree.children[1]",
        "inventories[0].tree.children[0].children[0]",
    }
    depths = [path.count(".") for path in found["schema"]]
    assert depths == sorted(depths)
    assert client.done("GET", f"/volume-snapshots/trees/{tree['uuid']}")["inventories"] == [tree]


def test_what_the_command_line_changes_is_in_the_next_answer(server: Server, client: Client) -> None:
    volume, engine = client.volume("beside"), server.engine
    query = f"/volume-snapshots?q=volumeUuid={volume}"

    for number in range(10):
        made = engine.create_snapshot(volume, f"s{number}")
        assert client.done("GET", f"/volume-snapshots/{made.uuid}")["inventories"][0]["name"] == f"s{number}"
        assert client.done("GET", f"{query}&count=true") == {"total": number + 1}
        engine.update_snapshot(made.uuid, name=f"t{number}")
        assert client.done("GET", f"{query}&q=name=t{number}&count=true") == {"total": 1}
    engine.delete_snapshots((made.uuid,))
    assert client.done("GET", f"/volume-snapshots/{made.uuid}")["inventories"] == []
    engine.delete_volumes((volume,))
    assert client.done("GET", f"/volumes/{volume}")["inventories"][0]["status"] == "Deleted"
    assert client.done("GET", f"{query}&count=true") == {"total": 0}


def test_tags_and_zones_are_listed(client: Client, made: dict[str, Any]) -> None:
    uuid = made["a_branch"]["uuid"]

    for path, tag, kind in (("system-tags", "kind::daily", "System"), ("user-tags", "keep me", "User")):
        (found,) = client.done("GET", f"/{path}?q=resourceUuid={uuid}")["inventories"]
        own = {"resourceUuid": uuid, "resourceType": "VolumeSnapshotVO", "tag": tag, "type": kind}
        assert found == {"uuid": found["uuid"], **own}
        assert client.done("GET", f"/{path}/{found['uuid']}")["inventories"] == [found]
    assert client.done("GET", "/zones?replyWithCount=true") == {"inventories": [], "total": 0, "schema": {}}


def test_old_clients_leave_question_marks_bare(client: Client, made: dict[str, Any]) -> None:
    query = f"/volume-snapshots?q=volumeUuid={made['volume']}&q=name?=one,two"

    assert len(client.done("GET", query)["inventories"]) == 2
