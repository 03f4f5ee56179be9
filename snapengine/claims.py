"""What an operation claims as its own: names that nothing has before it begins, so that its undo may remove them."""

import os
from collections.abc import Iterator
from pathlib import Path

from snapengine import errors, journal, layout, store
from snapengine.journal import Entry


def require_new(root: Path, entry: Entry, given: str | None) -> None:
    """
    Raise Invalid where given, a uuid that the caller chose, is in use, Conflict where a name that entry makes is taken.

    The caller holds the locks that keep others from making such names, and writes the entry right after: so whatever
    an undo finds under them is the operation's own.
    """
    if given is not None and _is_used(root, given):
        raise errors.Invalid(what=f"the uuid {given} is in use; give another one or none")
    for part in journal.parts(entry):
        for name in _new(part):
            path = root / part.directory / name
            if os.path.lexists(path):
                raise errors.Conflict(what=f"{path} is there already, and it is not ours to replace; move it away")


def _is_used(root: Path, given: str) -> bool:
    reserved = any(given in part.reserved for entry in journal.entries(root) for part in journal.parts(entry))
    return reserved or store.is_known(root, given)


def _new(part: Entry) -> Iterator[str]:
    """Give the names that an entry's operation is the first to use: what it makes, and those of its new objects."""
    yield from part.made
    renames = (*part.publish, *((part.commit,) if part.commit else ()))
    yield from (rename.target for rename in renames if layout.owner(rename.target) in part.reserved)
    if part.commit is not None and layout.is_new(part.commit.source):
        yield part.commit.source
