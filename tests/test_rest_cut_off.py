"""What is told of a call whose process died: the verb's own answer if it is done, else that it was cut off."""

import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from snapengine import journal, layout, resume
from snapengine.engine import Engine
from snapengine.rest import bodies, cut_off, routes
from tests import images, qemu
from tests.oracle import poke
from tests.serving import MIB

VM = "a" * 32
NAMED = {"name": "new"}

# What each call says; what stands in braces is what the store began with.
BODIES: dict[str, dict[str, Any]] = {
    "createVolumeSnapshot": NAMED,
    "createVolumeSnapshotGroup": {**NAMED, "rootVolumeUuid": "{volume}"},
    "createDataVolume": {**NAMED, "diskSize": MIB},
    "createDataVolumeFromVolumeSnapshot": NAMED,
    "updateVolumeSnapshot": NAMED,
    "updateVolumeSnapshotGroup": NAMED,
    "updateVolume": NAMED,
    "batchDeleteVolumeSnapshot": {"uuids": ["{snapshot}"]},
    "undoSnapshotCreation": {"snapShotUuid": "{snapshot}"},
    "changeVolumeState": {"stateEvent": "disable"},
    "resizeRootVolume": {"size": 2 * MIB},
    "resizeDataVolume": {"size": 2 * MIB},
    "createSystemTag": {"resourceType": "VolumeVO", "resourceUuid": "{volume}", "tag": "a::b"},
    "createUserTag": {"resourceType": "VolumeSnapshotVO", "resourceUuid": "{snapshot}", "tag": "c"},
}
# Whose being cut off before anything happened can't be told from their being done, as they change nothing.
LOOKING = ("syncVolumeSize", "getVolumeSnapshotSize")
CHANGING = [call.name for call in routes.CALLS if call.verb is not None]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Return an engine on a store in which each test has a volume of its own."""
    return Engine.init(tmp_path_factory.mktemp("cut_off") / "storage")


@pytest.mark.parametrize("name", CHANGING)
def test_a_call_is_answered_as_it_would_have_been_if_it_is_done_and_only_then(shared: Engine, name: str) -> None:
    call = routes.BY_NAME[name]
    assert call.verb is not None
    known, fresh = _begun(shared, call), uuid.uuid5(uuid.NAMESPACE_OID, name).hex
    at = {"account": layout.ADMIN, "volumeUuid": known["volume"], "volumeSnapshotUuid": known["snapshot"],
          "vmInstanceUuid": VM, "uuid": known[_object(call)]}  # fmt: skip
    said = {key: _filled(value, known) for key, value in BODIES.get(name, {}).items()}
    body = msgspec.convert(said, call.body)
    verdict = cut_off.verdict(name, fresh[:16], fresh)
    if name not in LOOKING:
        with pytest.raises(cut_off.CutOff, match="undone|nothing was deleted"):
            verdict(shared, at, body)

    answered = call.verb(shared.asked_by(fresh[:16], fresh), at, body)

    told = verdict(shared, at, body)
    if name == "deleteVolumeSnapshotGroup":  # its record, which knew of them, went with the last one
        answered = {"results": ()}
    assert told == answered


def _begun(engine: Engine, call: routes.Call) -> dict[str, str]:
    """Return the uuids of what a call may be about, made where it is."""
    kind = "Root" if call.name == "resizeRootVolume" else "Data"
    volume = engine.create_volume("disk", MIB, kind).uuid  # type: ignore[arg-type]
    known = {"volume": volume, "group": "", "tag": ""}
    if call.name == "shrinkVolumeSnapshot":
        poke(engine.volume_path(volume), 0, 0, MIB)
    if _object(call) == "group":
        known["group"] = engine.create_group("g", (volume,)).uuid
    known["snapshot"] = (engine.list_snapshots(volume) or (engine.create_snapshot(volume, "s"),))[0].uuid
    if call.name.startswith("detach"):
        engine.attach_volume(volume, VM)
    if _object(call) == "tag":
        known["tag"] = engine.add_tag(volume, "old::tag")[0].uuid
    if call.name in ("recoverDataVolume", "expungeDataVolume"):
        engine.delete_volumes((volume,))
    return known


def _object(call: routes.Call) -> str:
    if "tags/" in call.path:
        return "tag"
    if "group/" in call.path:
        return "group"
    return "snapshot" if call.path.startswith("volume-snapshots") else "volume"


def _filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_filled(each, known) for each in value]
    return value.format(**known) if isinstance(value, str) else value


@pytest.mark.parametrize("name", ["createVolumeSnapshot", "createDataVolume", "createVolumeSnapshotGroup"])
def test_a_call_is_not_done_because_something_has_the_uuid_that_it_gave(shared: Engine, name: str) -> None:
    volume = shared.create_volume("disk", MIB).uuid
    taken = {"createDataVolume": volume, "createVolumeSnapshotGroup": shared.create_group("g", (volume,)).uuid}
    taken["createVolumeSnapshot"] = shared.create_snapshot(volume, "s").uuid
    call, request, free = routes.BY_NAME[name], "fedcba9876543210", uuid.uuid5(uuid.NAMESPACE_URL, name).hex
    assert call.verb is not None
    at, verdict = {"account": layout.ADMIN, "volumeUuid": volume}, cut_off.verdict(name, request, "f" * 32)

    def body(given: str) -> Any:
        said = {key: _filled(value, {"volume": volume}) for key, value in BODIES[name].items()}
        return msgspec.convert({**said, "resourceUuid": given}, call.body)

    with pytest.raises(cut_off.CutOff, match="undone"):
        verdict(shared, at, body(taken[name]))
    answered = call.verb(shared.asked_by(request, "f" * 32), at, body(free))
    assert verdict(shared, at, body(free)) == answered
    journal.forget(shared.root, request)


def test_of_a_batch_that_was_cut_off_each_snapshot_is_told_by_itself(shared: Engine) -> None:
    volume = shared.create_volume("disk", MIB).uuid
    gone, left = (shared.create_snapshot(volume, name).uuid for name in ("gone", "left"))
    shared.asked_by("0123456789abcdef", gone).delete_snapshots((gone,))
    body = bodies.BatchDelete(uuids=(gone, left, gone))

    told: Any = cut_off.verdict("batchDeleteVolumeSnapshot", "0123456789abcdef", gone)(shared, {}, body)

    first, second = told["results"]
    assert (first.snapshot_uuid, first.success, first.error) == (gone, True, None)
    assert (second.snapshot_uuid, second.success, second.error.code) == (left, False, "SYS.1006")
    assert "cut off" in second.error.details


def test_of_a_delete_that_a_dying_tool_keeps_from_being_finished_is_told_once_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.init(tmp_path / "storage")
    volume = engine.create_volume("db", MIB).uuid
    snapshot = engine.create_snapshot(volume, "snap").uuid
    poke(engine.volume_path(volume), 7, 0, MIB)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(resume, "publish", killed)
        engine.asked_by("ab12", "0" * 32).delete_snapshots((snapshot,), direction="pull")
    with ExitStack() as stack:
        stack.enter_context(qemu.locked(engine.volume_path(volume)))
        clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: stack.close())
        monkeypatch.setattr(cut_off, "time", clock)
        verdict = cut_off.verdict("deleteVolumeSnapshot", "ab12", "0" * 32)
        assert verdict(engine, {"uuid": snapshot, "account": layout.ADMIN}, bodies.DeleteSnapshot()) == {}

    assert images.read(engine.volume_path(volume)) == b"\7" * MIB
