"""
Sessions: who has logged in, for 7200 s. They survive a restart of the server, in `server/sessions.json`.

The file, mode 0600, holds no session but the SHA-256 of each, so whoever reads a copy of it can't use one. A session
ends with the password that it was opened by.
"""

import hashlib
import secrets
import time
from pathlib import Path
from typing import NamedTuple

from snapengine import durable, errors, inventory, layout, records
from snapengine.inventory import Struct
from snapengine.owners import AccountRecord
from snapengine.rest import faults

FILE = "sessions.json"  # in the server's directory
MAX_SESSIONS = 500  # of one account


class Kept(Struct, frozen=True, kw_only=True):
    """A session as it is kept: key is the SHA-256 of its uuid, password that of what it was opened by."""

    key: str
    account: str
    password: str
    created: int
    ends: int


class SessionsRecord(Struct, frozen=True, kw_only=True):
    """sessions.json."""

    schema_version: int
    sessions: tuple[Kept, ...]


class Opened(NamedTuple):
    """A new session: its uuid, which is the secret, and when it began and ends (seconds)."""

    uuid: str
    created: int
    ends: int


class Sessions:
    """The sessions of a store, kept in memory and written down at each login and logout."""

    def __init__(self, root: Path, seconds: int) -> None:
        self._path = root / layout.SERVER / FILE
        self._seconds = seconds
        self._kept = {each.key: each for each in _read(self._path)}

    def open(self, account: AccountRecord) -> Opened:
        """Open a session for an account; TooManySessions where it has 500."""
        now = int(time.time())
        self._kept = {key: each for key, each in self._kept.items() if each.ends > now}
        own = sum(each.account == account.uuid for each in self._kept.values())
        if own >= MAX_SESSIONS:
            raise faults.TooManySessions(account=account.name, count=own)
        uuid = secrets.token_hex(16)
        ends = now + self._seconds
        key = _sha(uuid)
        password = _sha(account.password or "")
        self._kept[key] = Kept(key=key, account=account.uuid, password=password, created=now, ends=ends)
        self._write()
        return Opened(uuid, now, ends)

    def find(self, session: str) -> Kept | None:
        """Return a session that has not ended; None for any other text."""
        found = self._kept.get(_sha(session))
        return found if found is not None and found.ends > time.time() else None

    def close(self, session: str) -> None:
        """End a session; of an unknown one nothing."""
        if self._kept.pop(_sha(session), None) is not None:
            self._write()

    def _write(self) -> None:
        every = SessionsRecord(schema_version=inventory.SCHEMA_VERSION, sessions=tuple(self._kept.values()))
        durable.make_directory(self._path.parent, layout.PRIVATE)
        durable.write(self._path, inventory.encode(every), 0o600)


def is_opened_by(kept: Kept, account: AccountRecord) -> bool:
    """Tell whether a session was opened by the password that the account has now."""
    return kept.account == account.uuid and kept.password == _sha(account.password or "")


def _read(path: Path) -> tuple[Kept, ...]:
    """Return the sessions that a server before this one left; a damaged file is as good as none."""
    try:
        return records.read(path, SessionsRecord).sessions
    except (FileNotFoundError, errors.Corrupt):
        return ()


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
