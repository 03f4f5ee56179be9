"""What the operating system says, as errors of the engine where it means one."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import TypeVar

from snapengine import errors

Kind = TypeVar("Kind")


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the operating system says in the block as an error of the engine, where it means one."""
    try:
        yield
    except OSError as e:
        known = of_system(e)
        if known is None:
            raise
        raise known from e


def translating(kind: type[Kind]) -> type[Kind]:
    """Let every public method of a class raise what the operating system says as translated() does."""
    for name, member in [*vars(kind).items()]:
        if name.startswith("_"):
            continue
        if isinstance(member, classmethod):
            setattr(kind, name, classmethod(translated()(member.__func__)))
        elif isinstance(member, property) and member.fget:
            setattr(kind, name, property(translated()(member.fget)))
        elif isinstance(member, FunctionType):
            setattr(kind, name, translated()(member))
    return kind


def of_system(e: OSError) -> errors.Error | None:
    """Return what an error of the operating system means here; None when it is nothing that a user can mend."""
    name = f": {e.filename}" if e.filename else ""
    if e.errno in (errno.ENOSPC, errno.EDQUOT):
        return errors.NoSpace(what=f"no room{name}; free some space and try again")
    if e.errno == errno.EFBIG:
        return errors.NoSpace(what=f"a file would be too large{name}; raise the limit with 'ulimit -f', then try again")
    if e.errno in (errno.EACCES, errno.EPERM):
        mends = "run as the store's owner, or mend it with 'chown' or 'chmod'"
        return errors.Denied(what=f"permission denied{name}; {mends}")
    if e.errno == errno.EROFS:
        return errors.Denied(what=f"read-only file system{name}; mount it writable first")
    if e.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return errors.Invalid(what=f"the path is too long, or its links run in a circle{name}; give another one")
    if e.errno == errno.EIO:
        return errors.Denied(what=f"the disk reports an error{name}; look into the kernel's log")
    if e.errno in (errno.EMFILE, errno.ENFILE):
        return errors.Denied(what="too many open files; raise the limit with 'ulimit -n'")
    if e.errno == errno.ENOTDIR:
        return errors.Invalid(what=f"not a directory{name}; give another path")
    return None
