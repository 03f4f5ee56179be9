"""By what an account is known to the server: its password, and the keys by which machines sign their requests."""

import secrets
import string
import uuid

import msgspec

from snapengine import errors, inventory, layout, lock, owners, passwords, store
from snapengine.owners import AccessKey, AccountRecord
from snapengine.store import Store

MAX_KEYS = 20  # of one account
_LETTERS = string.ascii_letters + string.digits


class KeyOwner(inventory.Struct, frozen=True, kw_only=True):
    """An access key without its secret, which is shown once: when it is made."""

    uuid: str
    account_uuid: str
    account_name: str
    create_date: str


def set_password(opened: Store, name: str, password: str, wait: float) -> None:
    """
    Give an account, named by name or uuid, a password; sessions that were opened with the old one end.

    One durable replacement of accounts.json: a crash leaves the old one or the new one. Raises Invalid, NotFound.
    """
    kept = passwords.hashed(passwords.digest(password))
    with lock.exclusive(opened.root, "set password", wait):
        owner = store.account(opened.root, name)
        _replace(opened, msgspec.structs.replace(owner, password=kept))


def first_password(opened: Store, given: str | None, wait: float) -> str | None:
    """Give the account admin a password, a random one unless one is given, if it has none; returns what it got."""
    if store.account(opened.root, layout.ADMIN).password is not None:
        return None
    password = secrets.token_urlsafe(15) if given is None else given
    set_password(opened, layout.ADMIN, password, wait)
    return password


def create_key(opened: Store, name: str, wait: float) -> AccessKey:
    """Make an access key for an account, and return it with its secret; Conflict where it has 20."""
    new = AccessKey(
        uuid=uuid.uuid4().hex,
        secret="".join(secrets.choice(_LETTERS) for _ in range(40)),
        create_date=store.now(),
    )
    with lock.exclusive(opened.root, "create access key", wait):
        owner = store.account(opened.root, name)
        if len(owner.access_keys) >= MAX_KEYS:
            raise errors.Conflict(what=f"account {owner.name} has {MAX_KEYS} access keys; delete one first")
        _replace(opened, msgspec.structs.replace(owner, access_keys=(*owner.access_keys, new)))
    return new


def list_keys(opened: Store) -> tuple[KeyOwner, ...]:
    """Return the access keys of all accounts, without their secrets."""
    return tuple(
        KeyOwner(uuid=key.uuid, account_uuid=owner.uuid, account_name=owner.name, create_date=key.create_date)
        for owner in store.read_accounts(opened.root).accounts
        for key in owner.access_keys
    )


def delete_key(opened: Store, key: str, wait: float) -> None:
    """Remove the access key with this uuid; NotFound without one."""
    with lock.exclusive(opened.root, "delete access key", wait):
        for owner in store.read_accounts(opened.root).accounts:
            kept = tuple(each for each in owner.access_keys if each.uuid != key)
            if kept != owner.access_keys:
                return _replace(opened, msgspec.structs.replace(owner, access_keys=kept))
    raise errors.NotFound(kind="access key", name=key, hint="'snapengine access-key list' shows those that are")


def _replace(opened: Store, new: AccountRecord) -> None:
    store.write_accounts(opened.root, owners.replaced(store.read_accounts(opened.root), new))
