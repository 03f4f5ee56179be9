"""
Take a volume whose active image is missing or damaged to another image, since its snapshots and trash are whole.

A damaged one loses nothing by it: it keeps a name, `<operation>.damaged.qcow2`, which no record knows and which
`verify` tells as a stray file.
"""

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import msgspec

from snapengine import (
    beginning,
    chain,
    driver,
    durable,
    errors,
    hold,
    imagelock,
    layout,
    lock,
    maps,
    operation,
    plan,
    presence,
    resume,
    settle,
    standing,
)
from snapengine.draft import Plan
from snapengine.hold import Held
from snapengine.inventory import SnapshotRecord, TrashRecord
from snapengine.operation import Making

log = logging.getLogger(__name__)

_UNREAD = "nothing was changed; look into the kernel's log, and where the file is lost, move it away and try again"


def fault(work: Held) -> str | None:
    """
    Return why nothing can be done with the active image; None where it is whole.

    One that is whole but stands on another image than the records say is theirs to put right, and what is no file at
    all is in the way of whatever should come there: neither is a fault here. Raises Denied where the header can't be
    read: an error of the disk may pass, and tells nothing of the image.
    """
    try:
        chain.layer(work.active)
    except errors.Refused as e:
        if e.check == "unreadable":
            raise errors.Denied(what=f"image {work.active}: {e.why}; {_UNREAD}") from e
        return None if e.check == "not-regular" or e.check.startswith("backing-") else e.why
    except errors.Corrupt:
        return "it is missing"
    return None


def is_missing(work: Held) -> bool:
    """Tell whether the volume has no active image at all."""
    return not presence.is_there(work.active)


def frozen(work: Held, target: SnapshotRecord) -> int:
    """Return the size in bytes of a snapshot that a volume can go back to; Refused where an image was cut off."""
    layers = standing.recorded(work.store.root, chain.read(work.directory, layout.image(target.uuid), across=False))
    maps.require_ends(layers)
    return layers[0].header.size


def revert(work: Held, target: SnapshotRecord) -> None:
    """Do what snapshot.revert does where the active image has a fault."""
    size = frozen(work, target)
    made = plan.revert(work.place, work.volume, target, operation.tip(work, target), None, size, ())

    @contextmanager
    def making(overlay: Path) -> Iterator[Plan]:
        with driver.creating_overlay(overlay, layout.image(target.uuid), size):
            yield made

    _over_lost(work, made, making, work.image(target.uuid))


def restore(work: Held, item: TrashRecord, base: SnapshotRecord | None, size: int) -> None:
    """Do what trash.restore does, of an item on base and with this size, where the active image has a fault."""
    made = plan.restore(work.place, work.volume, item, base, operation.tip(work, base), None, size, ())
    image = work.directory / layout.trash_image(item.uuid)
    _over_lost(work, made, lambda _: nullcontext(made), image)


def _over_lost(work: Held, made: Plan, making: Making, like: Path) -> None:
    """
    Run a plan that replaces an active image with a fault; errors, crash table and making as for operation.over_active.

        step                                              a crash after it leaves         recovery
        as the verb's own, without a trash item
        V.qcow2 linked to <op>.damaged.qcow2 if it is     two names of one inode          removes the second
        there
        lease; THE RENAME over V.qcow2                    the new state                   finishes

    The new image gets the owner, mode, ACL and label of the damaged one, or where that is missing of the image like.
    """
    hold.require_ready(work.volume)
    root, name = work.store.root, layout.damaged_image(work.place.operation)
    with ExitStack() as stack:
        old, entry, keeping = None, made.entry, making
        if not is_missing(work):
            old = stack.enter_context(imagelock.held(work.active, work.volume.uuid))
            entry = msgspec.structs.replace(entry, made=(name, *entry.made))
            keeping = functools.partial(_keeping, work.active, work.directory / name, making)
        pattern = stack.enter_context(_opened(like)) if old is None else old
        stack.enter_context(beginning.begun(root, entry))
        stack.enter_context(operation.ready(work, entry, chain.Pattern(pattern), keeping))
        with _alone(work, old):
            settle.commit(root, entry)
        resume.finish(root, entry)
    if old is not None:
        log.warning("the damaged image is kept as %s", work.directory / name)


@contextmanager
def _keeping(active: Path, kept: Path, making: Making, new: Path) -> Iterator[Plan]:
    """Give the damaged image active a second name too, once the new one is there."""
    with making(new) as made:
        yield made
    durable.link(active, kept)


@contextmanager
def _opened(image: Path) -> Iterator[int]:
    fd = chain.open_layer(image)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _alone(work: Held, old: int | None) -> Iterator[None]:
    """For the block, know that nobody has the damaged image open, and that it still has its name."""
    if old is None:
        yield
        return
    with imagelock.lease(old, work.active, work.volume.uuid):
        if not lock.names(old, work.active):
            raise errors.Busy(what=f"{work.active} was replaced while we worked; see what uses it, then try again")
        yield
