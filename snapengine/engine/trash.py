"""The engine's verbs on the trash."""

from snapengine import preview, translation, trash
from snapengine.engine.opened import Opened
from snapengine.inventory import Snapshot, TrashItem
from snapengine.preview import Preview


@translation.translating
class Trash(Opened):
    """What was replaced, and deleted volumes."""

    def list_trash(self) -> tuple[TrashItem, ...]:
        """Return all trash items, oldest first."""
        return trash.list_all(self._store)

    def select_trash(
        self, items: tuple[str, ...] = (), *, older_than: int | None = None, down_to: int | None = None
    ) -> tuple[TrashItem, ...]:
        """Return what a purge of these would remove; older_than is in seconds, down_to in bytes. See trash.select."""
        return trash.select(self._store, items, older_than, down_to)

    def purge_trash(self, items: tuple[TrashItem, ...]) -> tuple[TrashItem, ...]:
        """Remove trash items for good; returns those that went."""
        return trash.purge(self._store, items, self.wait)

    def preview_purge(self, items: tuple[TrashItem, ...]) -> Preview:
        """Return what purge_trash would do; changes nothing."""
        return preview.purge(self._store, items)

    def restore_trash(self, uuid: str) -> None:
        """Make a trash item the active image again; the present one goes to the trash. Recovers a deleted volume."""
        trash.restore(self._store, uuid, self.wait)

    def restore_trash_as_snapshot(self, uuid: str, name: str) -> Snapshot:
        """Make a trash item a snapshot on the one that it stands on."""
        return trash.restore_as_snapshot(self._store, uuid, name, self.wait)
