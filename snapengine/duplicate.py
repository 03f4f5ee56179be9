"""
A chain copied whole into one new standalone qcow2 image: for full snapshots, clones, flatten, import.

Where the file system lets files share extents (reflink.py), the copy shares them: it takes neither time nor room.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from snapengine import chain, driver, durable, errors
from snapengine.driver import Format
from snapengine.printed import Progress
from snapengine.store import Store


def require_room(opened: Store, source: Sequence[Path], fmt: Format = "qcow2") -> int:
    """
    Raise NoSpace unless the store has room for a copy of the chain source (top image first), before anything is made.

    Returns the bytes asked for. A copy that shares the extents of its source takes room for its tables only. What is
    compressed is not shared: where such a chain then does not fit, the copy itself raises NoSpace.
    """
    required = driver.required(source, fmt)
    if is_shared(opened, source):
        required = driver.tables_of(driver.virtual_size(source[0], fmt))
    durable.require_room(opened.root, required)
    return required


def make(opened: Store, source: Sequence[Path], target: Path, progress: Progress | None = None) -> chain.Layer:
    """Do as copy() does with a chain of qcow2 images, durably."""
    made = copy(opened, source, target, progress=progress)
    durable.sync_file(target)
    return made


def copy(
    opened: Store, source: Sequence[Path], target: Path, fmt: Format = "qcow2", progress: Progress | None = None
) -> chain.Layer:
    """
    Copy what a guest sees of the chain source (top image first, of format fmt; what lies under it is qcow2) to target.

    target is a name that is free, or an empty file. The copy is checked and returned, not synced: what was made counts,
    not what the tool said. What the source knows as zeros takes no room in it. When this raises, target may hold
    anything; the caller removes it. Raises NoSpace, CommandFailed.
    """
    driver.convert(source, fmt, target, progress, is_shared(opened, source))
    made = chain.layer(target, chain.expected(None))
    found = driver.check(target)
    if found != driver.Check():
        said = f"the copy is bad: {found}"
        raise errors.CommandFailed(command=f"qemu-img convert to {target}", status=0, stderr=said)
    return made


def is_shared(opened: Store, source: Sequence[Path]) -> bool:
    """Tell whether a copy can share the extents of every image of source."""
    device = os.stat(opened.root).st_dev
    return opened.record.reflinks and all(os.stat(path).st_dev == device for path in source)
