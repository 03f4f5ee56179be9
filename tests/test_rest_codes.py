"""Codes of the contract that only tell of what goes wrong at work: over a real socket, with nothing lost by it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import at_work, images
from tests.oracle import poke
from tests.serving import MIB, Client, Server

SIZE = 64 * MIB  # so much to copy that a full snapshot can be met at work


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server that hardly waits for other operations."""
    running = Server(tmp_path_factory.mktemp("hasty") / "storage", "--wait", "1")
    yield running
    assert running.stop() == 0


def test_who_meets_a_full_snapshot_is_told_so(hasty: Server) -> None:
    client, engine = hasty.client(), hasty.engine
    volume = engine.create_volume("large", SIZE, tags=("volumeMaxIncrementalSnapshotNum::2",)).uuid
    first, second = (engine.create_snapshot(volume, name).uuid for name in ("first", "second"))
    poke(engine.volume_path(volume), 1, 0, SIZE)
    with at_work.stopped(hasty.root, f"engine.create_snapshot({volume!r}, 'full')") as work:
        error = client.error("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "n"}})
        assert error["code"] == "VOLUME_SNAPSHOT.1001" and f"(pid {work.engine.pid})" in error["details"]
        error = client.error("PUT", f"/volumes/{volume}/actions", {"flattenVolume": {}})
        assert error["code"] == "VOLUME_SNAPSHOT.1001"
        error = client.error("DELETE", f"/volume-snapshots/{first}")
        assert (error["code"], error["cause"]["code"]) == ("SYS.1004", "VOLUME_SNAPSHOT.1001")
        batch = {"batchDeleteVolumeSnapshot": {"uuids": [first, second]}}
        error = client.error("PUT", "/volume-snapshots/batch-delete", batch)
        assert (error["code"], error["cause"]["code"]) == ("VOLUME_SNAPSHOT.1002", "VOLUME_SNAPSHOT.1001")
        assert client.snapshot(client.volume("another"), "n")["name"] == "n"
        assert at_work.resume(work) == ""

    assert [s.name for s in engine.list_snapshots(volume)] == ["first", "second", "full"]


def test_a_batch_of_which_nothing_can_go_fails_whole(client: Client) -> None:
    volume = client.volume()
    base, free = (client.snapshot(volume, name)["uuid"] for name in ("base", "free"))
    said = {"params": {"name": "clone"}, "systemTags": ["volume::fastCreate"]}
    client.done("POST", f"/volumes/data/from/volume-snapshots/{base}", said)
    batch = {"batchDeleteVolumeSnapshot": {"uuids": [base]}}

    error = client.error("PUT", "/volume-snapshots/batch-delete", batch)

    assert (error["code"], error["cause"]["code"]) == ("VOLUME_SNAPSHOT.1002", "SYS.1006")
    batch["batchDeleteVolumeSnapshot"]["uuids"].append(free)
    results = client.done("PUT", "/volume-snapshots/batch-delete", batch)["results"]
    assert [(each["success"], each.get("error", {}).get("code")) for each in results] == [
        (False, "SYS.1006"), (True, None)
    ]  # fmt: skip


def test_a_flatten_that_fails_names_its_cause_and_changes_nothing(server: Server, client: Client) -> None:
    volume = client.volume()
    active = server.engine.volume_path(volume)
    poke(active, 7, 0, MIB)
    below = Path(server.engine.snapshot_path(client.snapshot(volume, "below")["uuid"]))
    whole = below.read_bytes()
    below.write_bytes(b"no image" + whole[8:])

    error = client.error("PUT", f"/volumes/{volume}/actions", {"flattenVolume": {}})

    assert error["code"] == "VOLUME.1001" and error["cause"]["details"] == error["details"]
    below.write_bytes(whole)
    assert len(server.engine.volume_chain(volume)) == 2
    assert client.done("PUT", f"/volumes/{volume}/actions", {"flattenVolume": {}})["inventory"]["uuid"] == volume
    assert images.read(active) == b"\7" * MIB
