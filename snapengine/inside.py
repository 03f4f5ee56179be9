"""Whether a file lies in a primary storage, by whatever path: a bind mount shows the same directory elsewhere too."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from snapengine import layout, store

_Identity = tuple[int, int]  # device and inode


def holds(root: Path, path: Path) -> bool:
    """
    Tell whether path, there or not, lies in a directory of the store at root, or is a loop device over such a file.

    Links are followed. Asks for the device and inode of each of the store's directories, and of those above path.
    """
    real = Path(os.path.realpath(path))
    above = set().union(*(_identities(at.parents) for at in (real, *_looped(real))))
    return not above.isdisjoint(_identities(_directories(root)))


def _looped(path: Path) -> Iterator[Path]:
    """Give the file that a loop device, or the whole device that a partition is of, shows."""
    with suppress(OSError):
        status = os.stat(path)
        if stat.S_ISBLK(status.st_mode):
            device = Path(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
            for name in ("loop/backing_file", "../loop/backing_file"):
                with suppress(FileNotFoundError):
                    yield Path((device.resolve() / name).read_text().rstrip("\n"))


def _directories(root: Path) -> Iterator[Path]:
    parts = (layout.JOURNAL, layout.GROUPS, layout.TRASH, layout.SERVER, *layout.TYPES.values())
    yield from (root, *(root / part for part in parts))
    for directory in store.all_directories(root):
        yield from (directory, directory.parent, directory.parent.parent)


def _identities(paths: Iterable[Path]) -> Iterator[_Identity]:
    """Give which directories paths name, without those that are not there or can't be asked for."""
    for path in paths:
        with suppress(OSError):
            status = os.stat(path)
            yield status.st_dev, status.st_ino
