"""Export a snapshot to qcow2, against the fastest flags of `qemu-img convert` that were found."""

import os
import subprocess
from pathlib import Path

from bench import measure
from bench.measure import Subject
from bench.row import Bench, Row
from bench.site import Site
from snapengine.units import MIB

LAYER = 512 * MIB  # each of two, the second half over the first
FLAGS = ("-W", "-m", "16")  # of -W, -C, -m, -t none, -T none, -S 0 in all sensible combinations


def _against_tool(bench: Bench, site: Site) -> Row:
    volume = site.engine.create_volume("export", 2 * 1024 * MIB)
    path = site.engine.volume_path(volume.uuid)
    for start, name in ((0, "first"), (LAYER // 2, "second")):
        write = f"write -q -P {start % 254 + 1} {start} {LAYER}"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, path], check=True)
        snapshot = site.engine.create_snapshot(volume.uuid, name)
    ours, bare = site.root / "ours.qcow2", site.root / "bare.qcow2"
    source = site.engine.snapshot_path(snapshot.uuid)
    pair = measure.alternate(
        Subject(lambda: _export(site, snapshot.uuid, ours), lambda: ours.unlink(missing_ok=True)),
        Subject(lambda: _convert(source, bare), lambda: bare.unlink(missing_ok=True)),
        site.runs or bench.runs,
        site.root,
    )
    for left in (ours, bare):
        left.unlink()
    return bench.row(pair)


def _export(site: Site, snapshot: str, target: Path) -> None:
    """Export without a checksum, which the tool does not make either."""
    site.engine.export_snapshot(snapshot, target, checksum=False)


def _convert(source: Path, target: Path) -> None:
    """Convert by the bare tool, and make the result as durable as an export is."""
    subprocess.run(["qemu-img", "convert", *FLAGS, "-f", "qcow2", "-O", "qcow2", source, target], check=True)
    fd = os.open(target, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


BENCHES = (Bench("export", "Engine.export_snapshot, no checksum / qemu-img convert, fsync", 1.1, 12, _against_tool),)
