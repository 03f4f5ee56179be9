"""Shrink: give the file system back what a snapshot's image takes for zeros and for clusters that nothing uses."""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from snapengine import (
    attributes,
    beginning,
    chain,
    conversion,
    draft,
    driver,
    durable,
    errors,
    extents,
    hold,
    imagelock,
    layout,
    maps,
    notes,
    operation,
    records,
    resume,
    settle,
    spans,
    store,
    units,
)
from snapengine.draft import Place, Plan
from snapengine.extents import Extent
from snapengine.hold import Held, Image
from snapengine.intent import Entry, Rename
from snapengine.inventory import SnapshotRecord, Struct, VolumeRecord
from snapengine.printed import Progress
from snapengine.store import Store


class Shrunk(Struct, frozen=True, kw_only=True):
    """What a shrink gave back (contract, section 3): allocated bytes before and after, and their difference."""

    old_size: int
    size: int
    delta_size: int


def shrink(opened: Store, snapshot: str, wait: float, progress: Progress | None = None) -> Shrunk:
    """
    Put a copy without zeros in the place of snapshot S's image; S and all that stands on it hold what they held.

        step                                              a crash after it leaves       recovery
        entry; copy `.S.qcow2.<op>.new`, on S's parent    an unused image               removes it
        S.qcow2 linked to <op>.trash.qcow2; records S, V  two names of one inode        removes the second, the copy
        prepared; synced
        THE RENAME of the copy to S.qcow2                 S as before, and smaller      finishes
        records to their names; the second name removed                                 finishes

    The copy has the size, features, bitmaps, backing name, owner and label of the image; it is compared with it before
    the rename. Zeros over a parent become zero clusters, in an origin they are left out. Where nothing is gained, the
    image stays. VMs that read S through linked clones go on with the old file, whose room comes back when they end.
    Raises InUse while a VM has the volume, Busy while one writes to S, Conflict, NotFound, Locked, NoSpace; then
    nothing changed.
    """
    with ExitStack() as stack:
        work = stack.enter_context(hold.volume(opened, store.find_snapshot(opened.root, snapshot), "shrink", wait))
        record = records.read_snapshot(work.directory, snapshot)
        records.require_ready(record, "shrunk")
        stack.enter_context(hold.image(work))
        old = frozen(stack, work, record)
        _replace(work, record, old, progress)
        size = units.allocated(work.image(snapshot).stat())
    return Shrunk(old_size=old.layer.allocated, size=size, delta_size=max(old.layer.allocated - size, 0))


def frozen(stack: ExitStack, work: Held, record: SnapshotRecord) -> Image:
    """Return the snapshot's inspected image, open until the stack ends; until then no QEMU can write to it."""
    path = work.image(record.uuid)
    fd = chain.open_layer(path)
    stack.callback(os.close, fd)
    stack.enter_context(imagelock.reading(fd, path))
    base = work.volume.base if record.linked else None
    parent = layout.image(record.parent_uuid) if record.parent_uuid else base
    return Image(fd, chain.opened(fd, path, chain.expected(parent)))


def _replace(work: Held, record: SnapshotRecord, old: Image, progress: Progress | None) -> None:
    layers = [layer.path for layer in chain.read(work.directory, old.layer.path.name)]
    durable.require_room(work.directory, driver.required(layers[:1], "qcow2"))

    def plan(allocated: int) -> Plan:
        return planned(work.place, work.volume, record, old.layer.backing, allocated)

    def making(new: Path) -> Plan | None:
        notes.reserve(new)
        made = _copy(old.layer, layers, new, progress)
        return plan(made.allocated) if made.allocated < old.layer.allocated else None

    entry = msgspec.structs.replace(plan(0).entry, allocated=old.layer.allocated)
    over_frozen(work, entry, old, making)


def over_frozen(work: Held, entry: Entry, old: Image, making: Callable[[Path], Plan | None]) -> None:
    """
    Run a plan whose commit replaces the frozen image old by one of the same content; as operation.over_active does.

    making makes that image, durably, at the path that it is called with, and gives the plan; None where it is not worth
    it: then nothing changed. Of what the plan makes, images become second names of old. A VM that reads old, through a
    linked clone, reads on.
    """
    assert entry.commit is not None
    root, new = work.store.root, work.directory / entry.commit.source
    with beginning.begun(root, entry):
        durable.reserve(new)
        made = making(new)
        if made is None:
            settle.settle(root, entry)
            return
        attributes.copy(old.fd, new)
        for name in set(entry.made) - set(made.records):
            durable.link(old.layer.path, work.directory / name)
        operation.prepare(work.directory, made)
        chain.layer(new, chain.expected(entry.backing))
        durable.sync_directory(work.directory)
        if not chain.is_unchanged(old.layer):
            raise errors.Busy(what=f"{old.layer.path} was written to while it was shrunk; nothing was changed")
        settle.commit(root, entry)
        resume.finish(root, entry)


def planned(place: Place, volume: VolumeRecord, snapshot: SnapshotRecord, backing: str | None, allocated: int) -> Plan:
    """
    Plan that a copy, which takes allocated bytes, takes the place of a snapshot's image and stands on backing as well.

    Until the end the old image keeps a second name, by which recovery tells that all was ready for the rename.
    """
    image, second = layout.image(snapshot.uuid), layout.trash_image(place.operation)
    record = msgspec.structs.replace(snapshot, size=allocated, checksum=None, last_op_date=place.now)
    changed = draft.following(place, volume)
    written = [(layout.record(snapshot.uuid), record), (layout.record(volume.uuid), changed)]
    rename = Rename(source=layout.new(image, place.operation), target=image)
    return draft.plan(place, volume, rename, backing, written, (second,), drop=(second,))


def _copy(old: chain.Layer, layers: Sequence[Path], new: Path, progress: Progress | None) -> chain.Layer:
    """Make new a durable copy of the top one of layers, old, without its zeros; what was made is proved to be one."""
    conversion.create_like(new, old.header)
    before = maps.of(old)
    compressed = any(extent.kind == "compressed" for extent in before)
    conversion.copy_layer(layers, [new, *layers[1:]], compressed, progress)
    durable.sync_file(new)
    made = chain.layer(new, chain.expected(old.backing))
    alike = _held(before) == _held(maps.of(made))
    depth = 1 if alike else len(layers)  # where both hold the same ranges, what lies under them need not be read
    if driver.check(new) != driver.Check() or not conversion.is_same(layers[:depth], [new, *layers[1:depth]]):
        raise errors.CommandFailed(command="qemu-img convert", status=0, stderr="the copy differs; it was dropped")
    return made


def _held(found: Sequence[Extent]) -> spans.Spans:
    """Return the ranges that an image with these extents holds itself."""
    return spans.union(extents.covered(found))
