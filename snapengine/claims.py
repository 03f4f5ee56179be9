"""What an operation claims as its own: names that nothing has before it begins, so that its undo may remove them."""

import os
from collections.abc import Iterator
from pathlib import Path

from snapengine import errors, intent, journal, layout, store
from snapengine.intent import Entry


def require_new(root: Path, entry: Entry, given: str | None) -> None:
    """
    Raise Invalid where given, a uuid that the caller chose, is in use, Conflict where a name that entry makes is taken.

    The caller holds the locks that keep others from making such names, and writes the entry right after: so whatever
    an undo finds under them is the operation's own.
    """
    if given is not None and _is_used(root, given):
        raise errors.Invalid(what=f"the uuid {given} is in use; give another one or none")
    for part in intent.parts(entry):
        for name in _new(part):
            path = root / part.directory / name
            if os.path.lexists(path):
                raise errors.Conflict(what=f"{path} is there already, and it is not ours to replace; move it away")


def _is_used(root: Path, given: str) -> bool:
    reserved = any(given in part.reserved for entry in journal.entries(root) for part in intent.parts(entry))
    return reserved or store.is_known(root, given)


def _new(part: Entry) -> Iterator[str]:
    """Give the names that an entry's operation is the first to use: what it makes, and those of its new objects."""
    yield from part.made
    renames = (*part.publish, *((part.commit,) if part.commit else ()))
    yield from (rename.target for rename in renames if layout.owner(rename.target) in part.reserved)
    if part.commit is not None and layout.is_new(part.commit.source):
        yield part.commit.source


def require_own(root: Path, entry: Entry) -> None:
    """
    Raise Corrupt where undoing entry, of one volume, would remove an image that its operation did not make.

    Until the commit an image that was made is a second name of the one to be replaced, or what takes over is there
    under its temporary name still; and it has no record. An entry that a backup brought back after its operation had
    ended meets another store: what it names then is a snapshot, or a trash item, of its own.
    """
    directory = root / entry.directory
    for name in entry.made:
        if name.endswith(".qcow2") and os.path.lexists(directory / name) and not _is_own(directory, entry, name):
            what = f"the journal's entry of '{entry.verb}', begun {entry.started}, takes {directory / name} for its own"
            raise errors.Corrupt(what=f"{what}, which it did not make, or which has a record; nothing was removed")


def _is_own(directory: Path, entry: Entry, name: str) -> bool:
    if entry.commit is None or os.path.lexists(directory / layout.record_beside(name)):
        return False
    waiting, replaced = directory / entry.commit.source, directory / entry.commit.target
    return os.path.lexists(waiting) or _is_same(directory / name, replaced)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False
