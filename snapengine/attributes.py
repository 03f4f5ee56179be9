"""Owner, mode, ACL and label of files, which new ones have from those that they replace, or are set; and notes."""

import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from snapengine import errors

_NOTE = "user.snapengine."
_NO_NOTE = (errno.ENODATA, errno.EOPNOTSUPP, errno.ENOENT, errno.ENOTDIR)
_ACL = "system.posix_acl_access"
_ATTRIBUTES = {_ACL, "security.selinux"}


def copy(fd: int, path: Path) -> None:
    """
    Give path the owner, mode, ACL and security label of the open file fd.

    Raises Denied where we may not, before anything was replaced: the VM's user could not open the new image.
    """
    old = os.fstat(fd)
    try:
        own = os.stat(path, follow_symlinks=False)
        if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
            os.chown(path, old.st_uid, old.st_gid, follow_symlinks=False)
        if own.st_mode != old.st_mode:
            os.chmod(path, stat.S_IMODE(old.st_mode))
        wanted = set(os.listxattr(fd)) & _ATTRIBUTES
        for name in wanted:
            os.setxattr(path, name, os.getxattr(fd, name), follow_symlinks=False)
        if _ACL not in wanted and _ACL in os.listxattr(path, follow_symlinks=False):  # its directory's default
            os.removexattr(path, _ACL, follow_symlinks=False)
    except PermissionError as e:
        what = f"can't give the new image {path} the owner or label of the one it replaces; run as root or as its owner"
        raise errors.Denied(what=what) from e


def give(path: Path, user: int, group: int, mode: int) -> None:
    """Give path this owner, -1 for the one it has, and this mode; Denied where we may not."""
    try:
        os.chown(path, user, group, follow_symlinks=False)
        os.chmod(path, mode)
    except PermissionError as e:
        what = f"can't give {path} to another user or group; run as root, or 'snapengine config owner default'"
        raise errors.Denied(what=what) from e


def resemble(fd: int, like: Iterable[Path]) -> None:
    """Give the open file fd the owner, as far as we may, and mode of the first of like that is there."""
    for path in like:
        with suppress(FileNotFoundError):
            old, own = os.stat(path, follow_symlinks=False), os.fstat(fd)
            if (own.st_uid, own.st_gid) != (old.st_uid, old.st_gid):
                with suppress(PermissionError):
                    os.fchown(fd, old.st_uid, old.st_gid)
            if stat.S_ISREG(old.st_mode) and own.st_mode != old.st_mode:
                os.fchmod(fd, stat.S_IMODE(old.st_mode))
            return


def note(path: Path, kind: str, data: bytes) -> bool:
    """
    Keep data with the file or directory at path, beside its content; tell whether that worked.

    It is a second copy of what lies elsewhere: durable with whatever is synced next, and where it can't be kept, as on
    a file system without extended attributes, the old one goes too, so that none is ever stale.
    """
    try:
        os.setxattr(path, _NOTE + kind, data, follow_symlinks=False)
    except OSError:
        with suppress(OSError):
            os.removexattr(path, _NOTE + kind, follow_symlinks=False)
        return False
    return True


def noted(path: Path, kind: str) -> bytes | None:
    """Return what note() kept with what lies at path, None without it; raises OSError where that can't be told."""
    try:
        return os.getxattr(path, _NOTE + kind, follow_symlinks=False)
    except OSError as e:
        if e.errno not in _NO_NOTE:
            raise
    return None
