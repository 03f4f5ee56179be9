"""
Errors as the contract tells them (section 2): the one place where an error of the engine becomes an error object.

What is malformed is told in plain text.
"""

from typing import ClassVar

from snapengine import errors, translation
from snapengine.inventory import Struct


class Fault(Struct, frozen=True, kw_only=True):
    """The contract's error object."""

    code: str
    description: str
    details: str
    cause: "Fault | None" = None


class Envelope(Struct, frozen=True, kw_only=True):
    """The body of every business error: this key and no other."""

    error: Fault


class Malformed(Exception):
    """A request that is malformed, too large or too late: answered with an HTTP status and plain text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Missing(errors.NotFound):
    """What a path or body names does not exist, in the contract's own words."""

    msg = "invalid field[{self.field}], resource[uuid:{self.uuid}, type:{self.type}] not found"


class Forbidden(errors.Conflict):
    """An object belongs to another account."""

    msg = "permission denied: {self.type} {self.uuid} belongs to another account"


class Unsupported(errors.Conflict):
    """A member of the family that a single host has no place for."""

    msg = "not supported: {self.why}"
    code = "SYS.1013"
    description = "The operation is not supported"


class Cancelled(errors.Busy):
    """The server was told to stop before the operation was begun, or while it ran."""

    msg = "{self.what}"
    code = "SYS.1017"
    description = "The operation is cancelled"


class WrongLogin(errors.Error):
    """The name, or the password, is wrong; it is not told which."""

    msg = "wrong account name or password"
    code = "ID.1000"
    description = "The login failed"


class NoSession(errors.Error):
    """The session is unknown, or has ended; or the key that signed is unknown, or the signature wrong."""

    msg = "{self.what}"
    code = "ID.1001"
    description = "The session is invalid"


class TooManySessions(errors.Error):
    """The account has as many sessions as it may."""

    msg = "account {self.account} has {self.count} sessions; log out, or wait until one ends"
    code = "ID.1006"
    description = "There are too many sessions"


class Caused(errors.Error):
    """A verb failed because of another error, which the contract nests."""

    cause: errors.Error
    msg = "{self.cause}"


class NotDeleted(Caused):
    """A deletion failed."""

    code = "SYS.1004"
    description: ClassVar[str] = "The deletion failed"


class BatchNotDeleted(Caused):
    """Of a batch of snapshots none was deleted, for a reason that concerns them all."""

    code = "VOLUME_SNAPSHOT.1002"
    description: ClassVar[str] = "The batch of snapshots was not deleted"


class NotFlattened(Caused):
    """A flatten failed."""

    code = "VOLUME.1001"
    description: ClassVar[str] = "The volume was not flattened"


INTERNAL = "an internal error; the server's log says more, see the header X-Request-Id"


def of(e: BaseException) -> Fault | None:
    """Return what a client is told of an error; None for a bug, of which it is told INTERNAL and nothing else."""
    known = translation.of_system(e) if isinstance(e, OSError) else e
    if not isinstance(known, errors.Error):
        return None
    cause = of(known.cause) if isinstance(known, Caused) else None
    return Fault(code=known.code, description=known.description, details=_plain(str(known)), cause=cause)


def internal() -> Fault:
    """Return what a client is told of a bug."""
    return Fault(code=errors.Error.code, description=errors.Error.description, details=INTERNAL)


def _plain(text: str) -> str:
    """Return text as UTF-8 can hold it: names of files may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()
