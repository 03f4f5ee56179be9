"""Put right what a crash left, when a store is opened for work: DESIGN, section 4, "Recovery"."""

import os
from contextlib import suppress
from pathlib import Path

from snapengine import deleted, durable, errors, hold, inventory, journal, layout, lock, settle, strays
from snapengine.intent import Entry

LEFT = "left as it is"


class Recovered(inventory.Struct, frozen=True, kw_only=True):
    """One unfinished operation; outcome says what became of it, in words for people. request as in its entry."""

    operation: str
    verb: str
    volume_uuid: str
    started: str
    outcome: str
    request: str | None = None

    @property
    def is_finished(self) -> bool:
        """Tell whether the operation is done, as if nothing had cut it off."""
        return self.outcome == settle.FINISHED


def recover(root: Path) -> tuple[Recovered, ...]:
    """
    Undo or finish every operation whose process died, unless somebody works on its volume just now.

    Never waits for a lock; a merge that was cut off is done again, which takes its time. What it can't put right, a bad
    image in the way, say, it leaves and tells.
    """
    _tidy(root)
    found = (_recover(root, name) for name in journal.operations(root))
    return tuple(sorted((r for r in found if r is not None), key=lambda r: r.started))


def _tidy(root: Path) -> None:
    """
    Remove what a cut-off replacement of the store's own records left, or of a deleted volume's.

    In another volume the next verb on it does so.
    """
    if any(map(layout.is_new, os.listdir(root))) or strays.of_groups(root):
        with suppress(errors.Locked, OSError), lock.exclusive(root, "recover", 0):
            durable.remove_left_over(root)
            for path in strays.of_groups(root):
                durable.unlink(path)
    for directory in deleted.directories(root):
        with suppress(errors.Locked, OSError):
            if any(map(layout.is_new, os.listdir(directory))):
                with lock.exclusive(directory.parent, "recover", 0):
                    durable.remove_left_over(directory)


def _recover(root: Path, name: str) -> Recovered | None:
    with journal.adopted(root, name) as ours:
        if not ours:
            return None
        try:
            entry = journal.read(root, name)
        except (errors.Corrupt, OSError):
            return None  # the next verb, and verify, say so; whoever only looks is not stopped
        if entry is None:
            journal.drop(root, name)
            return None
        return _said(root, entry)


def _said(root: Path, entry: Entry) -> Recovered:
    try:
        outcome = _resumed(root, entry)
    except FileNotFoundError:
        outcome = f"{LEFT}: its volume is gone, or its disk is not mounted"
    except (OSError, errors.Error) as e:
        outcome = f"{LEFT}: {e}"
    return Recovered(
        operation=entry.uuid,
        verb=entry.verb,
        volume_uuid=entry.volume_uuid,
        started=entry.started,
        outcome=outcome,
        request=entry.request,
    )


def _resumed(root: Path, entry: Entry) -> str:
    if not hold.is_of_volumes(entry):  # a volume that had not appeared: only its entry is locked
        return settle.settle(root, entry)
    try:
        return hold.settled(root, entry) or "put right by another operation"  # which may have built on it since
    except errors.Locked:
        return "left to the operation that has the volume now"
