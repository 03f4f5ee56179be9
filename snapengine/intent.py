"""
What an operation intends: the entry that stands in the journal while it is under way, and what one may name at all.

An entry is read by whoever recovers, so it is believed as little as any other record: it names bare names in the
directories of its volumes only, removes nothing of theirs, and calls its own only what it makes for new objects.
"""

import os
from pathlib import Path

from snapengine import inventory, layout


class Rename(inventory.Struct, frozen=True, kw_only=True):
    """Two bare names in an entry's directory."""

    source: str
    target: str


class Entry(inventory.Struct, frozen=True, kw_only=True):
    """
    One operation. All names are bare names in directory, which is relative to the root.

    commit   the one rename that decides, of an image
    pulled   else the image whose header decides, once it names the backing
    counted  else the generation of the volume's record that decides, which is the first to publish
    resized  else the image whose size decides, once it is size
             where all four are None deciding was writing the entry, from then on it only goes forward
    bitmaps  the dirty bitmaps of the images that tools write to in place, beforehand: a kill may cost them
    backing  what the commit's target, or the pulled image, then stands on, None for a standalone image
    run      what the pulled image took in, top first: it must read the same without them
    into     a merge down that belongs to the end: its target is committed into its source, which takes its name
    made     what the operation makes before its commit beside the commit's source, in this order
    publish  renames that bring the prepared records to their names, after the commit
    drop     names that go after the commit
    reserved uuids that the operation gives to new objects
    members  entries of one volume each, for which this one's own name decides; they have no files of their own
    modified of a member: mtime (nanoseconds) of the active image that its commit replaces, as the operation found it
    second   of a member: the name in made that is that image's second one
    request  the call of a server that asked for it, as its access log names it
    allocated  of a shrink: the bytes that the image took before, which nothing else tells once it is done
    """

    uuid: str
    verb: str
    volume_uuid: str
    directory: str
    pid: int
    started: str
    schema_version: int
    commit: Rename | None = None
    pulled: str | None = None
    counted: int | None = None
    resized: str | None = None
    size: int | None = None
    bitmaps: tuple[str, ...] = ()
    run: tuple[str, ...] = ()
    into: Rename | None = None
    backing: str | None = None
    made: tuple[str, ...] = ()
    publish: tuple[Rename, ...] = ()
    drop: tuple[str, ...] = ()
    reserved: tuple[str, ...] = ()
    members: tuple["Entry", ...] = ()
    modified: int | None = None
    second: str | None = None
    request: str | None = None
    allocated: int | None = None


def parts(entry: Entry) -> tuple[Entry, ...]:
    """Return an entry and its members: each has names in one directory."""
    return (entry, *entry.members)


def names(entry: Entry) -> list[str]:
    """Return all that an entry names in its directory."""
    renames = (*entry.publish, *(rename for rename in (entry.commit, entry.into) if rename is not None))
    written = (name for name in (entry.pulled, entry.resized) if name is not None)
    return [*entry.made, *entry.drop, *entry.run, *written, *(name for r in renames for name in (r.source, r.target))]


def is_confined(root: Path, entry: Entry) -> bool:
    """Tell whether an entry names nothing outside the directories of its volumes, and removes nothing of theirs."""
    if entry.members:
        nested = any(member.members or member.directory == layout.GROUPS for member in entry.members)
        return entry.directory == layout.GROUPS and not nested and all(_is_within(root, part) for part in parts(entry))
    return entry.directory != layout.GROUPS and _is_within(root, entry)


def _is_within(root: Path, entry: Entry) -> bool:
    directory = root / entry.directory
    inside = layout.is_own_directory(entry.directory) and os.path.realpath(directory) == str(directory)
    own = directory.name != layout.SNAPSHOTS or directory.parent.name == f"vol-{entry.volume_uuid}"
    return inside and own and all(map(layout.is_bare, names(entry))) and _is_fresh(entry) and _is_removable(entry)


def _is_fresh(entry: Entry) -> bool:
    """Tell whether what an entry makes is its own: prepared records, and images of its new objects or of itself."""
    prepared = {rename.source for rename in entry.publish}
    if any(rename.source != layout.new(rename.target, entry.uuid) for rename in entry.publish):
        return False
    new = {uuid for uuid in (*entry.reserved, entry.uuid) if uuid != entry.volume_uuid}
    images = {layout.damaged_image(entry.uuid), *map(layout.image, new), *map(layout.trash_image, new)}
    return all(name in prepared or name in images for name in entry.made)


def _is_removable(entry: Entry) -> bool:
    """Tell whether what an entry removes may go: it puts new images in place, or those of trash items, or away."""
    directory, volume = entry.directory, entry.volume_uuid
    return _is_replacing(entry) and all(layout.is_droppable(n, directory, volume, entry.uuid) for n in entry.drop)


def _is_replacing(entry: Entry) -> bool:
    if entry.commit is None:
        return True
    source, target = entry.commit.source, entry.commit.target
    if not entry.directory.endswith(layout.SNAPSHOTS):  # a whole volume appears, or goes away
        return layout.new(target, entry.uuid) == source or layout.new(source, entry.uuid) == target
    return layout.new(target, entry.uuid) == source or layout.is_trash(source)
