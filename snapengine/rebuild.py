"""
Rebuild: make all records of a store again, from the images' headers and notes, file names and directories alone.

    step                                        a crash after it leaves                what helps
    the store's own record, the accounts'       a store with volumes without records   rebuild again
    what is unfinished is settled (recovery)    the same                               rebuild again
    each volume's records, its own last         some volumes are whole                 rebuild again
    the groups' records                         some groups are there                  rebuild again

Each record is one durable replacement. A record that is sound and agrees with the headers is not touched, so doing it
again makes good what a crash left, and on a whole store does nothing.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import uuid4

from snapengine import (
    attributes,
    durable,
    errors,
    health,
    inventory,
    layout,
    lock,
    notes,
    ownership,
    records,
    recovery,
    reflink,
    regrouping,
    remains,
    remaking,
    store,
    unfinished,
)
from snapengine.blank import account
from snapengine.health import Problem
from snapengine.inventory import PrimaryStorage, Record, Struct, VolumeRecord
from snapengine.owners import Accounts
from snapengine.remaking import Made, Remade
from snapengine.store import Store

_NOTED = "made again as it was noted at the root"
_NAMES = "made again from the accounts' directories; other accounts, names, quotas and passwords are gone"
_SECRETS = f"{_NOTED}; passwords and access keys are gone"
_PARTS = (*layout.TYPES.values(), layout.TRASH)
_SETTINGS = "made again; its name and settings are gone"


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What a rebuild made or put right, and what it could not bring back."""

    rebuilt: tuple[Made, ...]
    left: tuple[Problem, ...]


def rebuild(root: Path, wait: float, dry_run: bool) -> Rebuilt:
    """
    Make all records of the store at root again, unless dry_run; crash table above.

    Raises NoStorage where nothing of one lies there, Denied, Locked where somebody works on a volume for longer than
    wait seconds, Corrupt where the store's own record is of a newer snapengine.
    """
    root = Path(os.path.realpath(ownership.unplanted(root)))
    if not any((root / part).is_dir() for part in layout.TYPES.values()):
        raise errors.NoStorage(root=root)
    store.require_safe(root)
    with ExitStack() as stack:
        if not dry_run:
            stack.enter_context(lock.exclusive(root, "rebuild", wait))
            durable.make_directory(root / layout.JOURNAL)
        opened, made = _own(root, dry_run)
    found = list(_volumes(opened, wait, dry_run))
    if not dry_run and recovery.recover(root):  # which may have waited for a record that is there now
        first, found = found, list(_volumes(opened, wait, dry_run))
        made += [each for volume in first for each in volume.made]
    families = [volume.family for volume in found if volume.family is not None]
    made += [each for volume in found for each in volume.made]
    groups, forgotten = regrouping.rebuild(opened, families, wait, dry_run, is_all=len(families) == len(found))
    left = [each for volume in found for each in volume.left]
    return Rebuilt(rebuilt=(*made, *groups), left=(*left, *forgotten, *unfinished.problems(root)))


def _own(root: Path, dry_run: bool) -> tuple[Store, list[Made]]:
    """Return the store, its own record and its accounts' made again where they are missing or damaged."""
    made = []
    path, at = root / layout.STORAGE_RECORD, root / layout.ACCOUNTS_RECORD
    record = remains.sound(path, lambda: records.read(path, PrimaryStorage))
    if record is None:
        noted = _noted(root, store.STORAGE_NOTE, PrimaryStorage)
        record = noted or _storage(root)
        made.append(_made("primary storage", record.uuid, path, _NOTED if noted else _SETTINGS))
        if not dry_run:
            store.write_storage(root, record)
    if remains.sound(at, lambda: records.read(at, Accounts)) is None:
        old = _noted(root, store.ACCOUNTS_NOTE, Accounts)
        made.append(_made("accounts", record.uuid, at, _SECRETS if old else _NAMES))
        if not dry_run:
            store.write_accounts(root, _accounts(root, old))
    return Store(root, record), made


def _made(kind: str, uuid: str, path: Path, message: str) -> Made:
    return Made(kind=kind, object=uuid, path=str(path), message=message)


def _noted(root: Path, kind: str, of: type[Record]) -> Record | None:
    data = attributes.noted(root, kind)
    with suppress(errors.Corrupt):
        return inventory.decode(data, of, root) if data is not None else None
    return None


def _storage(root: Path) -> PrimaryStorage:
    """Return a record for the store: the uuid is the one that most records below it, or their notes, name."""
    named = Counter(_named(root))
    return PrimaryStorage(
        uuid=named.most_common(1)[0][0] if named else uuid4().hex,
        name="primary",
        root=str(root),
        schema_version=inventory.SCHEMA_VERSION,
        create_date=store.now(),
        reflinks=reflink.is_possible(root),
    )


def _named(root: Path) -> Iterator[str]:
    """Give the uuids that volumes name; where none does and one can't be read, raise that error."""
    unread, found = list[OSError](), False
    for directory in store.all_directories(root):
        try:
            record = _record(directory)
        except OSError as e:
            unread.append(e)
            continue
        if record is not None and layout.is_uuid(record.primary_storage_uuid):
            found = True
            yield record.primary_storage_uuid
    if unread and not found:
        raise unread[0]


def _record(directory: Path) -> VolumeRecord | None:
    """Return the record of the volume in directory, or what was noted of it."""
    with suppress(errors.Error, FileNotFoundError, NotADirectoryError):
        return records.read_volume(directory)
    volume = layout.volume_of(directory)
    return notes.volume(directory / layout.image(volume), volume)


def _accounts(root: Path, noted: Accounts | None) -> Accounts:
    """Return the accounts that were noted, and those whose directories are there."""
    now = store.now()
    known = {each.uuid: each for each in (noted.accounts if noted else ())}
    there = {path.name.removeprefix("acct-") for path in store.account_directories(root, *_PARTS)}
    for uuid in sorted({layout.ADMIN, *there}):
        known.setdefault(uuid, account(uuid, now))
    return Accounts(schema_version=inventory.SCHEMA_VERSION, accounts=tuple(known.values()))


def _volumes(opened: Store, wait: float, dry_run: bool) -> Iterator[Remade]:
    for directory in store.all_directories(opened.root):
        if not directory.is_dir():
            continue
        volume = layout.volume_of(directory)
        try:
            yield remaking.remake(opened, directory, wait, dry_run)
        except FileNotFoundError:
            continue  # it was moved or removed a moment ago
        except errors.Corrupt as e:
            yield Remade(None, (), (health.problem("record-damaged", volume, directory, e.what, health.AGAIN),))
        except OSError as e:
            at = os.fsdecode(e.filename) if isinstance(e.filename, str | bytes) else directory
            why = f"it can't be read, or written: {e.strerror}"
            yield Remade(None, (), (health.problem("unreadable", volume, Path(at), why, health.AGAIN),))
