"""Engines broken on purpose: the crash tests must notice each of them."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from snapengine import durable, journal, resume


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


SABOTAGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    sabotage.__name__: sabotage
    for sabotage in (
        the_frozen_image_gets_its_name_last,
        nothing_stands_in_the_journal,
        an_undo_removes_nothing,
        recovery_always_undoes,
    )
}


@contextmanager
def broken(sabotage: str) -> Iterator[None]:
    """Have an engine that is broken in this way for the block, in this process and in those forked from it."""
    with pytest.MonkeyPatch.context() as patch:
        SABOTAGES[sabotage](patch)
        yield
