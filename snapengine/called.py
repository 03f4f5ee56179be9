"""What volumes and snapshots are called in messages, by whoever and in any state."""

import os
from contextlib import suppress
from pathlib import Path

from snapengine import errors, inventory, layout
from snapengine.inventory import SnapshotRecord, VolumeRecord


def volume(directory: Path) -> str:
    """Return the volume in directory as `<uuid> (<name>)`, or its uuid alone."""
    uuid = layout.volume_of(directory)
    return f"{uuid}{behind(directory, uuid)}"


def snapshot(on: VolumeRecord, record: SnapshotRecord) -> str:
    """Return what a snapshot on a volume is called: `<volume's name>/<its name> (<its uuid>)`."""
    return f"{on.name}/{record.name} ({record.uuid})"


def behind(directory: Path, uuid: str) -> str:
    """Return a volume's name as messages say it behind its uuid; nothing where its record can't be read."""
    with suppress(OSError, errors.Corrupt):
        path = directory / layout.record(uuid)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return f" ({inventory.decode(os.read(fd, inventory.MAX_RECORD), VolumeRecord, path).name})"
        finally:
            os.close(fd)
    return ""
