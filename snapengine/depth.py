"""How deep a volume's chain may get before the next snapshot is a full one, and what that one has to read."""

from pathlib import Path

from snapengine import chain, plan, records, tree
from snapengine.inventory import VolumeRecord
from snapengine.store import Store


def limit(opened: Store, volume: VolumeRecord) -> int:
    """Return the depth limit that is in force for volume."""
    return tree.depth_limit(volume, opened.record.max_incremental_snapshot_num)


def reads_base(opened: Store, directory: Path) -> bool:
    """Tell whether the next snapshot of the volume in directory will be a copy of what lies in other volumes too."""
    if chain.base(directory) is None:
        return False
    found = records.contents(directory)
    latest = tree.latest(found.volume)
    parent = found.snapshots.get(latest) if latest else None  # a lost record is told of where it is needed
    return plan.is_full(parent, limit(opened, found.volume))
