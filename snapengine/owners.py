"""accounts.json as structs: who owns volumes, and by what the server knows them."""

import msgspec

from snapengine import inventory


class Account(inventory.Struct, frozen=True, kw_only=True):
    """An account: its uuid stands in paths (acct-<uuid>), its name is for people; see quota for snapshot_quota."""

    uuid: str
    name: str
    create_date: inventory.Date
    snapshot_quota: int | None = None


class AccessKey(inventory.Struct, frozen=True, kw_only=True):
    """A key by which a machine signs its requests (contract, section 2); it can't be a hash, as both sides sign."""

    uuid: str
    secret: str
    create_date: inventory.Date


class AccountRecord(Account, frozen=True, kw_only=True):
    """What accounts.json keeps of an account: the password as `passwords` writes it, None before one was set."""

    password: str | None = None
    access_keys: tuple[AccessKey, ...] = ()


class Accounts(inventory.Struct, frozen=True, kw_only=True):
    """accounts.json."""

    schema_version: int
    accounts: tuple[AccountRecord, ...]


def replaced(known: Accounts, new: AccountRecord) -> Accounts:
    """Return the accounts with a new record in the place of the one with its uuid."""
    return msgspec.structs.replace(known, accounts=tuple(new if a.uuid == new.uuid else a for a in known.accounts))
