"""What changed between two snapshots, from the images' tables, against a comparison of two images by the bare tool."""

import os
import subprocess
from functools import partial
from pathlib import Path

from bench import measure
from bench.measure import Subject
from bench.row import Bench, Row
from bench.site import Site
from snapengine.units import GIB, KIB, MIB

LAYERS = 30  # between the two snapshots
SCATTERED = 128 * KIB  # what the guest writes at once, each layer its own pieces all over the disk
IN_SEQUENCE = 32 * MIB


def _against_tool(bench: Bench, site: Site, piece: int) -> Row:
    volume = site.engine.create_volume(bench.name, GIB).uuid
    path = site.engine.volume_path(volume)
    made = [site.engine.create_snapshot(volume, "first").uuid]
    for layer in range(LAYERS):
        _write(path, layer, piece)
        made.append(site.engine.create_snapshot(volume, f"layer-{layer}").uuid)
    layers = [site.engine.snapshot_path(uuid) for uuid in made]
    copies = [_flat(layers[-1], site.root / f"flat-{number}.qcow2") for number in range(2)]
    line = ["qemu-img", "compare", "-q", "-f", "qcow2", "-F", "qcow2", *map(str, copies)]
    assert site.engine.diff_snapshots(made[0], made[-1]).bytes == GIB
    pair = measure.alternate(
        Subject(lambda: site.engine.diff_snapshots(made[0], made[-1]), lambda: _touch(layers)),
        Subject(lambda: subprocess.run(line, check=True)),
        site.runs or bench.runs,
        site.root,
    )
    for copy in copies:
        copy.unlink()
    return bench.row(pair)


def _write(path: Path, layer: int, piece: int) -> None:
    """Write every LAYERS-th piece of the disk, beginning with the piece number layer."""
    starts = range(layer * piece, GIB, LAYERS * piece)
    steps = "".join(f"write -q -P {layer + 1} {start} {piece}\n" for start in starts)
    subprocess.run(["qemu-io", "-f", "qcow2", path], input=steps, text=True, check=True, stdout=subprocess.DEVNULL)


def _flat(source: Path, target: Path) -> Path:
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", source, target], check=True)
    return target


def _touch(layers: list[Path]) -> None:
    """Let the engine read all tables again: a map is remembered only while its file is untouched."""
    for path in layers:
        os.utime(path)


_WHAT = f"Engine.diff_snapshots, {LAYERS} layers, 1 GiB{{}} / qemu-img compare"

BENCHES = (
    Bench("diff", _WHAT.format(""), 0.1, 12, partial(_against_tool, piece=IN_SEQUENCE)),
    Bench("diff-scattered", _WHAT.format(" scattered"), 0.2, 12, partial(_against_tool, piece=SCATTERED)),
)
