"""
Make the records of one volume again, from what is left of it.

    step                                            a crash after it leaves     what helps
    each record that is missing, damaged or wrong   some are the new ones       doing it again
    the volume's own, last                          all are right

Each record is one durable replacement. No image is written to, and no record that is sound and right.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from snapengine import (
    attributes,
    blank,
    durable,
    errors,
    health,
    journal,
    layout,
    lock,
    notes,
    reckoning,
    remains,
    roster,
    settle,
    tree,
)
from snapengine.health import Problem
from snapengine.inventory import SnapshotRecord, Struct, VolumeRecord
from snapengine.remains import Remains
from snapengine.removal import Family
from snapengine.store import Store

_SOURCES = {
    remains.NOTED: "made again as it was noted at the image",
    remains.MADE: "made again from the image's header; its name, description, tags and group are gone",
}
_QUIET = {"generation", "gone", "moved"}


class Made(Struct, frozen=True, kw_only=True):
    """A record that was made again or put right; kind says of what it is, message how, and what is gone for good."""

    kind: str
    object: str
    path: str
    message: str


class Remade(NamedTuple):
    """What became of a volume: its records, None where nothing could be done; what was made, and what not."""

    family: Family | None
    made: tuple[Made, ...]
    left: tuple[Problem, ...]


def remake(opened: Store, directory: Path, wait: float, dry_run: bool) -> Remade:
    """
    Make the records of the volume in directory again, unless dry_run; crash table above.

    Raises Locked, Corrupt where a record was written by a newer snapengine, and OSError for what can't be read; then
    nothing was changed.
    """
    take = lock.shared if dry_run else lock.exclusive
    with take(directory.parent, "rebuild", wait):
        found = remains.look(directory, _place(opened, directory))
        right = reckoning.right(found.family, found.images)
        family = _numbered(found, right._replace(snapshots=roster.regrouped(opened.root, right.snapshots)))
        made = tuple(_told(found, family))
        if not dry_run:
            _write(directory, found, family)
            _tidy(opened.root, directory, found)
    return Remade(family, made, tuple(_bad(found)))


def correct(opened: Store, directory: Path, wait: float, dry_run: bool) -> tuple[Made, ...]:
    """
    Put the records of the volume in directory right as the headers say, unless dry_run; crash table above.

    Nothing where an operation is unfinished there, or a record that is needed is missing or damaged: that loses what it
    said, and is for a rebuild. Errors as for remake.
    """
    take = lock.shared if dry_run else lock.exclusive
    with take(directory.parent, "repair", wait):
        found = _recorded(remains.look(directory, _place(opened, directory)))
        if found is None or directory in _unfinished(opened.root):
            return ()
        right = reckoning.right(found.family, found.images)
        family = _numbered(found, right._replace(snapshots=roster.regrouped(opened.root, right.snapshots)))
        made = tuple(_told(found, family))
        if not dry_run:
            _write(directory, found, family)
    return made


def _recorded(found: Remains) -> Remains | None:
    """Return what is left of a volume without strays, None where a record that others need is not there."""
    volume, frozen, kept = found.family
    snapshots = {uuid: record for uuid, record in frozen.items() if uuid in found.stored}
    trash = {uuid: record for uuid, record in kept.items() if uuid in found.stored}
    images = {uuid: image for uuid, image in found.images.items() if uuid in found.stored}
    headed = {layout.uuid_of(image.backing) for image in images.values() if image.backing}
    needed = (headed | {r.parent_uuid for r in snapshots.values()} | {r.snapshot_uuid for r in trash.values()}) - {None}
    if volume.uuid not in found.stored or needed - set(snapshots):
        return None
    return found._replace(family=Family(volume, snapshots, trash), images=images)


def _unfinished(root: Path) -> list[Path]:
    return [each for entry in journal.readable(root) for each in settle.directories(root, entry)]


def _place(opened: Store, directory: Path) -> blank.Place:
    volume = layout.volume_of(directory)
    kinds = {part: kind for kind, part in layout.TYPES.items()}
    kind = kinds.get(directory.parents[2].name, "Data")
    return blank.Place(opened.record.uuid, str(directory), volume, layout.account_of(directory), kind)


def _numbered(found: Remains, right: Family) -> Family:
    """Return the records with the volume's generation moved on, and no other one ahead of it, if anything changes."""
    if not any(_changed(found, right)):
        return right
    frozen, kept = right.snapshots.values(), right.trash.values()
    last = max([right.volume.generation, *(r.generation for r in frozen), *(r.generation for r in kept)])
    return right._replace(volume=msgspec.structs.replace(right.volume, generation=last + 1, moved=()))


def _changed(found: Remains, right: Family) -> Iterator[tree.Standing]:
    """Give the records that are not stored as they must be, the volume's last."""
    every: list[tree.Standing] = [*right.snapshots.values(), *right.trash.values(), right.volume]
    for record in every:
        if found.stored.get(record.uuid) != record:
            yield record


def _tidy(root: Path, directory: Path, found: Remains) -> None:
    """Remove what was left half-made and no entry tells of: all that it was for is there, or was undone."""
    if found.family.volume.uuid in found.images and directory not in _unfinished(root):
        durable.remove_left_over(directory)


def _write(directory: Path, found: Remains, right: Family) -> None:
    """Write the records that are not stored as they must be, the volume's last; all are noted at their images too."""
    for record in _changed(found, right):
        path = path_of(directory, record)
        is_lost = not path.exists()
        notes.write(path, record)
        if is_lost:
            _hand_over(path)


def _hand_over(path: Path) -> None:
    """Let the group of an image read its record, which was lost, as far as we may."""
    with suppress(FileNotFoundError, errors.Denied):
        own, group = path.stat(), os.lstat(path.with_name(layout.image_beside(path.name))).st_gid
        if group != own.st_gid:
            attributes.give(path, -1, group, stat.S_IMODE(own.st_mode) | 0o040)


def path_of(directory: Path, record: tree.Standing) -> Path:
    """Return where a record lies."""
    is_own = isinstance(record, VolumeRecord | SnapshotRecord)
    return directory / (layout.record(record.uuid) if is_own else layout.trash_record(record.uuid))


def _told(found: Remains, right: Family) -> Iterator[Made]:
    for record in _changed(found, right):
        kind = "trash item"
        if isinstance(record, VolumeRecord | SnapshotRecord):
            kind = "volume" if isinstance(record, VolumeRecord) else "snapshot"
        path = str(path_of(found.directory, record))
        if record.uuid in found.source:
            message = _SOURCES[found.source[record.uuid]]
        elif wrong := differing(found.stored[record.uuid], record):
            message = f"put right as the headers say: {', '.join(wrong)}"
        else:
            continue  # its number alone: it moves on with the others
        yield Made(kind=kind, object=record.uuid, path=path, message=message)


def differing(one: Struct, other: Struct) -> list[str]:
    """Return the names of the fields, as records spell them, in which two records of a kind differ for people."""
    fields = msgspec.structs.fields(other)
    return [f.encode_name for f in fields if f.name not in _QUIET and getattr(one, f.name) != getattr(other, f.name)]


def _bad(found: Remains) -> Iterator[Problem]:
    """Give the images that can't be read or are not there; their records are made as far as they can be."""
    for uuid, (path, why) in found.bad.items():
        kind: health.Kind = "image-refused" if path.exists() else "image-missing"
        repair = health.REVERT if uuid == found.family.volume.uuid else health.RESTORE_IMAGE
        yield health.problem(kind, uuid, path, why, repair)
