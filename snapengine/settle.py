"""
Bring whatever a crash or a failure left to its end: an operation on one volume (resume), or on several.

An operation on several volumes is decided by one rename in the journal, and then each member has a rename of its own
over its active image. What recovery finds, and does:

    the journal says                          recovery
    not decided                               takes back what each member made
    decided, no member's rename was done      does all renames, then all the rest; where the active image of one was
                                              written to or is open in a VM, takes back everything instead
    decided, some renames were done           does the others, then the rest; where the active image of another was
                                              written to or is open in a VM, takes back that member alone and says so
    decided, all renames were done            does the rest

No record of a member takes its name before the last rename was done, so that taking back is always possible. A member
that was left out loses nothing: its volume is as the VM sees it, and the members that were finished keep what they
froze or replaced.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from snapengine import claims, durable, errors, imagelock, intent, journal, resume
from snapengine.intent import Entry

FINISHED, UNDONE = "finished", "undone"


def settle(root: Path, entry: Entry, kept: resume.Kept | None = None) -> str:
    """
    Bring a cut-off operation to its end and return what became of it: FINISHED, UNDONE, or words that say what was not.

    The caller holds the locks of all its volumes, or the entry's for a volume that has not appeared. Never waits for
    longer than a tool that only looks at an image needs. May itself be cut off. kept as for resume.resume.
    """
    if not entry.members:
        return FINISHED if resume.resume(root, entry, kept) else UNDONE
    if not journal.is_decided(root, entry.uuid):
        return _undone(root, entry)
    with ExitStack() as stack:
        waiting = [member for member in entry.members if not resume.is_committed(root, member)]
        free = [member for member in waiting if _is_kept(stack, root, member)]
        if len(waiting) == len(entry.members) and len(free) < len(waiting):
            return _undone(root, entry)
        for member in free:
            commit(root, member)
    left_out = [member for member in waiting if member not in free]
    for member in left_out:
        resume.take_back(root, member)
    finish(root, entry, [member for member in entry.members if member not in left_out])
    return _finished_without(left_out) if left_out else FINISHED


def require_sound(root: Path, entry: Entry) -> None:
    """
    Raise Corrupt where an entry that was found in the journal can't be settled without harm; see claims.require_own.

    Who has begun an operation, and settles it because it failed, need not ask: its claims were new.
    """
    for part in intent.parts(entry):
        if part.commit is not None and not resume.is_committed(root, part):
            claims.require_own(root, part)


def directories(root: Path, entry: Entry) -> list[Path]:
    """Return the directories of the volumes whose locks whoever settles an operation must hold."""
    return [root / part.directory for part in (entry.members or (entry,))]


def commit(root: Path, member: Entry) -> None:
    """Do the rename of a decided operation's member over its active image, durably."""
    assert member.commit is not None
    directory = root / member.directory
    durable.rename(directory / member.commit.source, directory / member.commit.target)
    durable.sync_directory(directory)


def finish(root: Path, entry: Entry, members: Sequence[Entry]) -> None:
    """Bring a decided operation on several volumes to its end, of which these members' renames are done."""
    for member in members:
        resume.publish(root, member)
    resume.finish(root, entry)


def _undone(root: Path, entry: Entry) -> str:
    for member in entry.members:
        resume.take_back(root, member)
    resume.undo(root, entry)
    return UNDONE


def _is_kept(stack: ExitStack, root: Path, member: Entry) -> bool:
    """
    Keep everybody out of the active image that a member's rename is to replace, until the stack ends.

    False where a VM has it, or it is no longer what the operation found.
    """
    assert member.commit is not None
    directory = root / member.directory
    active = directory / member.commit.target
    if not os.path.lexists(directory / member.commit.source):
        return False
    try:
        fd = stack.enter_context(imagelock.held(active, member.volume_uuid))
        stack.enter_context(imagelock.lease(fd, active, member.volume_uuid))
    except (errors.InUse, errors.Refused, FileNotFoundError):
        return False
    return _is_unchanged(fd, directory, member)


def _is_unchanged(fd: int, directory: Path, member: Entry) -> bool:
    """
    Tell whether the open active image is the one that the operation found, and was not written to since.

    Its inode is compared with its second name's and not with a number: in a copy of the store that is another one.
    """
    found = os.fstat(fd)
    if member.second is None:
        return found.st_mtime_ns == member.modified
    try:
        second = os.stat(directory / member.second, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, second) and found.st_mtime_ns == member.modified


def _finished_without(members: Sequence[Entry]) -> str:
    volumes = ", ".join(member.volume_uuid for member in members)
    return f"finished but for volume {volumes}, which was used before it could be; nothing was lost"
