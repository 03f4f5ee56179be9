"""How many snapshots an account may have: 200 by default, another number by its record, any number for admin."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from snapengine import errors, intent, journal, layout, store
from snapengine.intent import Entry
from snapengine.owners import Account

DEFAULT = 200  # of the contract, section 3


def is_bounded(entry: Entry) -> bool:
    """Tell whether an operation makes snapshots for an account that has a quota: require() is for these only."""
    return any(_account(part) != layout.ADMIN and new_snapshots(part) for part in intent.parts(entry))


def require(root: Path, entry: Entry) -> None:
    """
    Raise OverQuota when an operation would give an account more snapshots than it may have.

    The caller holds the store's short lock and writes the entry under it, so that no two operations pass together:
    what entries in the journal reserve counts as there.
    """
    wanted: dict[str, set[str]] = {}
    for part in intent.parts(entry):
        wanted.setdefault(_account(part), set()).update(new_snapshots(part))
    for account, new in wanted.items():
        if new and account != layout.ADMIN:
            _require(root, account, new)


def _require(root: Path, account: str, new: set[str]) -> None:
    owner = _owner(root, account)
    limit = of(owner)
    known = _snapshots(root, account) | {
        uuid
        for entry in journal.entries(root)
        for part in intent.parts(entry)
        if _account(part) == account
        for uuid in new_snapshots(part)
    }
    if limit is not None and len(known | new) > limit:
        raise errors.OverQuota(account=owner.name, used=len(known), wanted=len(new - known), quota=limit)


def of(account: Account) -> int | None:
    """Return how many snapshots an account may have; None for any number."""
    if account.uuid == layout.ADMIN:
        return None
    return DEFAULT if account.snapshot_quota is None else account.snapshot_quota


def _owner(root: Path, account: str) -> Account:
    """Return an account's record; where that can't be read, one with the default: accounting is in nobody's way."""
    with suppress(errors.Corrupt, FileNotFoundError):
        for known in store.read_accounts(root).accounts:
            if known.uuid == account:
                return known
    return Account(uuid=account, name=account, create_date=store.now())


def _snapshots(root: Path, account: str) -> set[str]:
    """Return the uuids of an account's snapshots, by the names of the files; those of deleted volumes too."""
    return set(_found(root, account))


def _found(root: Path, account: str) -> Iterator[str]:
    for part in (*layout.TYPES.values(), layout.TRASH):
        for directory in store.volume_directories(root / part / f"acct-{account}"):
            with suppress(FileNotFoundError):  # the volume has just been deleted or recovered, or is gone
                names = os.listdir(directory)
                volume = layout.volume_of(directory)
                yield from (u for u in map(layout.recorded, names) if u is not None and u != volume)


def new_snapshots(entry: Entry) -> set[str]:
    """Return the uuids that an entry of one volume reserves for snapshots: neither its volume's nor a trash item's."""
    if entry.directory == layout.GROUPS:
        return set()
    return {u for u in entry.reserved if u != entry.volume_uuid and layout.trash_image(u) not in entry.made}


def _account(entry: Entry) -> str:
    """Return the account in whose directory an entry works; admin, who has no quota, for the groups' directory."""
    found = [part for part in Path(entry.directory).parts if part.startswith("acct-")]
    return found[0].removeprefix("acct-") if found else layout.ADMIN
