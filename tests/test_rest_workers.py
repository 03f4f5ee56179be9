"""The worker processes of a server, without one: what they do of a call, and when they are replaced."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from snapengine import layout
from snapengine.engine import Engine
from snapengine.rest import workers
from snapengine.rest.bodies import Tagged
from snapengine.rest.worker import Task
from snapengine.rest.workers import Workers
from tests import at_work
from tests.serving import MIB, is_alive


def create(volume: str, name: str) -> Task:
    """Return a call that creates a snapshot."""
    fresh = uuid.uuid4().hex
    at = {"volumeUuid": volume, "account": layout.ADMIN}
    return Task("createVolumeSnapshot", at, Tagged(name=name), uuid.uuid4().hex, uuid.uuid4().hex, fresh)


def test_a_worker_is_replaced_after_so_many_calls_and_every_call_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.init(tmp_path / "storage")
    volume = engine.create_volume("db", MIB).uuid
    monkeypatch.setattr(workers, "CALLS", 3)

    async def served() -> list[int]:
        pool = Workers(engine.root, 1, 60.0)
        pool.start()
        pids = []
        for number in range(7):
            pids += [worker.process.pid or 0 for worker in pool._all]
            outcome = await pool.run(create(volume, f"s{number}"))
            assert outcome.code is None and json.loads(outcome.body)["inventory"]["name"] == f"s{number}"
        await pool.ended(0.0)
        return pids

    pids = asyncio.run(served())

    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]
    assert [snapshot.name for snapshot in engine.list_snapshots(volume)] == [f"s{number}" for number in range(7)]
    at_work.until(lambda: not any(map(is_alive, pids)))
