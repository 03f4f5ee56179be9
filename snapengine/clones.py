"""The linked clones of a volume or snapshot: volumes whose base is one of its images, deleted ones among them."""

from pathlib import Path

from snapengine import chain, errors, layout, presence, records, store
from snapengine.inventory import VolumeRecord
from snapengine.records import Contents


def of(root: Path, volume_uuid: str, snapshot_uuid: str | None = None) -> list[VolumeRecord]:
    """
    Return the linked clones that stand on the volume's snapshots, or on one of them, as the volumes' records say.

    A deleted clone counts until it is expunged, a flattened one until its last image on the base is gone: its snapshots
    and trash items may be. The caller holds the volume's lock, under which clones are made. Where a record can't be
    read the headers of its images are asked, and Corrupt raised if one of them stands there too: a damaged record never
    takes a clone's base away from it.
    """
    found = []
    for directory in store.all_directories(root):
        try:
            record = records.read_volume(directory)
        except errors.NotFound:
            continue
        except errors.Corrupt as e:
            if any(_is_within(base, volume_uuid, snapshot_uuid) for _, base in chain.backings(directory)):
                raise errors.Corrupt(what=f"{e.what}, and it stands on volume {volume_uuid}; restore it first") from e
            continue
        is_within = record.base is not None and _is_within(record.base, volume_uuid, snapshot_uuid)
        if is_within and _may_be_linked(directory):
            found.append(record)
    return sorted(found, key=lambda record: (record.name, record.uuid))


def protected(what: str, found: list[VolumeRecord], base: str = "it") -> errors.Protected:
    """Return why what, told with its kind and uuid, may not go: the linked clones found stand on it, or on base."""
    names = ", ".join(f"{r.name} ({r.uuid}{', deleted' if r.status == 'Deleted' else ''})" for r in found)
    why = f"{base} is the base of linked clones: {names}; flatten or expunge them first"
    return errors.Protected(what=what, why=why)


def require_none(root: Path, volume_uuid: str, what: str) -> None:
    """Raise Protected where linked clones stand on a volume that should go, told as what."""
    if found := of(root, volume_uuid):
        raise protected(what, found)


def fault(contents: Contents) -> tuple[Path, str] | None:
    """Return where the base of a linked clone is missing, and what is wrong; None if all is well, or it has none."""
    if contents.volume.base is None or not is_linked(contents):
        return None
    try:
        path = chain.under(contents.directory, contents.volume.base)
    except errors.Corrupt as e:
        return contents.directory, str(e)
    return None if presence.is_there(path) else (path, "the base of the linked clone is missing")


def _may_be_linked(directory: Path) -> bool:
    """Tell whether an image of a volume may stand on its base: where records can't be read, one may."""
    try:
        return is_linked(records.contents(directory))
    except errors.Corrupt:
        return True


def is_linked(contents: Contents) -> bool:
    """Tell whether any image of a volume still stands on its base."""
    if contents.volume.linked or any(record.linked for record in contents.snapshots.values()):
        return True
    return any(item.linked for item in contents.trash.values())


def _is_within(base: str, volume_uuid: str, snapshot_uuid: str | None) -> bool:
    found = layout.base_of(base)
    return found is not None and found[0] == volume_uuid and snapshot_uuid in (None, found[1])
