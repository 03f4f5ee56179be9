"""Who a request is from: the session that it names, or the access key that signed it (contract, section 2)."""

import os
import time
from pathlib import Path
from typing import NamedTuple

from snapengine import layout, stamps, store
from snapengine.owners import AccountRecord
from snapengine.rest import faults, sessions, signatures
from snapengine.rest.faults import Malformed
from snapengine.rest.sessions import Sessions
from snapengine.stamps import Stamp

_ENDED = "Session expired"


class Who(NamedTuple):
    """Who asks; admin sees and touches everything."""

    uuid: str
    name: str

    @property
    def is_admin(self) -> bool:
        """Tell whether nothing is hidden."""
        return self.uuid == layout.ADMIN

    @property
    def only(self) -> str | None:
        """Return the account whose objects alone this one may see; None for all."""
        return None if self.is_admin else self.uuid


class Signed(NamedTuple):
    """What a signature is over, as it was sent."""

    method: str
    path: str
    date: str | None


class Accounts:
    """The accounts of a store, read anew when their file was replaced."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._stamp: Stamp | None = None
        self._known: tuple[AccountRecord, ...] = ()

    def all(self) -> tuple[AccountRecord, ...]:
        """Return all accounts as they are now."""
        stamp = stamps.of(os.stat(self._root / layout.ACCOUNTS_RECORD))
        if stamp != self._stamp:
            self._known = store.read_accounts(self._root).accounts
            self._stamp = stamp if stamps.is_settled(stamp) else None
        return self._known

    def named(self, name: str) -> AccountRecord | None:
        """Return the account with this name."""
        return next((account for account in self.all() if account.name == name), None)


def of(said: str | None, signed: Signed, accounts: Accounts, opened: Sessions) -> Who:
    """
    Return who a request with this Authorization header is from.

    Raises Malformed without one, for one of another form, and for a signature whose date is off; NoSession otherwise.
    """
    if not said:
        raise Malformed(400, "missing header 'Authorization'")
    scheme, _, rest = said.strip().partition(" ")
    if scheme == "OAuth" and rest.strip():
        if (who := by_session(rest.strip(), accounts, opened)) is None:
            raise faults.NoSession(what=_ENDED)
        return who
    if scheme == "ZStack" and ":" in rest:
        return _by_key(rest.strip(), signed, accounts)
    raise Malformed(400, "invalid header 'Authorization': give 'OAuth <session>' or 'ZStack <key>:<signature>'")


def by_session(session: str, accounts: Accounts, opened: Sessions) -> Who | None:
    """Return whose a session is; None for one that is unknown or has ended."""
    kept = opened.find(session)
    for account in accounts.all():
        if kept is not None and sessions.is_opened_by(kept, account):
            return Who(account.uuid, account.name)
    return None


def _by_key(said: str, signed: Signed, accounts: Accounts) -> Who:
    if signed.date is None:
        raise Malformed(400, "missing header 'Date'")
    instant = signatures.instant(signed.date)
    if instant is None:
        raise Malformed(400, "invalid header 'Date': give one like 'Thu, 08 Jun 2017 09:20:17 GMT'")
    if abs(instant - time.time()) > signatures.SKEW:
        raise Malformed(403, "the header 'Date' is more than 15 minutes off")
    uuid, _, signature = said.partition(":")
    for account in accounts.all():
        for key in account.access_keys:
            if key.uuid == uuid and signatures.is_signed(
                key.secret, signed.method, signed.date, signed.path, signature
            ):  # fmt: skip
                return Who(account.uuid, account.name)
    raise faults.NoSession(what="the access key is unknown, or the signature is wrong")
