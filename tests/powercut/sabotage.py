"""Engines that leave out what a power cut would tell: the tests must notice each of them."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from snapengine import command, durable, notes

_fsync = os.fsync


def no_record_is_synced(patch: pytest.MonkeyPatch) -> None:
    """Rename what was written without syncing it first."""
    patch.setattr(os, "fsync", lambda fd: None if _caller()[0] == "replacing" else _fsync(fd))


def no_prepared_record_is_synced(patch: pytest.MonkeyPatch) -> None:
    """Let the records that a plan prepares, and the journal's entries, get to the disk when they will."""
    patch.setattr(os, "fsync", lambda fd: None if _caller()[0] == "fill" else _fsync(fd))


def no_copy_is_synced(patch: pytest.MonkeyPatch) -> None:
    """Let what a tool copies get to the disk when it will, and do not ask for it afterwards either."""
    patch.setattr(durable, "sync_file", lambda path: None)
    _cached(patch, "convert", "unsafe")


def no_directory_is_synced(patch: pytest.MonkeyPatch) -> None:
    """Believe that a name is safe once it is given."""
    patch.setattr(durable, "sync_directory", lambda path: None)


def a_pull_writes_its_header_first(patch: pytest.MonkeyPatch) -> None:
    """Pull as qemu-img does by default: through the host's cache."""
    _cached(patch, "rebase", "writeback")


def _cached(patch: pytest.MonkeyPatch, verb: str, mode: str) -> None:
    """Let a verb of qemu-img's write in this cache mode, whatever the engine asks for."""
    run = command.run

    def told(tool: str, *args: str, **options: Any) -> command.Result:
        asked = (before == "-t" and verb in args for before in ("", *args))
        return run(tool, *(mode if is_mode else arg for arg, is_mode in zip(args, asked)), **options)

    patch.setattr(command, "run", told)


SABOTAGES: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    sabotage.__name__: sabotage
    for sabotage in (
        no_record_is_synced,
        no_prepared_record_is_synced,
        no_copy_is_synced,
        no_directory_is_synced,
        a_pull_writes_its_header_first,
    )
}


@contextmanager
def broken(sabotage: str) -> Iterator[None]:
    """
    Have an engine that is broken in this way for the block, in this process.

    sabotage is one of SABOTAGES, or a sync that is left out, as site() tells it.
    """
    with pytest.MonkeyPatch.context() as patch:
        if sabotage in SABOTAGES:
            SABOTAGES[sabotage](patch)
        else:
            patch.setattr(os, "fsync", lambda fd: None if site() == sabotage else _fsync(fd))
        yield


@contextmanager
def listing(told: Callable[[str], None]) -> Iterator[None]:
    """Tell the place of each sync that is done in the block."""

    def fsync(fd: int) -> None:
        told(site())
        _fsync(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


def site() -> str:
    """Return where the engine is about to sync: what durable does, and the function and line which ask it to."""
    what, path, function, line = _caller()
    return f"{what} by {path.stem}.{function}:{line}"


def _caller() -> tuple[str, Path, str, int]:
    """Return the function of durable that syncs, and file, function and line of what wants it; notes only passes on."""
    what = ""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        path, function = Path(frame.f_code.co_filename), frame.f_code.co_name
        if path == Path(durable.__file__):
            what = what or (function if function != "_sync" else "")
        elif what and path.name not in ("contextlib.py", Path(notes.__file__).name):
            return what, path, function, frame.f_lineno
        frame = frame.f_back
    return what, Path(), "", 0
