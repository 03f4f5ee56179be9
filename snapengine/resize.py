"""Resize a volume: it only grows."""

import msgspec

from snapengine import (
    arguments,
    chain,
    driver,
    durable,
    errors,
    fate,
    hold,
    operation,
    qcow2,
    sound,
    store,
    units,
)
from snapengine.chain import Layer
from snapengine.hold import Held, Image
from snapengine.store import Store

_SLACK = units.MIB  # bytes beside the L1 table: refcounts, records


def resize(opened: Store, volume: str, size: int, wait: float) -> None:
    """
    Give the volume a virtual size of size bytes, rounded up to 512; what is new reads zero. The same is no change.

        step                                               a crash after it leaves           recovery
        entry; the record V prepared; synced               the entry, a file nobody knows    removes it
        qemu-img, on V.qcow2 itself: a larger L1 table     leaked clusters                   gives them back
        if it needs one, synced, then the header that      a larger table than is needed,    gives back leaks
        names it, synced; the old table given back         or leaked clusters
        THE SIZE in the header, 8 bytes, synced            the new size, leaked clusters     gives back leaks, finishes
        dirty bitmaps saved for the new size               bitmaps that are in use           removes them, says so
        the image checked; V to its name; entry dropped    the new size                      finishes

    No cluster of the guest is touched before or after. Dirty bitmaps grow too; those that a crash cost are named in
    the volume's record: the next incremental backup must be a full one. Frozen images keep their size.

    Raises Invalid for less than the volume has or more than its image can, Conflict for one with inconsistent bitmaps,
    Corrupt for one whose tables contradict each other, InUse while a VM has it, NotFound, Locked, NoSpace; then nothing
    changed.
    """
    wanted = arguments.size(size)
    with hold.volume(opened, store.find_volume(opened.root, volume), "resize volume", wait) as work:
        with hold.image(work) as old:
            present = old.layer.header.size
            _require_growth(work, old, wanted)
            if wanted > present:
                _grow(work, old, wanted)
            elif work.volume.size != present:  # the header knows
                operation.rewrite(work, msgspec.structs.replace(work.volume, size=present))


def _require_growth(work: Held, old: Image, wanted: int) -> None:
    header, volume = old.layer.header, f"{work.volume.uuid} ({work.volume.name})"
    if wanted < header.size:
        had, given = units.format_size(header.size), units.format_size(wanted)
        what = f"volume {volume} has {had} ({header.size} bytes) and can't shrink to {given} ({wanted} bytes)"
        raise errors.Invalid(what=f"{what}; give more, or make a new volume and copy the data")
    most = qcow2.MAX_L1_BYTES // 8 * header.l1_coverage
    if wanted > most:
        what = f"volume {volume} has clusters of {header.cluster_size} bytes and can't be larger than {most} bytes"
        raise errors.Invalid(what=what)
    if wanted > header.size and (broken := sound.inconsistent(old.fd, old.layer)):
        command = f"qemu-img bitmap --remove -f qcow2 {work.active} {broken[0]}"
        what = f"volume {volume} has the inconsistent dirty bitmap {broken[0]!r}, which can't grow"
        raise errors.Conflict(what=f"{what}; remove it with '{command}'")


def _grow(work: Held, old: Image, size: int) -> None:
    needed = -(-size // old.layer.header.l1_coverage)
    if needed > old.layer.header.l1_entries:
        durable.require_room(work.directory, needed * 8 + _SLACK)
    sound.require_consistent(work.active)
    made = fate.grow(work.place, work.volume, size, operation.bitmaps(old))
    layers = chain.read(work.directory, work.active.name)
    operation.pulled(work, made, {work.active.name: old.fd}, lambda: _run(layers, size))


def _run(layers: tuple[Layer, ...], size: int) -> None:
    """Grow the top one of layers; the others are shown to the tool, which hides with zeros where one is larger."""
    top = layers[0].path
    driver.grow([layer.path for layer in layers], size)
    if chain.layer(top).header.size != size:  # what the tool made, not what it said
        raise errors.Corrupt(what=f"qemu-img did not give {top} the size of {size} bytes")
