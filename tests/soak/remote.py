"""The engine's verbs over HTTP, of a server that is killed now and then; what a client was told must be true."""

import http.client
import json
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

import msgspec

from snapengine import errors, lock
from snapengine.delete import Deleted
from snapengine.engine import Engine
from snapengine.inventory import Snapshot, Volume
from snapengine.tree import DrawnTree

AS_JOB = 0.4  # of the changes, how many are jobs
PATIENCE = 120.0  # seconds in which a server must be there again, and a job end
INTERNAL = "SYS.1000"
Struct = TypeVar("Struct", bound=msgspec.Struct)


class Lost(Exception):
    """The server went before it answered a call: that was done, or it was not, or it still goes on."""


class Door(NamedTuple):
    """Where a server listens, and a session that all clients share."""

    port: int
    session: str


class Remote(Engine):
    """An engine whose verbs go over HTTP; what no client may ask for comes from the store itself."""

    def __init__(self, root: Path, door: Door, chance: Random) -> None:
        super().__init__(root, (), lock.DEFAULT_WAIT)
        self._door, self._chance = door, chance
        self._http = http.client.HTTPConnection("127.0.0.1", door.port, timeout=PATIENCE)

    def create_volume(self, name: str, size: int, *args: Any, **more: Any) -> Volume:
        made = self._change("POST", "/volumes/data", {"params": {"name": name, "diskSize": size}})
        return msgspec.convert(made["inventory"], Volume)

    def clone_volume(
        self, snapshot_uuid: str, name: str, *args: Any, linked: bool = False, **more: Any
    ) -> Volume:  # fmt: skip
        said = {"params": {"name": name}, "systemTags": ["volume::fastCreate"] if linked else []}
        made = self._change("POST", f"/volumes/data/from/volume-snapshots/{snapshot_uuid}", said)
        return msgspec.convert(made["inventory"], Volume)

    def create_snapshot(self, volume_uuid: str, name: str, *, uuid: str | None = None, **more: Any) -> Snapshot:
        said = {"params": {"name": name, **({"resourceUuid": uuid} if uuid else {})}}
        made = self._change("POST", f"/volumes/{volume_uuid}/volume-snapshots", said)
        return msgspec.convert(made["inventory"], Snapshot)

    def revert(self, uuid: str) -> None:
        self._change("PUT", f"/volume-snapshots/{uuid}/actions", {"revertVolumeFromSnapshot": {}})

    def shrink_snapshot(self, uuid: str, **more: Any) -> Any:
        return self._change("PUT", f"/volume-snapshots/shrink/{uuid}/actions", {"shrinkVolumeSnapshot": {}})

    def update_snapshot(self, uuid: str, **changes: Any) -> Snapshot:
        made = self._change("PUT", f"/volume-snapshots/{uuid}/actions", {"updateVolumeSnapshot": changes})
        return msgspec.convert(made["inventory"], Snapshot)

    def update_volume(self, uuid: str, **changes: Any) -> Volume:
        made = self._change("PUT", f"/volumes/{uuid}/actions", {"updateVolume": changes})
        return msgspec.convert(made["inventory"], Volume)

    def delete_snapshots(self, uuids: tuple[str, ...], *, direction: str = "auto", **more: Any) -> tuple[Deleted, ...]:
        (uuid,) = uuids
        self._change("DELETE", f"/volume-snapshots/{uuid}?scope=single&direction={direction}")
        return (Deleted(snapshot_uuid=uuid, success=True),)

    def undo_snapshot(self, volume_uuid: str, **more: Any) -> None:
        current = {tree.uuid for tree in self.snapshot_trees(volume_uuid) if tree.current}
        (last,) = (s.uuid for s in self.list_snapshots(volume_uuid) if s.latest and s.tree_uuid in current)
        self._change("PUT", f"/volumes/{volume_uuid}/actions", {"undoSnapshotCreation": {"snapShotUuid": last}})

    def flatten_volume(self, uuid: str, **more: Any) -> Volume:
        made = self._change("PUT", f"/volumes/{uuid}/actions", {"flattenVolume": {}})
        return msgspec.convert(made["inventory"], Volume)

    def delete_volumes(self, uuids: tuple[str, ...]) -> None:
        for uuid in uuids:
            self._change("DELETE", f"/volumes/{uuid}")

    def recover_volume(self, uuid: str) -> Volume:
        made = self._change("PUT", f"/volumes/{uuid}/actions", {"recoverDataVolume": {}})
        return msgspec.convert(made["inventory"], Volume)

    def expunge_volume(self, uuid: str) -> None:
        self._change("PUT", f"/volumes/{uuid}/actions", {"expungeDataVolume": {}})

    def list_volumes(self, *, deleted: bool = False) -> tuple[Volume, ...]:
        found = self._found("/volumes", Volume)
        return tuple(each for each in found if (each.status == "Deleted") == deleted)

    def list_snapshots(self, volume_uuid: str | None = None) -> tuple[Snapshot, ...]:
        return self._found(f"/volume-snapshots?q=volumeUuid={volume_uuid}", Snapshot)

    def snapshot_trees(self, volume_uuid: str) -> tuple[DrawnTree, ...]:
        return self._found(f"/volume-snapshots/trees?q=volumeUuid={volume_uuid}", DrawnTree)

    def _found(self, path: str, kind: type[Struct]) -> tuple[Struct, ...]:
        """Return what a query finds; it is asked again where the server goes."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                found = _succeeded(*self._sent("GET", path))
            except Lost:
                assert time.monotonic() < until, f"GET {path} is never answered"
                continue
            return tuple(msgspec.convert(each, kind) for each in found["inventories"])

    def _change(self, method: str, path: str, said: object = None) -> Any:
        if self._chance.random() < AS_JOB:
            return self._as_job(method, path, said)
        return _succeeded(*self._sent(method, path, said))

    def _as_job(self, method: str, path: str, said: object) -> Any:
        """Make a change as a job, and return how that ends, whatever becomes of the server meanwhile."""
        job, is_accepted = secrets.token_hex(16), False
        try:
            status, text = self._sent(method, path, said, {"X-Job-UUID": job})
            assert status == 202, (status, text)
            is_accepted = True
        except Lost:
            pass  # the poll tells
        until = time.monotonic() + PATIENCE
        while True:
            try:
                status, text = self._sent("GET", f"/api-jobs/{job}")
            except Lost:
                status = 202
            if status == 404 and not is_accepted:
                raise errors.Conflict(what="the job was never begun")
            if status != 202:
                return _succeeded(status, text)
            assert time.monotonic() < until, f"job {job}, {method} {path}, never ends"
            time.sleep(0.02)

    def _sent(
        self, method: str, path: str, said: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Send a call and return status and text of its reply; Lost where the server went meanwhile."""
        body = None if said is None else json.dumps(said).encode()
        known = {"Authorization": f"OAuth {self._door.session}", **(headers or {})}
        try:
            self._connect()
            self._http.request(method, f"/zstack/v1{path}", body, known)
            reply = self._http.getresponse()
            return reply.status, reply.read().decode()
        except (OSError, http.client.HTTPException) as e:
            self._http.close()
            raise Lost(f"{method} {path}") from e

    def _connect(self) -> None:
        """See that there is a connection; nothing was sent to a server that is not there yet."""
        until = time.monotonic() + PATIENCE
        while self._http.sock is None:
            try:
                self._http.connect()
            except ConnectionRefusedError:
                assert time.monotonic() < until, "there is no server"
                time.sleep(0.02)


def _succeeded(status: int, text: str) -> Any:
    """Return what a call answers; Conflict or NotFound for a refusal, anything else is a fault."""
    if status == 503:
        raise refusal(text)
    assert status == 200, (status, text)
    return json.loads(text)


def refusal(text: str) -> errors.Error:
    """Return the error that an error object tells, in the kinds that a process of the soak expects."""
    told = json.loads(text)["error"]
    assert told["code"] != INTERNAL, text
    if told["code"] == errors.NotFound.code:
        return _Gone(what=told["details"])
    return errors.Conflict(what=told["details"])


class _Gone(errors.NotFound):
    msg = "{self.what}"
