"""What a verb that throws something away would do, step by step and in bytes. Changes nothing."""

from contextlib import suppress
from pathlib import Path

from snapengine import (
    chain,
    deleted,
    discard,
    duplicate,
    errors,
    group,
    hold,
    imagelock,
    layout,
    lock,
    maps,
    records,
    rescue,
    roster,
    standing,
    store,
    tables,
)
from snapengine.delete import Deleted
from snapengine.hold import Held
from snapengine.inventory import Struct, TrashItem
from snapengine.store import Store


class Step(Struct, frozen=True, kw_only=True):
    """One step: what is done with image, on which image onto if that matters; bytes is how many it moves."""

    verb: str
    image: str
    bytes: int
    onto: str | None = None


class Preview(Struct, frozen=True, kw_only=True):
    """All steps; bytes is what they move, frees what the file system gets back, at most; stays what may not go."""

    plan: tuple[Step, ...]
    bytes: int
    frees: int
    stays: tuple[Deleted, ...] = ()


def revert(opened: Store, uuid: str, wait: float, *, rescuing: bool = True) -> Preview:
    """
    Return what a revert to the snapshot would do; raises what that would raise, so that nobody is asked in vain.

    rescuing tells that a missing or damaged active image is no hindrance. What a crash left is not put right. The
    volume's lock is shared with others that only read, and given back: the state may be another one a moment later.
    """
    directory = store.find_snapshot(opened.root, uuid)
    with lock.shared(directory.parent, "preview a revert", wait):
        target = records.shown_snapshot(directory, uuid)
        records.require_ready(target, "reverted to")
        standing.recorded(opened.root, chain.read(directory, layout.image(uuid), across=False))
        work = Held(opened, directory, records.read_volume(directory), hold.place(opened, directory, "revert"))
        kept = [Step(verb=verb, image=str(work.active), bytes=0) for verb in _goes(work, rescuing)]
    moved = Step(verb="revert", image=str(work.active), onto=target.primary_storage_install_path, bytes=0)
    return Preview(plan=(*kept, moved), bytes=0, frees=0)


def _goes(work: Held, rescuing: bool) -> tuple[str, ...]:
    """Return what becomes of the active image that a revert replaces."""
    if rescuing and rescue.fault(work) is not None:
        return () if rescue.is_missing(work) else ("keep",)
    with hold.seen(work) as old:
        return ("trash",) if tables.has_clusters(old.fd, old.layer.header, path=old.layer.path) else ()


def revert_group(opened: Store, uuid: str, wait: float) -> Preview:
    """Return what a revert to the group would do, volume by volume; raises what that would raise."""
    record = roster.read(opened.root, uuid)
    group.require_available(opened, record)
    found = [revert(opened, member.volume_snapshot_uuid, wait, rescuing=False) for member in record.members]
    return Preview(plan=tuple(step for each in found for step in each.plan), bytes=0, frees=0)


def ungroup(opened: Store, uuid: str) -> Preview:
    """Return what an ungroup would do: nothing to any image."""
    refs = group.show(opened, uuid).volume_snapshot_refs
    paths = [ref.volume_snapshot_install_path for ref in refs]
    found = tuple(Step(verb="ungroup", image=path, bytes=0) for path in paths if path is not None)
    return Preview(plan=found, bytes=0, frees=0)


def flatten(opened: Store, uuid: str, wait: float) -> Preview:
    """Return what flatten would do, as revert() does; of a standalone volume that is no step at all."""
    directory = store.find_volume(opened.root, uuid)
    with lock.shared(directory.parent, "preview a flatten", wait):
        work = Held(opened, directory, records.read_volume(directory), hold.place(opened, directory, "flatten"))
        with hold.seen(work) as old:
            if old.layer.backing is None:
                return Preview(plan=(), bytes=0, frees=0)
            is_kept = tables.has_clusters(old.fd, old.layer.header, path=old.layer.path)
        layers = standing.recorded(opened.root, chain.read(directory, work.active.name))
        maps.require_whole(layers)
        moved = duplicate.require_room(opened, [layer.path for layer in layers])
    kept = [Step(verb="trash", image=str(work.active), bytes=0)] if is_kept else []
    return Preview(plan=(*kept, Step(verb="flatten", image=str(work.active), bytes=moved)), bytes=moved, frees=0)


def purge(opened: Store, items: tuple[TrashItem, ...]) -> Preview:
    """Return what a purge of these trash items would do; raises what that would raise but Locked."""
    found = tuple(Step(verb="purge", image=str(_purged(opened, item)), bytes=0) for item in items)
    return Preview(plan=found, bytes=0, frees=sum(item.size for item in items))


def _purged(opened: Store, item: TrashItem) -> Path:
    if item.kind == "Volume":
        directory = deleted.find(opened.root, item.uuid)
        discard.require_expungeable(opened, directory, item.uuid)
        return directory.parent
    image = store.find_trash(opened.root, item.uuid) / layout.trash_image(item.uuid)
    with suppress(FileNotFoundError, errors.Refused):
        imagelock.require_unused(image, item.volume_uuid)
    return image


def discarding(opened: Store, volumes: tuple[str, ...], wait: float) -> Preview:
    """Return what a delete of these volumes would do; raises what that would raise."""
    found = []
    for directory in [store.find_volume(opened.root, volume) for volume in dict.fromkeys(volumes)]:
        with lock.shared(directory.parent, "preview a delete", wait):
            record = records.read_volume(directory)
            discard.require_deletable(opened, record)
            discard.require_unused(directory, record.uuid)
        found.append(Step(verb="trash", image=str(directory.parent), bytes=0))
    return Preview(plan=tuple(found), bytes=0, frees=0)


def expunging(opened: Store, volume: str) -> Preview:
    """Return what an expunge of a deleted volume would do; raises what that would raise but Locked."""
    directory = deleted.find(opened.root, volume)
    discard.require_expungeable(opened, directory, volume)
    step = Step(verb="expunge", image=str(directory.parent), bytes=0)
    return Preview(plan=(step,), bytes=0, frees=deleted.allocated(directory))
