"""What an operation claims as its own: names that nothing has before it begins, so that its undo may remove them."""

import os
from collections.abc import Iterator
from pathlib import Path

from snapengine import errors, intent, journal, layout, presence, records, store
from snapengine.intent import Entry


class Stale(errors.Corrupt):
    """An entry in the journal is of an operation that ended long ago."""


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
            if presence.is_there(path):
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


def require_own(root: Path, entry: Entry, *, is_renamed: bool = False) -> None:
    """
    Raise Stale where undoing entry, of one volume, would remove an image that its operation did not make.

    Until the commit an image that was made is a second name of the one to be replaced, or what takes over is there
    under its temporary name still; and it has no record. is_renamed: of a group's member, whose rename was done while
    those of others were not, only the latter holds. An entry that a backup brought back after its operation had ended
    meets another store: what it names then is a snapshot, or a trash item, of its own.
    """
    directory = root / entry.directory
    for name in entry.made:
        if name.endswith(".qcow2") and presence.is_there(directory / name):
            if not _is_own(directory, entry, name, is_renamed):
                what = f"takes {directory / name} for its own, which it did not make, or which has a record"
                raise _stale(entry, what)


def _is_own(directory: Path, entry: Entry, name: str, is_renamed: bool) -> bool:
    if entry.commit is None or presence.is_there(directory / layout.record_beside(name)):
        return False
    waiting, replaced = directory / entry.commit.source, directory / entry.commit.target
    return is_renamed or presence.is_there(waiting) or _is_same(directory / name, replaced)


def require_doomed(root: Path, entry: Entry) -> None:
    """
    Raise Stale where finishing entry, which looks committed, would remove what its operation did not remove.

    From its commit on an operation's record of the volume, which tells what is gone, is prepared still, or is the one
    that the volume has: nothing else changes the volume before the operation is finished. Where neither is so, the
    operation was undone once, the entry was brought back by a backup, and the store only looks as if it had been done.
    """
    directory = root / entry.directory
    if directory.name != layout.SNAPSHOTS or (entry.commit, entry.pulled, entry.counted) == (None, None, None):
        return
    record = layout.record(entry.volume_uuid)
    if entry.counted is None and presence.is_there(directory / layout.new(record, entry.uuid)):
        return
    going = [name for name in entry.drop if layout.owner(name) != entry.uuid and presence.is_there(directory / name)]
    gone = records.stored_volume(directory).gone if going else ()
    for name in going:
        if layout.owner(name) not in gone:
            raise _stale(entry, f"removes {directory / name}, which is not gone for readers")


def _stale(entry: Entry, what: str) -> Stale:
    return Stale(what=f"the journal's entry of '{entry.verb}', begun {entry.started}, {what}; nothing was removed")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(os.lstat(one), os.lstat(other))
    except FileNotFoundError:
        return False
