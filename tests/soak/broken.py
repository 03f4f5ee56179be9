"""Engines broken on purpose, each of which the soak must notice."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from snapengine import errors, lock, records
from snapengine.records import Contents
from tests.crash.sabotage import SABOTAGES


def nobody_locks(patch: pytest.MonkeyPatch) -> None:
    """Take every lock at once, whoever holds it."""
    patch.setattr(lock, "try_flock", lambda fd, kind=0: True)


def readers_read_once(patch: pytest.MonkeyPatch) -> None:
    """Never ask whether a volume's generation has moved while its records were read."""

    def read(directory: Path, whole: bool) -> tuple[Contents, tuple[errors.Corrupt, ...]]:
        return records._read_all(directory, records.read_volume(directory), None if whole else []), ()

    patch.setattr(records, "_as_of_one_moment", read)


BROKEN: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    **{sabotage.__name__: sabotage for sabotage in (nobody_locks, readers_read_once)},
    **SABOTAGES,
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    """Have an engine that is broken in this way for the block; none is where there is no name."""
    with pytest.MonkeyPatch.context() as patch:
        if name:
            BROKEN[name](patch)
        yield
