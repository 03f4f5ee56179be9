"""The engine's verbs on snapshots."""

import os
from pathlib import Path
from typing import BinaryIO

from snapengine import (
    checksums,
    delete,
    diff,
    exporting,
    forecast,
    outlet,
    preview,
    shrinking,
    sizes,
    snapshot,
    translation,
    undo,
)
from snapengine.checksums import Checksum
from snapengine.conversion import Format
from snapengine.cost import Direction
from snapengine.delete import Deleted
from snapengine.diff import Diff
from snapengine.engine.opened import Opened
from snapengine.exporting import Exported
from snapengine.inventory import Snapshot
from snapengine.preview import Preview
from snapengine.printed import Progress
from snapengine.shrinking import Shrunk
from snapengine.sizes import Sizes
from snapengine.tree import DrawnTree


@translation.translating
class Snapshots(Opened):
    """What volumes held at a moment."""

    def create_snapshot(
        self, volume_uuid: str, name: str, *, description: str | None = None, uuid: str | None = None,
        system_tags: tuple[str, ...] = (), user_tags: tuple[str, ...] = (), progress: Progress | None = None,
    ) -> Snapshot:  # fmt: skip
        """Freeze the volume's present content; see snapshot.create. progress is told of a full snapshot's copy."""
        request = snapshot.Request(name, description, uuid, system_tags, user_tags)
        return snapshot.create(self._store, volume_uuid, request, self.wait, progress)

    def list_snapshots(self, volume_uuid: str | None = None) -> tuple[Snapshot, ...]:
        """Return a volume's snapshots, or all, oldest first."""
        return snapshot.list_all(self._store, volume_uuid)

    def get_snapshot(self, uuid: str) -> Snapshot:
        """Return one snapshot."""
        return snapshot.show(self._store, uuid)

    def snapshot_path(self, uuid: str) -> Path:
        """Return the path of a snapshot's image, which nobody may write to."""
        return snapshot.path(self._store, uuid)

    def update_snapshot(self, uuid: str, *, name: str | None = None, description: str | None = None) -> Snapshot:
        """Change a snapshot's name or description; None leaves it as it is."""
        return snapshot.update(self._store, uuid, name, description, self.wait)

    def snapshot_trees(self, volume_uuid: str) -> tuple[DrawnTree, ...]:
        """Return the volume's snapshot trees, oldest first."""
        return snapshot.trees(self._store, volume_uuid)

    def revert(self, uuid: str) -> None:
        """Take the volume back to what the snapshot froze; its present image goes to the trash. See snapshot.revert."""
        snapshot.revert(self._store, uuid, self.wait)

    def preview_revert(self, uuid: str) -> Preview:
        """Return what revert would do, and refuse what it would refuse; changes nothing. See preview.revert."""
        return preview.revert(self._store, uuid, self.wait)

    def export_snapshot(
        self, uuid: str, file: str | os.PathLike[str], format: Format | None = None, *, compress: bool = False,
        force: bool = False, checksum: bool = True, progress: Progress | None = None,
    ) -> Exported:  # fmt: skip
        """
        Write what the snapshot froze to a file (qcow2 by default) or a block device (raw); see exporting.export.

        With checksum a file is read once more for its sha256, unless it has a TiB or more.
        """
        wanted = outlet.Wanted(Path(os.path.abspath(file)), format, compress, force, checksum)
        return exporting.export(self._store, uuid, wanted, self.wait, progress)

    def checksum_snapshot(
        self, uuid: str, *, rate: int | None = None, progress: Progress | None = None
    ) -> Checksum:  # fmt: skip
        """Return the checksum of a snapshot's image, which it gets where it has none yet; see checksums.note."""
        return checksums.note(self._store, uuid, self.wait, rate, progress)

    def stream_snapshot(self, uuid: str, out: BinaryIO, *, progress: Progress | None = None) -> Exported:
        """Write what the snapshot froze, raw, to an open file such as a pipe; see exporting.stream."""
        return exporting.stream(self._store, uuid, out, self.wait, progress)

    def delete_snapshots(
        self, uuids: tuple[str, ...], *, descendants: bool = False, direction: Direction = "auto",
        progress: Progress | None = None,
    ) -> tuple[Deleted, ...]:  # fmt: skip
        """Delete snapshots, what the others and the volumes hold stays; one result for each. See delete.delete."""
        return delete.delete(self._store, uuids, descendants, direction, self.wait, progress)

    def undo_snapshot(
        self, volume_uuid: str, *, expected: str | None = None, progress: Progress | None = None
    ) -> None:  # fmt: skip
        """Take back the volume's latest snapshot, the expected one, as if it had never been made; see undo.undo."""
        undo.undo(self._store, volume_uuid, expected, self.wait, progress)

    def preview_delete(
        self, uuids: tuple[str, ...], *, descendants: bool = False, direction: Direction = "auto"
    ) -> Preview:
        """Return what delete_snapshots would do, and refuse what it would refuse; changes nothing."""
        return forecast.deletion(self._store, uuids, descendants, direction, self.wait)

    def preview_undo(self, volume_uuid: str) -> Preview:
        """Return what undo_snapshot would do, and refuse what it would refuse; changes nothing."""
        return forecast.undoing(self._store, volume_uuid, self.wait)

    def snapshot_sizes(self, uuid: str, *, wait: float | None = None) -> Sizes:
        """Return what a snapshot takes, by itself and with its chain, and what deleting it frees. See sizes.of."""
        return sizes.of(self._store, uuid, self.wait if wait is None else wait)

    def diff_snapshots(
        self, first: str, second: str | None = None, *, exact: bool = False, progress: Progress | None = None
    ) -> Diff:
        """Return where the snapshot second, or the volume if that is None, may differ from first. See diff.diff."""
        return diff.diff(self._store, first, second, exact, self.wait, progress)

    def shrink_snapshot(self, uuid: str, *, progress: Progress | None = None) -> Shrunk:
        """Give back what the snapshot's image takes for zeros; what it holds stays. See shrinking.shrink."""
        return shrinking.shrink(self._store, uuid, self.wait, progress)
