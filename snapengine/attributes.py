"""Owner, mode, ACL and label of files: those of new ones follow from the ones that they replace, or are set."""

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from snapengine import errors

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
