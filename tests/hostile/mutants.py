"""Broken builds, to prove that the corpus catches them: each takes one check out, or does something that none may."""

import os
import subprocess
from collections.abc import Callable
from typing import Any

from fixtures.hostile.corpus import Image, Spot
from snapengine import checks, custody, driver, foreign, health, importing, inspector, qcow2, sources
from tests import qcow2_forge as forge

NONE = "-"


def _sound(spot: Spot) -> None:
    overlay = ["-u", "-F", "qcow2", "-b", spot.backing] if spot.backing else []
    made = ["qemu-img", "create", "-q", "-f", "qcow2", *overlay, str(spot.path), str(forge.SIZE)]
    subprocess.run(made, check=True)
    data = ["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", str(spot.path)]
    subprocess.run(data, check=True, stdout=subprocess.DEVNULL)


SOUND = Image("sound", _sound, "", "", harmless=(".*", "it is sound"))


def names() -> list[str]:
    """Return the names of all mutants: one for each row of the table of checks, and the others."""
    return [*(f"without {row.name}" for row in checks.CHECKS if row.name != "device"), *_OTHERS]


def apply(name: str) -> None:
    """Break this process's engine as the mutant of that name has it; NONE leaves it as it is."""
    if name in _OTHERS:
        _OTHERS[name]()
    elif name != NONE:
        check = name.removeprefix("without ")
        kept = tuple(row for row in checks.CHECKS if row.name != check)
        assert len(kept) == len(checks.CHECKS) - 1, f"no check is called {check}"
        _put(inspector, "CHECKS", kept)


def _put(module: Any, name: str, value: object) -> None:
    setattr(module, name, value)


def _follow_links() -> None:
    _put(inspector, "open_image", lambda path, dir_fd=None: os.open(path, os.O_RDONLY | os.O_NONBLOCK, dir_fd=dir_fd))


def _open_before_looking() -> None:
    _put(inspector, "require_regular", lambda status, path: None)


def _guess() -> None:
    """Let qemu-img open an image by its name and what its first bytes say."""
    _put(driver, "chain", lambda source, fmt="qcow2": str(source[0]))
    _put(inspector, "inspect", lambda fd, path, expected: qcow2.read_header(fd, path=path))
    _put(foreign, "inspect", lambda fd, path, format: None)
    _put(sources, "_backing", lambda layer, raw_base: None)


def _believe_strangers() -> None:
    _put(foreign, "inspect", lambda fd, path, format: None)


def _believe_tables() -> None:
    """Neither import nor `verify --deep` asks qemu-img whether the tables are sound."""
    _put(importing, "sound_size", lambda source, file: driver.virtual_size(source.paths[0], source.format))
    _put(health, "_checked", lambda uuid, path: iter(()))


def _no_end() -> None:
    """A chain may be as long as it likes, and run in a circle."""
    _put(sources, "MAX_LAYERS", 10**9)
    _put(custody, "is_ours", lambda fd: True)


_OTHERS: dict[str, Callable[[], None]] = {
    "follows symbolic links": _follow_links,
    "opens what is no regular file": _open_before_looking,
    "guesses formats": _guess,
    "believes other formats": _believe_strangers,
    "believes L2 tables": _believe_tables,
    "follows chains without end": _no_end,
}
