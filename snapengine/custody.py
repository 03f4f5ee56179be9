"""
Files of strangers: who can write to one behind our back, who could read one, and a copy that nobody else can reach.

No tool may open a header that somebody else can still write to: it could name a host's file by the time the tool reads
it. That nothing changed can't be proved afterwards: whoever has a file mapped, its pages written to before, changes it
without a trace in mtime or ctime.
"""

import os
import pwd
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from snapengine import durable, imagelock, mounts, reflink, translation, units
from snapengine.store import Store

_OTHERS_WRITE = 0o022
_READ, _ENTER = 4, 1  # bits of a mode, for others


def is_ours(fd: int) -> bool:
    """
    Tell whether nobody but root and the engine's own user can change the file open for reading as fd.

    Its owner and mode must say so, no process may have it open or mapped for writing, whoever owned it when that began,
    and the kernel must be the one who knows: what a FUSE or network file system serves may change in any way. What an
    ACL grants shows in the mode's bits for the group.
    """
    status = os.fstat(fd)
    own = status.st_uid in (0, os.geteuid()) and not status.st_mode & _OTHERS_WRITE
    return own and mounts.is_local(fd) and not imagelock.may_have_writers(fd)


def copies(opened: Store, sources: Sequence[int], stack: ExitStack) -> list[int]:
    """
    Return a copy of each of the open files sources, which tools may read as /dev/fd paths until stack ends.

    The copies have no name, lie in the store, and are gone with the last process that has them open. Where the file
    system can, they share the extents of their source. Raises NoSpace, before anything is copied.
    """
    device = os.stat(opened.root).st_dev
    can_share = {fd: opened.record.reflinks and os.fstat(fd).st_dev == device for fd in sources}
    durable.require_room(opened.root, sum(units.allocated(os.fstat(fd)) for fd in sources if not can_share[fd]))
    return [_copy(opened.root, fd, can_share[fd], stack) for fd in sources]


def _copy(directory: Path, source: int, can_share: bool, stack: ExitStack) -> int:
    made = durable.unnamed(directory)
    stack.callback(os.close, made)
    os.set_inheritable(made, True)
    if not (can_share and reflink.share(source, made)):
        with translation.translated():
            durable.pour(source, made)
    return made


def could_read(user: int, status: os.stat_result, directory: Path) -> bool:
    """
    Tell whether the user of that number may read a file of this status in directory, by the modes up to the root.

    ACLs are not asked.
    """
    groups = _groups(user)
    real = Path(os.path.realpath(directory))
    enters = all(_permits(os.stat(way), user, groups, _ENTER) for way in (real, *real.parents))
    return enters and _permits(status, user, groups, _READ)


def _groups(user: int) -> set[int]:
    try:
        found = pwd.getpwuid(user)
    except KeyError:
        return set()
    return set(os.getgrouplist(found.pw_name, found.pw_gid))


def _permits(status: os.stat_result, user: int, groups: set[int], bit: int) -> bool:
    if user == 0:
        return True
    shift = 6 if status.st_uid == user else 3 if status.st_gid in groups else 0
    return bool(status.st_mode >> shift & bit)
