"""Create a snapshot in this process, against qemu-img alone and against itself at other depths."""

import subprocess
from functools import partial

from bench import measure
from bench.measure import Subject
from bench.row import Bench, Row
from bench.site import SIZE, Chain, Site


def subject(site: Site, chain: Chain) -> Subject:
    """Return the engine's create of a snapshot; the revert before each holds the depth where it is."""
    return Subject(
        run=lambda: site.engine.create_snapshot(chain.volume, "bench"),
        ready=lambda: site.engine.revert(chain.tip),
    )


def tool(chain: Chain, *options: str) -> Subject:
    """Return qemu-img making the same overlay beside the same images."""
    path = chain.path.with_name("bare.qcow2")
    layers = ("-f", "qcow2", "-F", "qcow2", "-b", f"{chain.tip}.qcow2")
    line = ["qemu-img", "create", "-q", *options, *layers, str(path), str(SIZE)]
    return Subject(
        run=lambda: subprocess.run(line, check=True),
        ready=lambda: path.unlink(missing_ok=True),
    )


def _against_tool(bench: Bench, site: Site, depth: int, options: tuple[str, ...] = ()) -> Row:
    chain = site.chain(depth)
    ours, bare = subject(site, chain), tool(chain, *options)
    return bench.row(measure.alternate(ours, bare, site.runs or bench.runs, site.root))


def _against_shallow(bench: Bench, site: Site, depth: int) -> Row:
    deep, shallow = subject(site, site.chain(depth)), subject(site, site.chain(1))
    return bench.row(measure.alternate(deep, shallow, site.runs or bench.runs, site.root))


_OURS = "Engine.create_snapshot"
_AT_ONCE = partial(_against_tool, depth=1, options=("-u",))  # nothing is opened but the new image

BENCHES = (
    Bench("create", f"{_OURS} / qemu-img create -u", 2.0, 100, _AT_ONCE),
    Bench("depth-60", f"{_OURS}, depth 60 / depth 1", 1.15, 40, partial(_against_shallow, depth=60)),
    Bench("depth-500", f"{_OURS}, depth 500 / depth 1", 1.15, 40, partial(_against_shallow, depth=500)),
    Bench("chain-200", f"{_OURS}, depth 200 / qemu-img create", 0.25, 12, partial(_against_tool, depth=200)),
)
