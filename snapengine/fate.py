"""What the verbs on a whole volume will do: appear, grow, go for good. Pure, as plan is."""

from collections.abc import Sequence

from snapengine import draft, layout
from snapengine.draft import Place, Plan
from snapengine.intent import Rename
from snapengine.inventory import VolumeRecord


def appear(place: Place, volume: VolumeRecord, snapshots: Sequence[str] = ()) -> Plan:
    """Plan that a volume, prepared in a directory beside its own, appears by one rename of that directory."""
    target = f"vol-{volume.uuid}"
    rename = Rename(source=layout.new(target, place.operation), target=target)
    entry = draft.entry(place, volume.uuid, commit=rename, reserved=(volume.uuid, *snapshots))
    return Plan(entry, {})


def grow(place: Place, volume: VolumeRecord, size: int, bitmaps: tuple[str, ...]) -> Plan:
    """Plan that volume's active image, which has these active dirty bitmaps, grows in place to size bytes."""
    changed = [(layout.record(volume.uuid), draft.following(place, volume, size=size))]
    return draft.plan(
        place, volume, None, None, changed, (), resized=layout.active_name(volume), size=size, bitmaps=bitmaps
    )


def vanish(place: Place, volume: str) -> Plan:
    """Plan that a deleted volume goes for good: one rename takes its directory away, which then is removed."""
    rename = Rename(source=f"vol-{volume}", target=layout.new(f"vol-{volume}", place.operation))
    return Plan(draft.entry(place, volume, commit=rename, drop=(rename.target,)), {})
