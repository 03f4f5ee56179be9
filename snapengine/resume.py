"""
Undo or finish one operation by its journal entry: what a crash left, and what a failure leaves.

Which side of the commit point a crash was on is told by names and headers:

    the commit is       committed when
    a rename            the new image's temporary name is gone: of the images that a plan makes it is made first and
                        removed last. Where the plan's other images and some records are there, the header of the
                        rename's target decides
    a pulled image's    the header names what the entry says
    the volume's record its generation is the entry's
    a resized image's   the header says the entry's size
    writing the entry   always

An image that a VM may have open since the crash is joined or mended under QEMU's image lock only, its name else left
alone, so a VM that was started in between is safe.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import msgspec

from snapengine import chain, durable, errors, journal, layout, merge, notes, presence, records, sound
from snapengine.intent import Entry, Rename

Kept = Mapping[str, int]  # open descriptors of images that VMs are kept out of, by name


def resume(root: Path, entry: Entry, kept: Kept | None = None) -> bool:
    """
    Bring a cut-off operation to its end; True when it was finished, False when it was undone.

    The caller holds the volume's lock, or the entry's for a volume that has not appeared. kept are the images that it
    keeps VMs out of; None: where images are joined that is done here, and InUse raised. May itself be cut off.
    """
    done = is_committed(root, entry)
    if done:
        finish(root, entry, kept)
    else:
        undo(root, entry, kept)
    return done


def is_committed(root: Path, entry: Entry) -> bool:
    """Tell by names and headers on which side of its commit an operation is; see the table above."""
    directory = root / entry.directory
    if entry.pulled is not None:
        return chain.layer(directory / entry.pulled).backing == entry.backing
    if entry.counted is not None:
        return records.stored_volume(directory).generation >= entry.counted
    if entry.resized is not None:
        return chain.layer(directory / entry.resized).header.size == entry.size
    if entry.commit is None:
        return True
    if presence.is_there(directory / entry.commit.source):
        return False
    if layout.is_new(entry.commit.target):  # what is to go, under a name that nobody knows
        return True
    target = directory / entry.commit.target
    if not entry.made or not presence.is_there(target):
        return presence.is_there(target)
    there = [name for name in (*entry.made, *entry.drop) if presence.is_there(directory / name)]
    if any(name not in there for name in entry.made if name.endswith(".qcow2")):
        return False
    return chain.stands_on(target, entry.backing)


def finish(root: Path, entry: Entry, kept: Kept | None = None) -> None:
    """Bring a committed operation to its end; doing so again is harmless. kept as for resume."""
    publish(root, entry, kept)
    journal.end(root, entry)


def publish(root: Path, entry: Entry, kept: Kept | None = None) -> None:
    """Do all of finish() but for the journal."""
    directory = root / entry.directory
    if entry.into is not None:
        with _kept(directory, entry, kept, entry.into.target) as held:
            if entry.into.target not in held:
                raise errors.Corrupt(what=f"image {directory / entry.into.target} is missing")
            _recount(directory / entry.into.source)
            merge.finish_down(directory, entry.into, held[entry.into.target], entry.volume_uuid)
    if entry.pulled is not None and all(presence.is_there(directory / name) for name in entry.run):
        with _kept(directory, entry, kept, entry.pulled):
            merge.prove(directory, entry.pulled, entry.run)
    lost = _mended(directory, entry, kept, committed=True)
    for rename in entry.publish:
        with suppress(FileNotFoundError):
            durable.rename(directory / rename.source, directory / rename.target)
        notes.keep(directory / rename.target)
    named = entry.publish or entry.commit
    if entry.drop and named:
        durable.sync_directory(directory)  # nothing goes before the records that do without it are safe
    for name in entry.drop:
        _remove(directory / name)
    if entry.drop or named:
        durable.sync_directory(directory)
    _note_broken(directory, lost)


def undo(root: Path, entry: Entry, kept: Kept | None = None) -> None:
    """End an uncommitted operation by removing what it made."""
    take_back(root, entry, kept)
    journal.drop(root, entry.uuid)


def merge_back(directory: Path, into: Rename, held: int, volume: str) -> None:
    """
    Commit the active image into.target down into into.source, which takes its name; again if that was cut off.

    held as for merge.finish_down. Dirty bitmaps that it costs are named in the volume's record.
    """
    _note_broken(directory, merge.marked(merge.read(directory, into.target, into.source), pulled=False).ended)
    _recount(directory / into.source)
    merge.finish_down(directory, into, held, volume)


def _recount(path: Path) -> None:
    """Let the image at path, if it has not taken over yet, be written to once more; see sound.recount."""
    if presence.is_there(path):
        sound.recount(path)


def _kept(directory: Path, entry: Entry, kept: Kept | None, name: str) -> AbstractContextManager[Kept]:
    """Keep every VM out of the image called name, and the volume, for the block, unless that is done already."""
    return merge.kept(directory, entry.volume_uuid, (name,)) if kept is None else nullcontext(kept)


def take_back(root: Path, entry: Entry, kept: Kept | None = None) -> None:
    """Do all of undo() but for the journal; the new image goes last, since it tells that nothing was committed."""
    directory = root / entry.directory
    for name in reversed(entry.made):
        durable.unlink(directory / name)
    if entry.pulled is not None:
        with _kept(directory, entry, kept, entry.pulled):
            sound.recount(directory / entry.pulled)
            sound.check(directory / entry.pulled)
        _forget_checksum(directory, entry.pulled)
    _note_broken(directory, _mended(directory, entry, kept, committed=False))
    if entry.commit is not None and layout.is_new(entry.commit.source):
        if directory.is_dir():
            durable.sync_directory(directory)
        _remove(directory / entry.commit.source)


def _forget_checksum(directory: Path, name: str) -> None:
    """Drop the checksum of a snapshot whose image a tool has begun to write to: it reads the same, but is not."""
    uuid = layout.uuid_of(name)
    if uuid is None or uuid == layout.volume_of(directory):
        return
    record = records.read_snapshot(directory, uuid)
    if record.checksum is not None:
        notes.write(directory / layout.record(uuid), msgspec.structs.replace(record, checksum=None))


def _mended(directory: Path, entry: Entry, kept: Kept | None, *, committed: bool) -> tuple[str, ...]:
    """Put right what a tool that was cut off left in the image it wrote to; returns the dirty bitmaps that it cost."""
    down = entry.into.target if entry.into is not None and committed else None
    name = entry.resized or ((entry.pulled or down) if entry.bitmaps else None)
    if name is None:
        return ()
    with _kept(directory, entry, kept, name):
        return sound.mend(directory / name, entry.bitmaps)


def _note_broken(directory: Path, bitmaps: tuple[str, ...]) -> None:
    """Name dirty bitmaps in the volume's record that ended where they were needed, so that nobody relies on them."""
    volume = records.stored_volume(directory) if bitmaps else None
    if volume is not None and not {*bitmaps} <= {*volume.broken_bitmaps}:
        broken = tuple(dict.fromkeys((*volume.broken_bitmaps, *bitmaps)))
        changed = msgspec.structs.replace(volume, broken_bitmaps=broken, generation=volume.generation + 1)
        notes.write(directory / layout.record(volume.uuid), changed)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        durable.remove_tree(path)
        if presence.is_there(path):
            raise errors.Denied(what=f"not all of {path} could be removed; look for what is in the way")
    else:
        durable.unlink(path)
