"""Make a new primary storage."""

import os
import uuid
from pathlib import Path

from snapengine import durable, errors, inventory, layout, lock, mounts, ownership, presence, reflink, store
from snapengine.inventory import PrimaryStorage
from snapengine.owners import AccountRecord, Accounts
from snapengine.store import Store


def make(root: Path, name: str, depth: int) -> Store:
    """
    Make a primary storage at root, which is empty or new.

    Raises Conflict where one is already, or other files are, Invalid where there are no hard links. A crash before the
    record is written leaves empty directories, over which init runs again.
    """
    root, date = Path(os.path.realpath(ownership.unplanted(root))), store.now()
    _require_outside(root)
    if root.exists():
        _require_empty(root)  # before anything is made there, and once more when nobody else can be making one
    _make_root(root)
    store.require_safe(root)
    with lock.exclusive(root, "init"):
        store.require_safe(root)
        _require_empty(root)
        _require_links(root)
        for part in (layout.JOURNAL, *layout.TYPES.values()):
            durable.make_directory(root / part)
        admin = AccountRecord(uuid=layout.ADMIN, name="admin", create_date=date)
        store.write_accounts(root, Accounts(schema_version=inventory.SCHEMA_VERSION, accounts=(admin,)))
        record = PrimaryStorage(
            uuid=uuid.uuid4().hex,
            name=name,
            root=str(root),
            schema_version=inventory.SCHEMA_VERSION,
            create_date=date,
            max_incremental_snapshot_num=depth,
            reflinks=reflink.is_possible(root),
        )
        store.write_storage(root, record)
    mounts.warn_of(root)
    return Store(root, record)


def _require_outside(root: Path) -> None:
    """Raise Conflict where root lies in another primary storage."""
    for parent in root.parents:
        if presence.is_there(parent / layout.STORAGE_RECORD):
            raise errors.Conflict(what=f"{root} lies in the primary storage {parent}; give a directory outside of it")


def _make_root(root: Path) -> None:
    try:
        durable.make_directory(root)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise errors.Invalid(what=f"no directory can be made at {root}; give another path") from e
    except PermissionError as e:
        what = f"permission denied: {root} can't be made; give another directory, or run as who may write there"
        raise errors.Denied(what=what) from e


def _require_empty(root: Path) -> None:
    """Raise Conflict where a primary storage is already, or files that are not ours."""
    if presence.is_there(root / layout.STORAGE_RECORD):
        raise errors.Conflict(what=f"{root} is a primary storage already")
    if store.was_one(root):
        what = f"{root} holds a primary storage whose own record is missing; 'snapengine rebuild' makes it again"
        raise errors.Conflict(what=what)
    known = {layout.JOURNAL, layout.ACCOUNTS_RECORD, layout.LOCK, layout.LOST_FOUND, *layout.TYPES.values()}
    if strange := sorted(name for name in set(os.listdir(root)) - known if not layout.is_new(name)):
        raise errors.Conflict(what=f"{root} is not empty: it holds {', '.join(strange[:5])}; give an empty directory")


def _require_links(root: Path) -> None:
    """Raise Invalid where a file can't have two names."""
    names = [root / layout.new(layout.LOCK, uuid.uuid4().hex) for _ in range(2)]
    durable.reserve(names[0])
    try:
        durable.link(*names)
    except errors.Denied as e:
        why = "lies on a file system without hard links, and every snapshot begins with one"
        raise errors.Invalid(what=f"{root} {why}; give a directory on another one") from e
    finally:
        for name in names:
            durable.unlink(name)
