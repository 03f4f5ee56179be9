"""List 10,000 snapshots, against a bare loop that reads and parses the same files."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from bench import measure, program, starting
from bench.measure import Subject
from bench.row import Bench, Row
from bench.site import Site

DROP_CACHES = Path("/proc/sys/vm/drop_caches")

_LOOP = """
import json, os, sys
for directory, _, names in os.walk(sys.argv[1]):
    for name in names:
        if name.endswith(".json"):
            with open(os.path.join(directory, name), "rb") as f:
                json.loads(f.read())
"""

_ENGINE = """
import sys
from snapengine import Engine
Engine.open(sys.argv[1]).list_snapshots()
"""

# All trees by as many calls of the command's own function as there are volumes, in one process.
_TREES = """
import sys
from snapengine import Engine, cli
for volume in Engine.open(sys.argv[1]).list_volumes():
    if cli.main(["--root", sys.argv[1], "snapshot", "tree", volume.uuid]):
        sys.exit(1)
"""

# The kernel's own high-water mark of this process; what wait() tells of a child begins with the parent's.
_PEAK = """
import sys
from snapengine import cli
code = cli.main(["--root", sys.argv[1], "--output", "json", "snapshot", "list"])
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0], file=sys.stderr)
sys.exit(code)
"""


def _empty_cache(root: Path) -> None:
    """Let the next read come from the disk: without all of the page cache for root, else without the store's files."""
    if os.access(DROP_CACHES, os.W_OK):
        DROP_CACHES.write_text("1")
        return
    for path in root.rglob("*.json"):
        with open(path, "rb") as f:
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _python(code: str, site: Site) -> list[str]:
    return [sys.executable, "-c", code, str(site.inventories)]


def _against_loop(bench: Bench, site: Site, words: list[str]) -> Row:
    ready = partial(_empty_cache, site.inventories)
    ours, bare = (Subject(partial(program.run, line), ready) for line in (words, _python(_LOOP, site)))
    pair = measure.alternate(ours, bare, site.runs or bench.runs, site.root, warm_up=1)
    return bench.row(pair)


def _list(bench: Bench, site: Site, output: str) -> Row:
    root = str(site.inventories)
    return _against_loop(bench, site, starting.line("--root", root, "--output", output, "snapshot", "list"))


def _code(bench: Bench, site: Site, code: str) -> Row:
    return _against_loop(bench, site, _python(code, site))


def _peak(bench: Bench, site: Site) -> Row:
    words = _python(_PEAK, site)
    done = subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = int(done.stderr.split()[-1]) / 1024
    return bench.absolute(peak, "MiB")


_WHAT = "10,000 snapshots, cold: {} / json.loads"

BENCHES = (
    Bench("list-json", _WHAT.format("list --output json"), 1.5, 6, partial(_list, output="json")),
    Bench("list-engine", _WHAT.format("Engine.list_snapshots"), 1.5, 6, partial(_code, code=_ENGINE)),
    Bench("list-text", _WHAT.format("list"), 4.0, 4, partial(_list, output="text")),
    Bench("trees", _WHAT.format("tree"), 4.0, 4, partial(_code, code=_TREES)),
    Bench("memory", "10,000 snapshots: peak memory of list --output json", 150.0, 1, _peak),
)
