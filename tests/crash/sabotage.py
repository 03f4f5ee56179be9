"""Engines broken on purpose: the crash tests must notice each of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from snapengine import durable, journal, presence, resume, settle


def the_frozen_image_gets_its_name_last(patch: pytest.MonkeyPatch) -> None:
    """Give the frozen image its second name only after the overlay has taken its first one."""
    waiting: list[tuple[Path, Path]] = []
    rename = durable.rename

    def link(source: Path, target: Path) -> None:
        aside = target.parents[5] / target.name  # beside the store
        os.link(source, aside)
        waiting.append((aside, target))

    def rename_and_link(source: Path, target: Path) -> None:
        rename(source, target)
        while waiting:
            os.rename(*waiting.pop())

    patch.setattr(durable, "link", link)
    patch.setattr(durable, "rename", rename_and_link)


def nothing_stands_in_the_journal(patch: pytest.MonkeyPatch) -> None:
    """Work without a journal."""
    patch.setattr(journal, "begun", lambda root, entry: nullcontext())


def an_undo_removes_nothing(patch: pytest.MonkeyPatch) -> None:
    """Undo by dropping the journal's entry only."""
    patch.setattr(resume, "undo", lambda root, entry, kept=None: journal.drop(root, entry.uuid))


def recovery_always_undoes(patch: pytest.MonkeyPatch) -> None:
    """Undo what was committed too."""
    patch.setattr(resume, "is_committed", lambda root, entry: False)


def what_can_not_be_seen_is_missing(patch: pytest.MonkeyPatch) -> None:
    """Take an error of the disk for a no where it is asked whether a name is there."""
    patch.setattr(presence, "is_there", os.path.lexists)


def an_end_is_settled_once_more(patch: pytest.MonkeyPatch) -> None:
    """Settle an operation that fails right after its end as if it had not ended."""
    patch.setattr(settle, "presence", SimpleNamespace(is_there=lambda path: True))


SABOTAGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    sabotage.__name__: sabotage
    for sabotage in (
        the_frozen_image_gets_its_name_last,
        nothing_stands_in_the_journal,
        an_undo_removes_nothing,
        recovery_always_undoes,
        what_can_not_be_seen_is_missing,
        an_end_is_settled_once_more,
    )
}


@contextmanager
def broken(sabotage: str) -> Iterator[None]:
    """Have an engine that is broken in this way for the block, in this process and in those forked from it."""
    with pytest.MonkeyPatch.context() as patch:
        SABOTAGES[sabotage](patch)
        yield
