"""Where the time of one `snapengine snapshot create` goes."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple
from unittest import mock

from bench import create, measure, program
from bench.measure import Subject
from bench.site import Chain, Site

DEPTH = 10
RUNS = 11

_START, _VERB, _TOOL, _SYNCS, _WHOLE = "Python", "the verb", "qemu-img, by itself", "syncs", "all of it"
_LIBRARIES = ("click", "msgspec", "sh", "snapengine")


class Part(NamedTuple):
    """A part of the whole, in milliseconds; below tells that it is a share of the part above."""

    what: str
    ms: float
    below: bool = False


def parts(site: Site) -> list[Part]:
    """
    Return the parts of the whole command, the whole last, each the median of several rounds.

    Each part is measured by itself: the imports by `-X importtime`, which makes them a little slower, the verb in this
    process. What they leave of the whole is the command line's own work, what the first call of all costs more than
    a later one, and the end of the process.
    """
    chain = site.chain(DEPTH)
    rounds = [_round(site, chain) for _ in range(measure.WARM_UP + (site.runs or RUNS))][measure.WARM_UP :]
    took = {what: statistics.median(found[what] for found in rounds) for what in rounds[0]}
    imports = [Part(f"import {name}", took[name]) for name in _LIBRARIES]
    rest = took[_WHOLE] - took[_START] - took[_VERB] - sum(part.ms for part in imports)
    return [
        Part(_START, took[_START]),
        *imports,
        Part(_VERB, took[_VERB]),
        *(Part(what, took[what], below=True) for what in (_TOOL, _SYNCS)),
        Part("command line, first calls, end of the process", rest),
        Part(_WHOLE, took[_WHOLE]),
    ]


def _round(site: Site, chain: Chain) -> dict[str, float]:
    """Measure every part once, in milliseconds."""
    words = program.creating(site, chain)
    verb = create.subject(site, chain)
    subjects = {
        _START: Subject(lambda: program.run([sys.executable, "-c", "pass"])),
        _TOOL: create.tool(chain, "-u"),
        _VERB: verb,
        _WHOLE: Subject(lambda: program.run(words), verb.ready),
    }
    took = {what: 1000 * measure.timed(subject, site.root) for what, subject in subjects.items()}
    return took | {_SYNCS: _synced(verb)} | _imports(words)


def _synced(verb: Subject) -> float:
    """Return the milliseconds that the syncs of one run take, those included that run beside the tool."""
    taken: list[float] = []

    def sync(fd: int, plain: Callable[[int], None] = os.fsync) -> None:
        start = time.perf_counter()
        plain(fd)
        taken.append(time.perf_counter() - start)

    verb.ready()
    with mock.patch.object(os, "fsync", sync):
        verb.run()
    return 1000 * sum(taken)


def _imports(words: list[str]) -> dict[str, float]:
    """Return the milliseconds that the import of each library takes in a command."""
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment)
    return _by_library(line for line in done.stderr.splitlines() if line.startswith("import time:"))


def _by_library(lines: Iterable[str]) -> dict[str, float]:
    """
    Sum up the lines of -X importtime by library.

    A module's line comes after those of what it imports, which are indented deeper. One of the standard library's is
    charged to the library that asked for it first; before any did, it belongs to Python's own start.
    """
    found = dict.fromkeys((*_LIBRARIES, ""), 0.0)
    owners: list[tuple[int, str]] = []
    for line in reversed(list(lines)):
        taken, _, module = line.removeprefix("import time:").split("|")
        if not taken.strip().isdigit():
            continue  # the heading
        depth, name = len(module) - len(module.lstrip()), module.strip().partition(".")[0]
        while owners and owners[-1][0] >= depth:
            owners.pop()
        owner = name if name in _LIBRARIES else owners[-1][1] if owners else ""
        owners.append((depth, owner))
        found[owner] += int(taken) / 1000
    return found
