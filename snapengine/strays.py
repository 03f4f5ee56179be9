"""What lies in a store and belongs to nothing: neither the layout, the records nor an operation knows it."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from snapengine import journal, layout, presence, store
from snapengine.records import Contents


def of_store(root: Path) -> list[Path]:
    """Return what lies in the store, outside its volumes, and belongs to nothing."""
    return _unclaimed(root, _outside(root))


def of_groups(root: Path) -> list[Path]:
    """Return what cut-off replacements of groups' records left; what an operation prepares is not among it."""
    return _unclaimed(root, (path for path in _others(root / layout.GROUPS, set()) if layout.is_new(path.name)))


def of_volume(root: Path, contents: Contents) -> list[Path]:
    """Return what lies in a volume's directory and belongs to nothing."""
    return _unclaimed(root, _inside(contents))


def _outside(root: Path) -> Iterator[Path]:
    known = {layout.STORAGE_RECORD, layout.ACCOUNTS_RECORD, layout.JOURNAL, layout.LOCK, *layout.TYPES.values()}
    yield from _others(root, known | {"imagecache", layout.LOST_FOUND, layout.TRASH, layout.GROUPS, layout.SERVER})
    yield from (path for path in _others(root / layout.JOURNAL, set()) if layout.operation_of(path.name) is None)
    yield from (path for path in _others(root / layout.GROUPS, set()) if not layout.is_group(path.name))
    parts = (*layout.TYPES.values(), layout.TRASH)
    accounts = set(store.account_directories(root, *parts))
    volumes = {directory.parent for directory in store.all_directories(root) if directory.is_dir()}
    for part in parts:
        yield from _others(root / part, {account.name for account in accounts})
    for account in accounts:
        yield from _others(account, {volume.name for volume in volumes})


def _inside(contents: Contents) -> Iterator[Path]:
    yield from _others(contents.directory.parent, {layout.SNAPSHOTS, layout.LOCK})
    known = {layout.record(contents.volume.uuid), layout.active_name(contents.volume)}
    for uuid in contents.snapshots:
        known |= {layout.record(uuid), layout.image(uuid)}
    for uuid in contents.trash:
        known |= {layout.trash_record(uuid), layout.trash_image(uuid)}
    yield from _others(contents.directory, known)


def _others(directory: Path, known: set[str]) -> Iterator[Path]:
    """Give all in directory but the names that are known."""
    with suppress(FileNotFoundError):
        yield from (directory / name for name in os.listdir(directory) if name not in known)


def _unclaimed(root: Path, found: Iterable[Path]) -> list[Path]:
    """
    Return of found what no operation in the journal has the say of.

    The journal is read after found was, and what is gone by then is left out: an operation has just ended.
    """
    there = sorted(found)
    claimed = journal.claimed(root)
    return [path for path in there if path not in claimed and presence.is_there(path)]
