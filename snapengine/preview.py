"""What a verb that throws something away would do, step by step and in bytes. Changes nothing."""

from snapengine import hold, layout, lock, records, snapshot, store, tables
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
    """All steps; bytes is what they move, frees what the file system gets back, at most."""

    plan: tuple[Step, ...]
    bytes: int
    frees: int


def revert(opened: Store, uuid: str, wait: float) -> Preview:
    """
    Return what a revert to the snapshot would do; raises what that would raise, so that nobody is asked in vain.

    What a crash left is not put right. The volume's lock is shared with others that only read, and given back: the
    state may be another one a moment later.
    """
    directory = store.find_snapshot(opened.root, uuid)
    with lock.shared(directory.parent, "preview a revert", wait):
        target = records.read_snapshot(directory, uuid)
        snapshot.require_revertible(target)
        work = Held(opened, directory, records.read_volume(directory), hold.place(opened, directory, "revert"))
        with hold.image(work) as old:
            is_kept = tables.has_clusters(old.fd, old.layer.header, path=old.layer.path)
    kept = [Step(verb="trash", image=str(work.active), bytes=0)] if is_kept else []
    moved = Step(verb="revert", image=str(work.active), onto=target.primary_storage_install_path, bytes=0)
    return Preview(plan=(*kept, moved), bytes=0, frees=0)


def purge(opened: Store, items: tuple[TrashItem, ...]) -> Preview:
    """Return what a purge of these trash items would do; raises NotFound for one that is gone."""
    images = (store.find_trash(opened.root, item.uuid) / layout.trash_image(item.uuid) for item in items)
    steps = tuple(Step(verb="purge", image=str(image), bytes=0) for image in images)
    return Preview(plan=steps, bytes=0, frees=sum(item.size for item in items))
