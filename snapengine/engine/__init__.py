"""
The public library: one method a verb, uuids in, frozen structs out, the errors of errors.py.

It holds no state but where the store is, so one engine serves several threads, and several processes may each have
their own on the same root.
"""

import os
from pathlib import Path

from snapengine import (
    arguments,
    founding,
    lock,
    lookup,
    rebuild,
    recovery,
    repair,
    status,
    store,
    tag,
    translation,
    verify,
)
from snapengine.engine.accounts import Accounts
from snapengine.engine.groups import Groups
from snapengine.engine.snapshots import Snapshots
from snapengine.engine.trash import Trash
from snapengine.engine.volumes import Volumes
from snapengine.health import Problem
from snapengine.inventory import PrimaryStorage, Setting
from snapengine.printed import Progress
from snapengine.rebuild import Rebuilt
from snapengine.recovery import Recovered
from snapengine.repair import Repaired
from snapengine.status import Status
from snapengine.tag import Tag, TagType


@translation.translating
class Engine(Volumes, Snapshots, Groups, Trash, Accounts):
    """
    An open primary storage.

    recovered says what a crash had left and what became of it; wait, request and fresh as in Opened.
    """

    def __init__(
        self, root: Path, recovered: tuple[Recovered, ...], wait: float, request: str | None = None,
        fresh: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(root, wait, request, fresh)
        self.recovered = recovered

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, recover: bool = True, wait: float = lock.DEFAULT_WAIT) -> "Engine":
        """
        Open the primary storage at root, and finish or undo what a crash left there; never waits for a lock.

        Raises NoStorage where there is none, Corrupt where its own record is missing or damaged.
        """
        opened = store.open_store(Path(root))
        return cls(opened.root, recovery.recover(opened.root) if recover else (), wait)

    @classmethod
    def init(cls, root: str | os.PathLike[str], *, name: str = "primary", depth_limit: int = 64) -> "Engine":
        """Make a primary storage at root, which is new or empty, and open it; Conflict where one is already."""
        opened = founding.make(Path(root), arguments.name(name), arguments.depth(depth_limit))
        return cls(opened.root, (), lock.DEFAULT_WAIT)

    def recover(self) -> None:
        """Finish or undo what a crash left, as open does, and note it in recovered."""
        self.recovered = recovery.recover(self.root)

    def asked_by(self, request: str, fresh: str) -> "Engine":
        """Return this engine for one call of a server; see Opened."""
        return Engine(self.root, (), self.wait, request, fresh)

    @classmethod
    def rebuild(
        cls, root: str | os.PathLike[str], *, dry_run: bool = False, wait: float = lock.DEFAULT_WAIT
    ) -> Rebuilt:  # fmt: skip
        """Make all records of the store at root again, if that can be opened or not; see rebuild.rebuild."""
        return rebuild.rebuild(Path(root), wait, dry_run)

    @property
    def storage(self) -> PrimaryStorage:
        """The store's record as it is now."""
        return self._store.record

    def find_volume(self, text: str) -> str:
        """Return the uuid of the volume that text names: a uuid, a name, the start of a uuid. See lookup."""
        return lookup.volume(self._store, text)

    def find_deleted_volume(self, text: str) -> str:
        """Return the uuid of the deleted volume that text names; Conflict where that is not deleted."""
        return lookup.deleted_volume(self._store, text)

    def find_snapshot(self, text: str) -> str:
        """Return the uuid of the snapshot that text names, as `VOLUME/SNAPSHOT` too. See lookup."""
        return lookup.snapshot(self._store, text)

    def find_going(self, text: str) -> str | None:
        """Return the uuid of the snapshot that text names, of those that an unfinished delete destroys; else None."""
        return lookup.going(self._store, text)

    def find_group(self, text: str) -> str:
        """Return the uuid of the group that text names: a uuid, a name, the start of a uuid. See lookup."""
        return lookup.group(self._store, text)

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

    def set_reflinks(self, setting: Setting) -> PrimaryStorage:
        """Set whether copies share extents where the file system can do that; see status.set_reflinks."""
        return status.set_reflinks(self._store, setting, self.wait)

    def set_image_owner(self, owner: str) -> PrimaryStorage:
        """Set who owns the images of new volumes, USER:GROUP or default; see status.set_image_owner."""
        return status.set_image_owner(self._store, owner, self.wait)

    def set_image_mode(self, mode: str) -> PrimaryStorage:
        """Set the octal mode of the images of new volumes, say 0640, or default; see status.set_image_mode."""
        return status.set_image_mode(self._store, mode, self.wait)

    def list_tags(self, uuid: str | None = None) -> tuple[Tag, ...]:
        """Return the tags of a volume or snapshot, or all."""
        return tag.list_all(self._store, uuid)

    def add_tag(self, uuid: str, text: str, *, user: bool = False) -> tuple[Tag, ...]:
        """Give a volume or snapshot a tag; returns all that it has."""
        return tag.add(self._store, uuid, text, user, self.wait)

    def remove_tag(self, uuid: str, text: str, *, type: TagType | None = None) -> tuple[Tag, ...]:
        """Take a tag, of this type or of either, from a volume or snapshot; returns those that are left."""
        return tag.remove(self._store, uuid, text, type, self.wait)

    def repair(self, volumes: tuple[str, ...] = (), *, dry_run: bool = False) -> Repaired:
        """Put right what can be without losing anything, of these volumes or the whole store; see repair.repair."""
        return repair.repair(self._store, volumes, self.wait, dry_run)

    def verify(
        self, volumes: tuple[str, ...] = (), *, deep: bool = False, progress: Progress | None = None,
        rate: int | None = None,
    ) -> tuple[Problem, ...]:  # fmt: skip
        """Return what is wrong with these volumes, or with the whole store; changes nothing. See verify.verify."""
        return verify.verify(self._store, volumes, deep, self.wait, progress, rate)
