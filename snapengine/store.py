"""The primary storage as it lies on the disk: open it, find volumes and snapshots in it."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from snapengine import arguments, attributes, durable, errors, inventory, layout, ownership, presence, records, units
from snapengine.inventory import PrimaryStorage, VolumeRecord
from snapengine.owners import AccountRecord, Accounts
from snapengine.records import Contents

log = logging.getLogger(__name__)

Found = TypeVar("Found")

STORAGE_NOTE, ACCOUNTS_NOTE = "storage", "accounts"
_REMAKE = "'snapengine rebuild' makes it again, or restore it from a backup; all else is as it was"
_PARTS = (layout.JOURNAL, layout.GROUPS, layout.SERVER, layout.TRASH, *layout.TYPES.values())


class Store(NamedTuple):
    """An open primary storage; request names, in the journal, who asked for a verb, fresh is a new object's uuid."""

    root: Path
    record: PrimaryStorage
    request: str | None = None
    fresh: str | None = None


def now() -> str:
    """Return this instant in the contract's form; Conflict where the clock is at a year that no record can hold."""
    instant = time.time()
    if instant >= units.END:
        date = units.format_date(instant)
        raise errors.Conflict(what=f"the system's clock says {date}, which no record can hold; set it right first")
    return units.format_date(instant)


def require_safe(root: Path) -> None:
    """Raise Denied where somebody else could plant files, or a directory of the store is a link to elsewhere."""
    for path in (root, *(root / part for part in _PARTS)):
        with suppress(FileNotFoundError):
            ownership.require_own(path)


def open_store(root: Path) -> Store:
    """Return the primary storage at root; NoStorage where there is none, Denied where its directory is unsafe."""
    root = Path(os.path.realpath(ownership.unplanted(root)))
    path = root / layout.STORAGE_RECORD
    try:
        record = records.read(path, PrimaryStorage)
    except (FileNotFoundError, NotADirectoryError) as e:
        lost = errors.Corrupt(what=f"the record {path} of the primary storage is missing", hint=_REMAKE)
        raise (lost if was_one(root) else errors.NoStorage(root=root)) from e
    except errors.Corrupt as e:
        raise errors.Corrupt(what=e.what, hint=_REMAKE) from e
    require_safe(root)
    return Store(root, record)


def was_one(root: Path) -> bool:
    """Tell whether root, where no record of a primary storage lies, held one: volumes, groups, or a note of it do."""
    if not any((root / part).is_dir() for part in layout.TYPES.values()):
        return False  # emptied since, maybe
    had = (root / layout.GROUPS).is_dir() or attributes.noted(root, STORAGE_NOTE) is not None
    return had or any(True for _ in account_directories(root, *layout.TYPES.values(), layout.TRASH))


def write_storage(root: Path, record: PrimaryStorage) -> None:
    """Write the store's own record durably, and note it at the root's directory for when it is lost."""
    durable.write(root / layout.STORAGE_RECORD, inventory.encode(record))
    attributes.note(root, STORAGE_NOTE, inventory.encode(record))


def read_accounts(root: Path) -> Accounts:
    """Return accounts.json; Corrupt where it is missing or damaged."""
    path = root / layout.ACCOUNTS_RECORD
    try:
        return records.read(path, Accounts)
    except FileNotFoundError as e:
        raise errors.Corrupt(what=f"the accounts' record {path} is missing", hint=_REMAKE) from e


def write_accounts(root: Path, accounts: Accounts) -> None:
    """Write accounts.json durably, readable by its owner only; what is no secret is noted at the root."""
    durable.write(root / layout.ACCOUNTS_RECORD, inventory.encode(accounts), 0o600)
    known = tuple(msgspec.structs.replace(a, password=None, access_keys=()) for a in accounts.accounts)
    attributes.note(root, ACCOUNTS_NOTE, inventory.encode(msgspec.structs.replace(accounts, accounts=known)))


def account(root: Path, name: str) -> AccountRecord:
    """Return the account with this name or uuid; Invalid for what can be neither, NotFound without one."""
    arguments.account(name)
    found = [a for a in read_accounts(root).accounts if name in (a.uuid, a.name)]
    if not found:
        raise errors.NotFound(kind="account", name=name, hint="'snapengine account create' makes one")
    return found[0]


def directories(root: Path) -> Iterator[Path]:
    """Give the `snapshots` directory of every volume; what a crash left half-made is not among them."""
    return within(root, *layout.TYPES.values())


def all_directories(root: Path) -> Iterator[Path]:
    """Give the `snapshots` directory of every volume, deleted or not; one that moves meanwhile is not missed."""
    seen = set()
    for part in (*layout.TYPES.values(), layout.TRASH, *layout.TYPES.values()):
        for directory in within(root, part):
            if directory not in seen:
                seen.add(directory)
                yield directory


def within(root: Path, *parts: str) -> Iterator[Path]:
    """Give the `snapshots` directory of every volume in these parts of the store."""
    for account in account_directories(root, *parts):
        yield from volume_directories(account)


def volume_directories(account: Path) -> Iterator[Path]:
    """Give the `snapshots` directory of every volume in an account's directory."""
    return (account / volume / layout.SNAPSHOTS for volume in _names(account, "vol-"))


def account_directories(root: Path, *parts: str) -> Iterator[Path]:
    """Give the directory of every account that has, or had, volumes of a type; or those in these parts of the store."""
    for part in parts or layout.TYPES.values():
        for account in _names(root / part, "acct-"):
            yield root / part / account


def _names(directory: Path, prefix: str) -> list[str]:
    """Return the names below directory that are prefix and a uuid, sorted; symbolic links are left out."""
    try:
        with os.scandir(directory) as found:
            return sorted(e.name for e in found if _is_own(e, prefix))
    except FileNotFoundError:
        return []


def _is_own(entry: os.DirEntry[str], prefix: str) -> bool:
    is_named = entry.name.startswith(prefix) and layout.is_uuid(entry.name.removeprefix(prefix))
    if is_named and entry.is_symlink():
        log.warning("left out: %s is a symbolic link; a store's directories must be real ones", entry.path)
    return is_named and entry.is_dir(follow_symlinks=False)


def find_volume(root: Path, volume: str) -> Path:
    """Return the `snapshots` directory of the volume with this uuid; NotFound without one."""
    if layout.is_uuid(volume):
        for part in layout.TYPES.values():
            for account in _names(root / part, "acct-"):
                path = root / part / account / f"vol-{volume}"
                if path.is_dir() and not path.is_symlink():
                    return path / layout.SNAPSHOTS
        ownership.require_no_links(root / part for part in layout.TYPES.values())
    raise errors.unknown("volume", volume)


def find_snapshot(root: Path, snapshot: str) -> Path:
    """Return the `snapshots` directory that holds the snapshot with this uuid; NotFound without one."""
    return _holding(root, snapshot, layout.record(snapshot), "snapshot")


def find_trash(root: Path, item: str) -> Path:
    """Return the `snapshots` directory that holds the trash item with this uuid; NotFound without one."""
    return _holding(root, item, layout.trash_record(item), "trash item")


def has_volume(root: Path, volume: str) -> bool:
    """Tell whether there is a volume with this uuid."""
    with suppress(errors.NotFound):
        return bool(find_volume(root, volume))
    return False


def has_snapshot(root: Path, snapshot: str) -> bool:
    """Tell whether there is a snapshot with this uuid."""
    with suppress(errors.NotFound):
        return bool(find_snapshot(root, snapshot))
    return False


def is_known(root: Path, uuid: str) -> bool:
    """Tell whether anything has this uuid, deleted or not: a file of it is enough where the others were lost."""
    accounts = account_directories(root, *layout.TYPES.values(), layout.TRASH)
    return presence.is_there(root / layout.GROUPS / layout.record(uuid)) or any(_is_in(each, uuid) for each in accounts)


def _is_in(account: Path, uuid: str) -> bool:
    """Tell whether a volume of an account, or one of its files, has this uuid."""
    if presence.is_there(account / f"vol-{uuid}"):
        return True
    for directory in volume_directories(account):
        with suppress(FileNotFoundError, NotADirectoryError):  # removed meanwhile
            if any(name.startswith(uuid) for name in os.listdir(directory)):
                return True
    return False


def _holding(root: Path, uuid: str, name: str, kind: str) -> Path:
    """Return the directory that has this name; where one can't be looked at and no other has it, raise that error."""
    unseen: list[OSError] = []
    for directory in directories(root) if layout.is_uuid(uuid) else ():
        try:
            if directory.parent.name != f"vol-{uuid}" and presence.is_there(directory / name):
                return directory
        except OSError as e:
            unseen.append(e)
    raise unseen[0] if unseen else errors.unknown(kind, uuid)


def every(root: Path) -> Iterator[Contents]:
    """
    Give the records of every volume, each as of one moment; what is deleted meanwhile is left out.

    So is what has a damaged record, with a warning: one snapshot, or volume, never keeps the others from being seen.
    """
    yield from readable(directories(root), intact)


def intact(directory: Path) -> Contents:
    """Return the records of a volume without those that are damaged, with a warning for each."""
    found, damaged = records.intact(directory)
    for each in damaged:
        log.warning("left out: %s", each)
    return found


def volumes(root: Path) -> Iterator[tuple[Path, VolumeRecord]]:
    """Give the directory and the record of every volume; what is left out is the same as in every()."""
    yield from readable(directories(root), lambda directory: (directory, records.read_volume(directory)))


def readable(found: Iterator[Path], read: Callable[[Path], Found]) -> Iterator[Found]:
    """Give what read finds in each directory; what is left out is the same as in every()."""
    for directory in found:
        try:
            yield read(directory)
        except errors.NotFound:
            continue
        except errors.Corrupt as e:
            log.warning("left out: %s", e)
