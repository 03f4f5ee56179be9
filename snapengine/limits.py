"""
What a tool may use: address space, processor time, the length of a file, open files.

An image of a stranger may be made to cost whatever opens it an age, or a disk: so each tool has a bound, which follows
from what the images that it reads really hold, never from what they claim.
"""

import os
import resource
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from snapengine import units
from snapengine.units import GIB

MAX_FILES = 4096  # open in one tool: the longest foreign chain, twice, and its own
MAX_FILE = 4 * 2**20 * GIB  # bytes of the longest file that a tool may write: twice the largest volume
MEMORY, DATA_MEMORY = GIB, 4 * GIB  # address space; of a tool that moves or checks guest data
_GRACE = 5  # seconds between the signal that tells of the bound and the one that kills
SECONDS, DATA_SECONDS, SECONDS_A_GIB = 60, 600, 600  # of processor time; what is held may be compressed


class Limits(NamedTuple):
    """The bounds of one tool: bytes of address space, seconds of processor time, bytes of a file that it writes."""

    memory: int = MEMORY
    seconds: int = SECONDS
    file: int = MAX_FILE


METADATA = Limits()
READ_METADATA = Limits(file=0)


def moving(sources: Iterable[Path]) -> Limits:
    """Return the bounds of a tool that moves what the images at sources hold."""
    return Limits(DATA_MEMORY, DATA_SECONDS + _held(sources) * SECONDS_A_GIB // GIB)


def reading(sources: Iterable[Path]) -> Limits:
    """Return the bounds of a tool that reads the tables of the images at sources, and writes nothing."""
    return Limits(DATA_MEMORY, SECONDS + _held(sources) * SECONDS // GIB, 0)


def comparing(sources: Iterable[Path]) -> Limits:
    """Return the bounds of a tool that reads all that the images at sources hold, and writes nothing."""
    return moving(sources)._replace(file=0)


def beside(path: Path) -> list[Path]:
    """Return the files in the directory of path: all that a tool may read which follows its header."""
    with os.scandir(path.parent) as found:
        return [Path(entry) for entry in found]


def _held(sources: Iterable[Path]) -> int:
    """Return the bytes that the files at sources take on the disk; one that went takes none."""
    held = 0
    for path in sources:
        with suppress(FileNotFoundError):
            held += units.allocated(os.stat(path))
    return held


def apply(limits: Limits) -> None:
    """Bind this process, and what it becomes, to limits for good; a lower bound that holds already stays."""
    wanted = (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.seconds),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_CORE, 0),
    )
    for kind, most in wanted:
        soft, hard = (bound if bound != resource.RLIM_INFINITY else most + _GRACE for bound in resource.getrlimit(kind))
        grace = _GRACE if kind == resource.RLIMIT_CPU else 0  # the soft bound tells why, the hard one kills
        resource.setrlimit(kind, (min(most, soft), min(most + grace, hard)))
