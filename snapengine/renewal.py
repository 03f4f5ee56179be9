"""Put a mended copy in the place of an image: its header named its backing file badly, or clusters of it are leaked."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from snapengine import (
    chain,
    draft,
    driver,
    durable,
    hold,
    imagelock,
    layout,
    lock,
    operation,
    records,
    reflink,
    shrinking,
    sound,
    tree,
    units,
)
from snapengine.draft import Plan
from snapengine.hold import Held, Image
from snapengine.store import Store


def leaks(opened: Store, directory: Path, uuid: str, wait: float, dry_run: bool = False) -> None:
    """
    Give back the leaked clusters of a snapshot's image, in a copy that takes its place; of the active image in place.

    With dry_run only what would stand in the way is looked for, and nothing touched. Crash table as for
    shrinking.shrink; in the active image a crash leaves fewer leaks. Errors as there; Corrupt for an image whose tables
    contradict each other.
    """
    with _held(opened, directory, wait, dry_run) as work, hold.image(work) as active:
        sound.require_consistent(directory / layout.image(uuid) if uuid != work.volume.uuid else active.layer.path)
        if dry_run:
            return
        if uuid == work.volume.uuid:
            sound.check(active.layer.path)
            return
        with ExitStack() as stack:
            old = shrinking.frozen(stack, work, records.read_snapshot(directory, uuid))
            _over_frozen(work, uuid, old, old.layer.backing, driver.repair)


def backing(opened: Store, directory: Path, uuid: str, wait: float, dry_run: bool = False) -> None:
    """
    Let the header of a snapshot's image, or of the active one, name what its record says, by its bare name as qcow2.

    A copy takes the image's place; crash table as for shrinking.shrink, of the active image as for operation. dry_run
    as for leaks. Refused where the header names anything else, or more is wrong with it; Corrupt as for leaks.
    """
    with _held(opened, directory, wait, dry_run) as work, ExitStack() as stack:
        frozen = records.read_snapshot(directory, uuid) if uuid != work.volume.uuid else None
        path = work.active if frozen is None else work.image(uuid)
        name = tree.backing(work.volume, frozen or work.volume)
        if frozen is None:
            hold.require_ready(work.volume)
            fd = stack.enter_context(imagelock.held(path, uuid))
        else:
            stack.enter_context(hold.image(work))
            fd = chain.open_layer(path)
            stack.callback(os.close, fd)
            stack.enter_context(imagelock.reading(fd, path))
        old = Image(fd, chain.misnamed(fd, path, name))
        sound.require_consistent(path)
        if dry_run:
            return
        if frozen is None:
            _over_active(work, old, name)
        else:
            _over_frozen(work, uuid, old, name, lambda new: driver.unsafe_rebase(new, name))


@contextmanager
def _held(opened: Store, directory: Path, wait: float, dry_run: bool) -> Iterator[Held]:
    """Hold the volume in directory; with dry_run share it, with what a crash left there as it is."""
    if not dry_run:
        with hold.volume(opened, directory, "repair", wait) as work:
            yield work
        return
    with lock.shared(directory.parent, "repair", wait):
        yield Held(opened, directory, records.read_volume(directory), hold.place(opened, directory, "repair"))


def _over_frozen(work: Held, uuid: str, old: Image, name: str | None, mend: Callable[[Path], None]) -> None:
    record = records.read_snapshot(work.directory, uuid)

    def plan(allocated: int) -> Plan:
        return shrinking.planned(work.place, work.volume, record, name, allocated)

    def making(new: Path) -> Plan:
        _copy(work, old, new, mend)
        return plan(units.allocated(new.stat()))

    shrinking.over_frozen(work, plan(0).entry, old, making)


def _over_active(work: Held, old: Image, name: str | None) -> None:
    record = draft.following(work.place, work.volume)
    made = draft.over_active(work.place, work.volume, name, [(layout.record(record.uuid), record)], (), ())

    @contextmanager
    def making(new: Path) -> Iterator[Plan]:
        _copy(work, old, new, lambda path: driver.unsafe_rebase(path, name))
        yield made

    operation.over_active(work, made.entry, old, making)


def _copy(work: Held, old: Image, new: Path, mend: Callable[[Path], None]) -> None:
    """Make the file new a mended copy of old, sharing its extents where that can be; durable, and found sound."""
    fd = os.open(new, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if not (work.store.record.reflinks and reflink.share(old.fd, fd)):
            durable.require_room(work.directory, old.layer.allocated)
            durable.pour(old.fd, fd)
    finally:
        os.close(fd)
    mend(new)
    sound.check(new)
