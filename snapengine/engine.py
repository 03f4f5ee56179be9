"""
The public library: one method a verb, uuids in, frozen structs out, the errors of errors.py.

It holds no state but where the store is, so one engine serves several threads, and several processes may each have
their own on the same root.
"""

import os
from pathlib import Path

from snapengine import (
    accounts,
    arguments,
    errors,
    importing,
    lock,
    lookup,
    preview,
    recovery,
    snapshot,
    status,
    store,
    tag,
    trash,
    verify,
    volume,
)
from snapengine.command import Progress
from snapengine.driver import Format
from snapengine.inventory import Account, PrimaryStorage, Snapshot, TrashItem, Volume, VolumeType
from snapengine.preview import Preview
from snapengine.recovery import Recovered
from snapengine.status import Status
from snapengine.store import Store
from snapengine.tag import Tag
from snapengine.tree import DrawnTree
from snapengine.verify import Problem
from snapengine.volume import Link


@errors.translating
class Engine:
    """
    An open primary storage.

    recovered says what a crash had left and what became of it. wait is how long, in seconds, a verb waits for another
    operation on the same volume before it raises Locked.
    """

    def __init__(self, root: Path, recovered: tuple[Recovered, ...], wait: float) -> None:
        self.root = root
        self.recovered = recovered
        self.wait = wait

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, recover: bool = True, wait: float = lock.DEFAULT_WAIT) -> "Engine":
        """
        Open the primary storage at root, and finish or undo what a crash left there; never waits for anything.

        Raises NoStorage where there is none.
        """
        opened = store.open_store(Path(root))
        return cls(opened.root, recovery.recover(opened.root) if recover else (), wait)

    @classmethod
    def init(cls, root: str | os.PathLike[str], *, name: str = "primary", depth_limit: int = 64) -> "Engine":
        """Make a primary storage at root, which is new or empty, and open it; Conflict where one is already."""
        opened = store.make(Path(root), arguments.name(name), arguments.depth(depth_limit))
        return cls(opened.root, (), lock.DEFAULT_WAIT)

    @property
    def storage(self) -> PrimaryStorage:
        """The store's record as it is now."""
        return self._store.record

    @property
    def _store(self) -> Store:
        return store.open_store(self.root)

    def find_volume(self, text: str) -> str:
        """Return the uuid of the volume that text names: a uuid, a name, the start of a uuid. See lookup."""
        return lookup.volume(self._store, text)

    def find_snapshot(self, text: str) -> str:
        """Return the uuid of the snapshot that text names, as `VOLUME/SNAPSHOT` too. See lookup."""
        return lookup.snapshot(self._store, text)

    def find_trash_item(self, text: str) -> str:
        """Return the uuid of the trash item that text names: its uuid, or the start of it."""
        return lookup.trash_item(self._store, text)

    def find_object(self, text: str) -> str:
        """Return the uuid of the volume or snapshot that text names."""
        return lookup.anything(self._store, text)

    def status(self) -> Status:
        """Return the store at a glance."""
        return status.status(self._store)

    def set_depth_limit(self, depth: int) -> PrimaryStorage:
        """Set how deep a chain of a volume without a limit of its own may get (2 to 119); at once."""
        return status.set_depth(self._store, depth, self.wait)

    def create_account(self, name: str) -> Account:
        """Add an account; Conflict when one has this name."""
        return accounts.create(self._store, name, self.wait)

    def list_accounts(self) -> tuple[Account, ...]:
        """Return all accounts, by name."""
        return accounts.list_all(self._store)

    def create_volume(
        self, name: str, size: int, type: VolumeType = "Data", *, account: str = "admin", uuid: str | None = None,
        description: str | None = None, tags: tuple[str, ...] = (),
    ) -> Volume:  # fmt: skip
        """Create an empty volume of size bytes, rounded up to 512; see volume.create."""
        return volume.create(self._store, volume.Request(name, type, account, uuid, description, tags), size)

    def import_volume(
        self, file: str | os.PathLike[str], name: str | None = None, type: VolumeType = "Data", *,
        account: str = "admin", uuid: str | None = None, description: str | None = None, tags: tuple[str, ...] = (),
        format: Format | None = None, move: bool = False, progress: Progress | None = None,
    ) -> Volume:  # fmt: skip
        """Make a volume of an image in any of six formats; see importing.import_volume."""
        path = Path(os.path.abspath(file))
        request = volume.Request(path.stem if name is None else name, type, account, uuid, description, tags)
        return importing.import_volume(self._store, path, request, format, move, progress)

    def list_volumes(self) -> tuple[Volume, ...]:
        """Return all volumes, by name."""
        return volume.list_all(self._store)

    def get_volume(self, uuid: str) -> Volume:
        """Return one volume."""
        return volume.show(self._store, uuid)

    def update_volume(self, uuid: str, *, name: str | None = None, description: str | None = None) -> Volume:
        """Change a volume's name or description; None leaves it as it is."""
        return volume.update(self._store, uuid, name, description, self.wait)

    def volume_path(self, uuid: str) -> Path:
        """Return the path of the volume's active image: what a VM opens."""
        return volume.path(self._store, uuid)

    def volume_chain(self, uuid: str) -> tuple[Link, ...]:
        """Return the images that the volume consists of, the active one first."""
        return volume.links(self._store, uuid)

    def attach_volume(self, uuid: str, vm: str, channel: str | None = None) -> Volume:
        """Note that a VM uses the volume; Conflict when another one does."""
        return volume.attach(self._store, uuid, vm, channel, self.wait)

    def detach_volume(self, uuid: str) -> Volume:
        """Note that no VM uses the volume any more."""
        return volume.detach(self._store, uuid, self.wait)

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

    def list_tags(self, uuid: str | None = None) -> tuple[Tag, ...]:
        """Return the tags of a volume or snapshot, or all."""
        return tag.list_all(self._store, uuid)

    def add_tag(self, uuid: str, text: str, *, user: bool = False) -> tuple[Tag, ...]:
        """Give a volume or snapshot a tag; returns all that it has."""
        return tag.add(self._store, uuid, text, user, self.wait)

    def remove_tag(self, uuid: str, text: str) -> tuple[Tag, ...]:
        """Take a tag from a volume or snapshot; returns those that are left."""
        return tag.remove(self._store, uuid, text, self.wait)

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
        """Make a trash item the active image again; the present one goes to the trash."""
        trash.restore(self._store, uuid, self.wait)

    def restore_trash_as_snapshot(self, uuid: str, name: str) -> Snapshot:
        """Make a trash item a snapshot on the one that it stands on."""
        return trash.restore_as_snapshot(self._store, uuid, name, self.wait)

    def verify(self, volumes: tuple[str, ...] = (), *, deep: bool = False) -> tuple[Problem, ...]:
        """Return what is wrong with these volumes, or with the whole store; changes nothing. See verify.verify."""
        return verify.verify(self._store, volumes, deep, self.wait)
