"""
Run a plan under the journal, with the volume's lock held and every VM kept out.

    step                                        a crash after it leaves        recovery
    entry in the journal                        the entry                      drops it
    the new image under a temporary name        an unused image                removes it
    what else the plan makes: links, records    names nobody knows             removes them, then the image
    all of it synced, then THE RENAME           the new state                  finishes
    records to their names, leftovers removed   some records are the old ones  finishes
    entry dropped                               nothing

How recovery tells on which side of the rename a crash was stands in resume.py.
"""

import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import msgspec

from snapengine import (
    attributes,
    beginning,
    chain,
    durable,
    errors,
    hold,
    imagelock,
    inventory,
    layout,
    merge,
    notes,
    ownership,
    plan,
    records,
    resume,
    settle,
    tables,
    units,
)
from snapengine.chain import Pattern
from snapengine.draft import Plan
from snapengine.hold import Held, Image
from snapengine.intent import Entry
from snapengine.inventory import PrimaryStorage, SnapshotRecord, TrashRecord, VolumeRecord
from snapengine.printed import Progress
from snapengine.store import Store

_CLUSTER = 64 * units.KIB  # of an image as qemu-img makes it
_EMPTY = 3 * _CLUSTER  # its header, its counts
_MAPPED = units.MIB  # at least, by a byte of its L1 table

Making = Callable[[Path], AbstractContextManager[Plan]]


def require_room(directory: Path, size: int) -> None:
    """Raise NoSpace where directory has no room for an empty image of size virtual bytes, and records beside it."""
    durable.require_room(directory, _EMPTY + units.round_up(size // _MAPPED, _CLUSTER))


def former(work: Held, old: Image) -> TrashRecord | None:
    """Return the trash item that will keep the active image old, None when that holds no cluster of its own."""
    if not tables.has_clusters(old.fd, old.layer.header, path=old.layer.path):
        return None
    return plan.trash_item(work.place, work.volume, uuid.uuid4().hex, old.layer.allocated, time.time_ns())


def tip(work: Held, target: SnapshotRecord | None) -> SnapshotRecord | None:
    """Return what is the latest of target's tree before target becomes it; None when it is target, or there is none."""
    if target is None:
        return None
    found = [t.latest for t in work.volume.trees if t.uuid == target.tree_uuid and t.latest != target.uuid]
    return records.named_snapshot(work.directory, found[0]) if found else None


def bitmaps(image: Image) -> tuple[str, ...]:
    """Return the names of the active dirty bitmaps of an image; they end with it."""
    return tuple(b.name for b in tables.active_bitmaps(image.fd, image.layer.header, path=image.layer.path))


def keep_former(work: Held, item: TrashRecord | None) -> None:
    """Give the active image the second name under which item keeps it; without an item, do nothing."""
    if item is not None:
        durable.link(work.active, work.directory / layout.trash_image(item.uuid))


def rewrite(work: Held, record: VolumeRecord) -> VolumeRecord:
    """
    Replace the volume's record and return it, its generation and date moved on.

    One durable replacement: a crash leaves the old record or the new one.
    """
    stamp = {"generation": work.volume.generation + 1, "last_op_date": work.place.now}
    new = msgspec.structs.replace(record, **stamp)
    notes.write(work.directory / layout.record(new.uuid), new)
    return new


def over_active(work: Held, entry: Entry, old: Image, making: Making, given: str | None = None) -> None:
    """
    Run a plan, whose entry this is and whose commit replaces old, the active image or another one of the volume.

    making is called with the path of the image that takes over and gives the plan: in its block a tool may still be at
    work on that image, at its end the image is there, and all else that the plan makes but the records. The image gets
    the owner, mode, ACL and label of old, and no VM can write to either until the end. given is the uuid that the
    caller wants a new object to have: Invalid where it is in use. When this raises, the volume is as it was, or, after
    the commit, recovery finishes.
    """
    with beginning.begun(work.store.root, entry, given), ready(work, entry, old, making):
        with alone(work, old):
            settle.commit(work.store.root, entry)
        resume.finish(work.store.root, entry)


@contextmanager
def ready(work: Held, entry: Entry, old: Image | Pattern, making: Making) -> Iterator[None]:
    """Make all that a plan over the active image needs before its commit, and keep VMs out of it for the block."""
    assert entry.commit is not None
    new = work.directory / entry.commit.source
    if layout.is_new(new.name):
        durable.reserve(new)  # resume.py goes by its name, and the tool may be slower than we are with the records
    with making(new) as made:
        prepare(work.directory, made)
    attributes.copy(old.fd, new)
    with imagelock.held(new, work.volume.uuid) as fd:
        chain.opened(fd, new, chain.expected(entry.backing))  # what the tool made, not what it said
        hold.require_single(fd, new)
        durable.sync_directory(work.directory)
        yield


@contextmanager
def alone(work: Held, old: Image) -> Iterator[None]:
    """For the block, know that nobody else has old open, and that it is as it was inspected."""
    with imagelock.lease(old.fd, old.layer.path, work.volume.uuid):
        _check_unchanged(old.layer)
        yield


def _check_unchanged(layer: chain.Layer) -> None:
    if not chain.is_unchanged(layer):
        raise errors.Busy(what=f"{layer.path} was written to while we worked; something uses it without QEMU's locks")


def freeze(work: Held, made: Plan, image: Image) -> None:
    """Run a plan whose commit gives image, which nobody may have open, the name of a snapshot; guarantees as above."""
    assert made.entry.commit is not None
    with beginning.begun(work.store.root, made.entry, None):
        prepare(work.directory, made)
        durable.sync_directory(work.directory)
        with imagelock.lease(image.fd, image.layer.path, work.volume.uuid):
            _check_unchanged(image.layer)
            durable.rename(image.layer.path, work.directory / made.entry.commit.target)
        durable.sync_directory(work.directory)
        resume.finish(work.store.root, made.entry)


def pulled(work: Held, made: Plan, kept: resume.Kept, pull: Callable[[], None]) -> None:
    """
    Run a plan that pull commits: by the last thing that it writes, the header of the plan's pulled or resized image.

    kept are the images that the caller keeps VMs out of. When this raises, that image reads the same as before.
    """
    with beginning.begun(work.store.root, made.entry, None, kept):
        prepare(work.directory, made)
        durable.sync_directory(work.directory)
        pull()
        resume.finish(work.store.root, made.entry, kept)


def recorded(work: Held, made: Plan, kept: resume.Kept, progress: Progress | None = None) -> None:
    """
    Run a plan that the volume's own record commits, the first to be published: images go, or are merged down, after it.

    kept as for pulled. When this raises before the commit, all is as it was; else recovery finishes.
    """
    record = made.entry.publish[0]
    with beginning.begun(work.store.root, made.entry, None, kept):
        prepare(work.directory, made)
        durable.sync_directory(work.directory)
        durable.rename(work.directory / record.source, work.directory / record.target)
        durable.sync_directory(work.directory)
        if (into := made.entry.into) is not None:
            merge.finish_down(work.directory, into, kept[into.target], work.volume.uuid, progress)
        resume.finish(work.store.root, made.entry, kept)


def forward(work: Held, made: Plan) -> None:
    """Run a plan without a commit: writing its entry decides, and from then on it only goes forward."""
    with beginning.begun(work.store.root, made.entry, None):
        resume.finish(work.store.root, made.entry)


def appear(opened: Store, made: Plan, steps: Callable[[Path], None], given: str | None = None) -> None:
    """
    Run a plan that prepares a directory by steps, called with its path, and gives it its name by the commit.

    When this raises, nothing is there: Denied where others could plant files in the directory that it is to lie in.
    """
    assert made.entry.commit is not None
    directory = opened.root / made.entry.directory
    with suppress(FileNotFoundError):
        ownership.require_own(directory)
    source, target = directory / made.entry.commit.source, directory / made.entry.commit.target
    with beginning.begun(opened.root, made.entry, given):
        durable.make_directory(source, synced=False)  # the name that it takes is synced, of this one nobody knows
        steps(source)
        _hand_over(opened.record, source)
        durable.rename(source, target)
        resume.finish(opened.root, made.entry)


def _hand_over(setting: PrimaryStorage, volume: Path) -> None:
    """
    Give the images of a new volume the owner and mode that the store's settings say.

    The owner's group may enter its directories then, and read its records.
    """
    user, group = (-1, -1) if setting.image_owner == ownership.DEFAULT else ownership.ids(setting.image_owner)
    for path in (volume, *volume.rglob("*")):
        own = stat.S_IMODE(path.lstat().st_mode)
        if path.suffix == ".qcow2":
            mode = own if setting.image_mode == ownership.DEFAULT else int(setting.image_mode, 8)
            attributes.give(path, user, group, mode)
        elif group != -1:
            attributes.give(path, -1, group, own | (0o050 if path.is_dir() else 0o040))


def prepare(directory: Path, made: Plan) -> None:
    """
    Write the records of a plan under their temporary names.

    Each has the owner and mode of the record that it replaces, a new one those of the volume's own.
    """
    targets = {rename.source: rename.target for rename in made.entry.publish}
    volume = directory / layout.record(made.entry.volume_uuid)
    for name, record in made.records.items():
        like = (directory / targets.get(name, name), volume)
        durable.prepare(directory / name, inventory.encode(record), like=like)
