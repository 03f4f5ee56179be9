"""Plan the steps of a removal (removal.py): a draft of each, out of the records alone. Pure."""

from snapengine import draft, layout
from snapengine.cost import Way
from snapengine.draft import Place, Plan
from snapengine.intent import Rename
from snapengine.inventory import Struct, VolumeRecord
from snapengine.removal import Family, Step


def removal(
    place: Place, before: Family, after: Family, step: Step, way: Way | None, bitmaps: tuple[str, ...] = (),
    ended: tuple[str, ...] = (),
) -> Plan:  # fmt: skip
    """
    Plan one step of a removal: the records are after's where they differ from before's; way is how images are joined.

    bitmaps are the dirty bitmaps of those images, ended those that end with them, which is noted.

    A clone commits by its rename, a pull by its header. A commit, and a step in which nothing moves, are committed by
    the volume's record: from then on the snapshots are gone for every reader, and recovery only goes forward.
    """
    changes = _differing(before.volume, after.volume) | {"broken_bitmaps": draft.broken(before.volume, ended)}
    volume = draft.following(place, before.volume, **changes)
    changed: list[tuple[str, Struct]] = [(layout.record(volume.uuid), volume)]
    changed += [(layout.record(u), r) for u, r in after.snapshots.items() if r is not before.snapshots[u]]
    changed += [(layout.trash_record(u), r) for u, r in after.trash.items() if r is not before.trash[u]]
    drop = tuple(name for uuid in step.drop for name in _files(before, uuid))
    if step.child is None or way is None:
        return draft.plan(place, volume, None, None, changed, (), counted=volume.generation, drop=drop)
    child, lowest = image_of(before, step.child), layout.image(step.run[-1])
    backing = layout.image(step.onto) if step.onto else _base(before, step.run[-1])
    if way == "clone":
        commit = Rename(source=layout.new(child, place.operation), target=child)
        return draft.plan(place, volume, commit, backing, changed, (), drop=drop)
    if way == "commit":
        into = Rename(source=lowest, target=child)
        kept = tuple(name for name in drop if name != lowest)
        rest: dict[str, object] = {"drop": kept, "into": into, "bitmaps": bitmaps}
        return draft.plan(place, volume, None, None, changed, (), counted=volume.generation, **rest)
    run = tuple(map(layout.image, step.run))
    return draft.plan(
        place, volume, None, backing, changed, (), pulled=child, run=run, drop=drop, bitmaps=bitmaps
    )  # fmt: skip


def _differing(before: VolumeRecord, after: VolumeRecord) -> dict[str, object]:
    fields = ((name, getattr(after, name)) for name in after.__struct_fields__)
    told = {"gone": after.gone, "moved": after.moved}
    return {name: value for name, value in fields if value != getattr(before, name)} | told


def _files(family: Family, uuid: str) -> tuple[str, str]:
    """Return image and record of a snapshot or trash item."""
    if uuid in family.trash:
        return layout.trash_image(uuid), layout.trash_record(uuid)
    return layout.image(uuid), layout.record(uuid)


def record_of(family: Family, uuid: str) -> str:
    """Return the bare name of the record of a snapshot or a trash item."""
    return _files(family, uuid)[1]


def image_of(family: Family, uuid: str) -> str:
    """Return the bare name of the image of a snapshot, a trash item or the volume itself."""
    return layout.active_name(family.volume) if uuid == family.volume.uuid else _files(family, uuid)[0]


def _base(family: Family, lowest: str) -> str | None:
    return family.volume.base if family.snapshots[lowest].linked else None
