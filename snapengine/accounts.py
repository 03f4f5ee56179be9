"""Accounts: who owns which volumes; their uuids stand in the paths."""

import uuid

import msgspec

from snapengine import arguments, errors, inventory, layout, lock, owners, quota, store
from snapengine.owners import Account, AccountRecord
from snapengine.store import Store


def create(opened: Store, name: str, wait: float) -> Account:
    """
    Add an account and return it; Conflict when one has this name.

    One durable replacement of accounts.json: a crash leaves the old one or the new one.
    """
    arguments.account(name)
    with lock.exclusive(opened.root, "create account", wait):
        known = store.read_accounts(opened.root)
        if name in {a.name for a in known.accounts}:
            raise errors.Conflict(what=f"account {name} exists already; 'snapengine account list' shows those that are")
        made = AccountRecord(uuid=uuid.uuid4().hex, name=name, create_date=store.now())
        store.write_accounts(opened.root, msgspec.structs.replace(known, accounts=(*known.accounts, made)))
    return view(made)


def view(record: Account) -> Account:
    """Return what is shown of an account, no secret; its quota too where that is the default; none for admin."""
    return msgspec.structs.replace(inventory.shown(record, Account), snapshot_quota=quota.of(record))


def show(opened: Store, name: str) -> Account:
    """Return the account with this name or uuid."""
    return view(store.account(opened.root, name))


def set_quota(opened: Store, name: str, number: int, wait: float) -> Account:
    """
    Set how many snapshots an account may have, and return it; what it has already stays, whatever the number.

    One durable replacement of accounts.json: a crash leaves the old one or the new one. Conflict for admin.
    """
    arguments.quota(number)
    with lock.exclusive(opened.root, "set quota", wait):
        owner = store.account(opened.root, name)
        if owner.uuid == layout.ADMIN:
            raise errors.Conflict(what="account admin may have any number of snapshots; it has no quota")
        new = msgspec.structs.replace(owner, snapshot_quota=number)
        store.write_accounts(opened.root, owners.replaced(store.read_accounts(opened.root), new))
    return view(new)


def list_all(opened: Store) -> tuple[Account, ...]:
    """Return all accounts, by name."""
    return tuple(sorted(map(view, store.read_accounts(opened.root).accounts), key=lambda a: a.name))
