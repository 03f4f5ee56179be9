"""
Whether what is merged down should go through the host's page cache.

Measured with qemu-img 7.2 on ext4: 512 MiB in large pieces are written around it four times as quickly as through it,
since nothing is copied twice and the disk works from the first piece on; in pieces of 64 KiB it takes half as long
again, since each waits for the disk.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from snapengine import extents, maps, spans, units
from snapengine.chain import Layer

_LARGE = units.MIB  # what the pieces should have on average


def is_needless(target: Path, layers: Iterable[Layer]) -> bool:
    """Tell whether to write what layers hold to the existing file target around the host's page cache."""
    held = spans.union(*(extents.covered(maps.of(layer), data_only=True) for layer in layers))
    return len(held) * _LARGE <= spans.total(held) and _can_be_direct(target)


def _can_be_direct(path: Path) -> bool:
    """Tell whether the file system lets the file be opened with O_DIRECT; not every one does."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    os.close(fd)
    return True
