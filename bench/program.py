"""The whole command `snapengine`: create and start-up against other commands."""

import subprocess
import sys
from functools import partial

from bench import measure, starting
from bench.measure import Subject
from bench.row import Bench, Row
from bench.site import Chain, Site


def run(words: list[str]) -> None:
    """Run a command and throw away what it prints."""
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def creating(site: Site, chain: Chain) -> list[str]:
    """Return the command line that creates a snapshot of the chain's volume."""
    return starting.line("--root", str(site.engine.root), "snapshot", "create", chain.volume, "bench")


def _create(bench: Bench, site: Site, depth: int) -> Row:
    domain, chain = site.libvirt.domain(depth), site.chain(depth)
    ours = Subject(lambda: run(creating(site, chain)), lambda: site.engine.revert(chain.tip))
    bare = Subject(domain.create, domain.reset)
    return bench.row(measure.alternate(ours, bare, site.runs or bench.runs, site.root))


def _start(bench: Bench, site: Site) -> Row:
    ours = Subject(lambda: run(starting.line("--version")))
    bare = Subject(lambda: run([sys.executable, "-c", "import click"]))
    return bench.row(measure.alternate(ours, bare, site.runs or bench.runs, site.root))


_WHAT = "snapengine snapshot create, depth {} / virsh snapshot-create-as"

BENCHES = (
    Bench("program-10", _WHAT.format(10), 4.0, 15, partial(_create, depth=10)),
    Bench("program-100", _WHAT.format(100), 1.5, 15, partial(_create, depth=100)),
    Bench("start", "snapengine --version / python -c 'import click'", 1.3, 50, _start),
)
