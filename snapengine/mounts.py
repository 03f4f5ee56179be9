"""What a file lies on: a file system of this host's own, or one that something else serves."""

import logging
import os
from pathlib import Path

_LINKLESS = {"exfat", "msdos", "vfat"}
_LOCAL = {
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "hfsplus", "jfs", "minix", "nilfs2", "ntfs", "ntfs3",
    "overlay", "ramfs", "reiserfs", "tmpfs", "udf", "ufs", "xfs", "zfs", *_LINKLESS,
}  # fmt: skip

log = logging.getLogger(__name__)


def is_local(fd: int) -> bool:
    """Tell whether this kernel alone keeps what the file open as fd lies on: no server on the network or in FUSE."""
    return _kind(fd) in _LOCAL


def warn_of(root: Path) -> None:
    """Warn, in one line, where a store at root lies on what is not local, or can't do all: less is promised there."""
    fd = os.open(root, os.O_PATH | os.O_CLOEXEC)
    try:
        kind = _kind(fd)
    finally:
        os.close(fd)
    if (why := doubt(kind)) is not None:
        log.warning("%s lies on %s: %s", root, kind or "an unknown file system", why)


def doubt(kind: str | None) -> str | None:
    """Return what is wrong with a file system of this type for a store, None if nothing is."""
    if kind in _LINKLESS:
        return "it has no hard links, so no snapshot can be made; move the store to another file system"
    if kind in _LOCAL:
        return None
    what = "a network, cluster or FUSE file system may keep locks from other hosts, and lose what it called written"
    return f"{what}; use it from this host alone"


def _kind(fd: int) -> str | None:
    """Return the type of the file system that fd's file lies on, as mounted; None where that can't be told."""
    mount = Path(f"/proc/self/fdinfo/{fd}").read_text().partition("mnt_id:")[2].split()[:1]
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        if line.split()[:1] == mount:
            return line.partition(" - ")[2].split()[0]
    return None
