"""Accounts: who owns which volumes; their uuids stand in the paths."""

import uuid

from snapengine import arguments, errors, inventory, lock, store
from snapengine.inventory import Account
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
            raise errors.Conflict(what=f"account {name} exists already")
        made = Account(uuid=uuid.uuid4().hex, name=name, create_date=store.now())
        both = (*known.accounts, made)
        store.write_accounts(
            opened.root, inventory.Accounts(schema_version=inventory.SCHEMA_VERSION, accounts=both)
        )
    return made


def list_all(opened: Store) -> tuple[Account, ...]:
    """Return all accounts, by name."""
    return tuple(sorted(store.read_accounts(opened.root).accounts, key=lambda a: a.name))
