"""Begin an operation: its entry in the journal, for as long as its block runs; a failed one is undone or finished."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from snapengine import claims, errors, intent, journal, lock, quota, resume, settle, translation
from snapengine.intent import Entry


@contextmanager
def begun(
    root: Path, entry: Entry, given: str | None = None, kept: resume.Kept | None = None
) -> Iterator[None]:
    """
    Hold entry in the journal for the block, which ends it; when the block fails, undo it, or finish what was committed.

    Nothing may have a name that it makes yet. A given uuid, and an account's quota, are looked at under the store's
    short lock. The first error is the one that counts; what the system says becomes an error of the engine.
    """
    _check_directories(root, entry)
    with translation.translated(), ExitStack() as stack:
        if given is None and not quota.is_bounded(entry):
            claims.require_new(root, entry, None)
            stack.enter_context(journal.begun(root, entry))
        else:
            with lock.exclusive(root, entry.verb):
                claims.require_new(root, entry, given)
                quota.require(root, entry)
                stack.enter_context(journal.begun(root, entry))
        try:
            yield
        except BaseException as e:
            if not _resumed(root, entry, kept) or not isinstance(e, Exception):
                raise


def _check_directories(root: Path, entry: Entry) -> None:
    for part in intent.parts(entry):
        directory = root / part.directory
        if os.path.realpath(directory) != str(directory):
            raise errors.Denied(what=f"{directory} leads over a symbolic link; a store's directories must be real ones")


def _resumed(root: Path, entry: Entry, kept: resume.Kept | None) -> bool:
    """Undo or finish an operation that failed; tell whether it was finished, so that there is no error to tell."""
    try:
        return settle.settle(root, entry, kept) == settle.FINISHED
    except (OSError, errors.Error):
        return False
