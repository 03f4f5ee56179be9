"""The engine's verbs by the command, each a process of its own."""

from pathlib import Path
from typing import Any

import msgspec

from snapengine import lock
from snapengine.delete import Deleted
from snapengine.engine import Engine
from snapengine.inventory import Snapshot, Volume
from tests import command_line
from tests.soak.remote import refusal


class Typed(Engine):
    """An engine whose verbs are typed; it looks at the store as the library does."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, (), lock.DEFAULT_WAIT)

    def create_volume(self, name: str, size: int, *args: Any, **more: Any) -> Volume:
        return msgspec.json.decode(self._run("volume", "create", name, "--size", str(size)), type=Volume)

    def create_snapshot(self, volume_uuid: str, name: str, *, uuid: str | None = None, **more: Any) -> Snapshot:
        given = ("--uuid", uuid) if uuid else ()
        return msgspec.json.decode(self._run("snapshot", "create", volume_uuid, name, *given), type=Snapshot)

    def revert(self, uuid: str) -> None:
        self._run("snapshot", "revert", uuid, "--yes")

    def delete_snapshots(self, uuids: tuple[str, ...], *, direction: str = "auto", **more: Any) -> tuple[Deleted, ...]:
        self._run("snapshot", "delete", *uuids, "--direction", direction, "--yes")
        return tuple(Deleted(snapshot_uuid=uuid, success=True) for uuid in uuids)

    def undo_snapshot(self, volume_uuid: str, **more: Any) -> None:
        self._run("snapshot", "undo", volume_uuid, "--yes")

    def restore_trash(self, uuid: str) -> None:
        self._run("trash", "restore", uuid)

    def _run(self, *words: str) -> str:
        ended = command_line.process("--root", str(self.root), "--output", "json", *words)
        if ended.code:
            raise refusal(ended.stderr.splitlines()[-1])
        return ended.stdout
