"""
Bring whatever a crash or a failure left to its end: an operation on one volume (resume), or on several.

An operation on several volumes is decided by one rename in the journal, and then each member has a rename of its own
over its active image. A member is free when its active image is as the operation found it, and no VM has it. What
recovery finds, and does:

    the journal says                          recovery
    not decided                               takes back what each member made
    decided, all members left are free        does their renames, then the rest
    decided, one that is left is not free     takes back all of them, also those whose renames were done, see below;
                                              where one of these can't be, it takes back those that are not free alone,
                                              does the others and says so
    decided, all renames were done            does the rest

How a member goes back whose rename was done, V standing on S; those that are left went back before, which tells a
recovery that comes again that this was decided:

    V                                         recovery                            cut off, the next one finds
    holds nothing, nobody has it              renames what it replaced over it    a member whose rename was not done
    of a create: a guest wrote to it since    commits V into S, then renames      V on S still, and commits again; or
                                              S over it (merge.finish_down)       the same
    of a create: a VM has it                  leaves all as it is until that ends
    of a revert: a VM has it, or wrote to it  nothing: it can't go back
    what it replaced is gone                  nothing: it can't go back

The last one is a full snapshot, and a revert that had nothing to keep. No record of a member takes its name before the
last rename was done, so that taking back is always possible. Whatever happens, each volume holds what its guest wrote.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from snapengine import chain, claims, durable, errors, imagelock, intent, journal, presence, resume, tables
from snapengine.intent import Entry, Rename

FINISHED, UNDONE = "finished", "undone"


def settle(root: Path, entry: Entry, kept: resume.Kept | None = None) -> str:
    """
    Bring a cut-off operation to its end and return what became of it: FINISHED, UNDONE, or words that say what was not.

    The caller holds the locks of all its volumes, or the entry's for a volume that has not appeared. Never waits for
    longer than a tool that only looks at an image needs; what has to be merged takes its time. Raises InUse where that
    needs a VM to end. May itself be cut off. kept as for resume.resume. An operation whose entry is gone has ended, and
    is left alone: who fails, or is interrupted, right after its end settles it too.
    """
    if not presence.is_there(journal.path_of(root, entry.uuid)):
        return FINISHED
    if not entry.members:
        return FINISHED if resume.resume(root, entry, kept) else UNDONE
    if not journal.is_decided(root, entry.uuid):
        return _undone(root, entry, {})
    with ExitStack() as stack:
        waiting = [member for member in entry.members if not resume.is_committed(root, member)]
        free = [member for member in waiting if _is_kept(stack, root, member)]
        if len(free) < len(waiting):
            done = [member for member in entry.members if member not in waiting]
            held = {m.directory: fd for m in done if (fd := _going_back(stack, root, m)) is not None}
            if len(held) == len(done):
                return _undone(root, entry, held)
        for member in free:
            commit(root, member)
    left_out = [member for member in waiting if member not in free]
    for member in left_out:
        resume.take_back(root, member)
    finish(root, entry, [member for member in entry.members if member not in left_out])
    return _finished_without(left_out) if left_out else FINISHED


def require_sound(root: Path, entry: Entry) -> None:
    """
    Raise claims.Stale where an entry that was found in the journal can't be settled without harm.

    Who has begun an operation, and settles it because it failed, need not ask: its claims were new.
    """
    committed = {part.directory: resume.is_committed(root, part) for part in intent.parts(entry)}
    if not entry.members:
        if entry.commit is not None and not committed[entry.directory]:
            claims.require_own(root, entry)
        elif committed[entry.directory]:
            claims.require_doomed(root, entry)
        return
    is_decided = journal.is_decided(root, entry.uuid)
    if is_decided and all(committed[member.directory] for member in entry.members):
        return  # nothing is taken back
    for member in entry.members:
        claims.require_own(root, member, is_renamed=is_decided and committed[member.directory])


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


def _undone(root: Path, entry: Entry, done: Mapping[str, int]) -> str:
    """Take back all; last the members of done, whose renames were done: the open active image of each by directory."""
    for member in entry.members:
        if member.directory not in done:
            resume.take_back(root, member)
    for member in entry.members:
        if member.directory in done:
            _put_back(root / member.directory, member, done[member.directory])
            resume.take_back(root, member)
    resume.undo(root, entry)
    return UNDONE


def _going_back(stack: ExitStack, root: Path, member: Entry) -> int | None:
    """
    Keep VMs out of the image that took over by a member's rename, until the stack ends; gives it, open.

    None where the member can't go back; raises InUse where it can once a VM has ended.
    """
    assert member.commit is not None
    if member.second is None:
        return None
    active = root / member.directory / member.commit.target
    try:
        fd = stack.enter_context(imagelock.held(active, member.volume_uuid))
    except (errors.InUse, errors.Refused):
        if _is_freezing(member):
            raise
        return None
    return fd if _is_freezing(member) or _is_untouched(fd, active) else None


def _is_freezing(member: Entry) -> bool:
    """Tell whether what a member's rename replaces is what the image that takes over then stands on."""
    return member.second == member.backing


def _is_untouched(fd: int, active: Path) -> bool:
    """Tell whether an open overlay is as it was made: it holds nothing, and is as large as what it stands on."""
    layer = chain.opened(fd, active)
    if layer.backing is None or tables.has_clusters(fd, layer.header, path=active):
        return False
    return chain.layer(active.with_name(layer.backing)).header.size == layer.header.size


def _put_back(directory: Path, member: Entry, held: int) -> None:
    """Let what a member's rename replaced be the active image again, with all that was written since."""
    assert member.commit is not None and member.second is not None
    active = directory / member.commit.target
    if not _is_untouched(held, active):
        into = Rename(source=member.second, target=active.name)
        resume.merge_back(directory, into, held, member.volume_uuid)
        return
    with imagelock.lease(held, active, member.volume_uuid):
        durable.rename(directory / member.second, active)
    durable.sync_directory(directory)


def _is_kept(stack: ExitStack, root: Path, member: Entry) -> bool:
    """
    Keep everybody out of the active image that a member's rename is to replace, until the stack ends.

    False where a VM has it, or it is no longer what the operation found.
    """
    assert member.commit is not None
    directory = root / member.directory
    active = directory / member.commit.target
    if not presence.is_there(directory / member.commit.source):
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
