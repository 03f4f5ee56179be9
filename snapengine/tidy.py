"""Put a volume's directory in order before a verb: what a move of the store, or a cut-off replacement, left there."""

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from snapengine import chain, durable, errors, layout, lock, notes, records, reflink, store, tree
from snapengine.inventory import VolumeRecord
from snapengine.store import Store


def directory(opened: Store, at: Path) -> VolumeRecord:
    """Put the directory at in order and return the record of its volume, whose lock the caller holds."""
    _note_move(opened)
    record = _relocated(at)
    _tidy(at, record)
    return record


def _tidy(directory: Path, record: VolumeRecord) -> None:
    """
    Remove what cut-off replacements left in directory, once records and active image agree.

    Where they do not, it stays: an operation's entry was lost, and what that prepared may be all that describes a
    snapshot. Whoever needs the image refuses it then, and a repair or a revert puts it right first.
    """
    if any(map(layout.is_new, os.listdir(directory))):
        with suppress(errors.Corrupt):
            chain.require_standing(directory / layout.active_name(record), tree.backing(record, record))
            durable.remove_left_over(directory)


def _note_move(opened: Store) -> None:
    """Write the root down where the store was moved, under the lock of who writes that record too."""
    if opened.record.root != str(opened.root):
        with lock.exclusive(opened.root, "note a move"):
            now = store.open_store(opened.root)
            found = now.record.reflinks_setting != "off" and reflink.is_possible(now.root)
            record = msgspec.structs.replace(now.record, root=str(now.root), reflinks=found)
            store.write_storage(now.root, record)


def _relocated(directory: Path) -> VolumeRecord:
    """Return the volume's record; where the store was moved, write all paths in the volume's records anew first."""
    stored = records.stored_volume(directory)
    volume = records.placed(stored, directory)
    if volume is not stored:
        for snapshot in records.contents(directory).snapshots.values():
            notes.write(directory / layout.record(snapshot.uuid), snapshot)
        notes.write(directory / layout.record(volume.uuid), volume)
    return volume
