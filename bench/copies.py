"""A chain copied whole on a file system with reflinks, against the fastest qemu-img convert without them."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

from bench import measure
from bench.measure import Missing, Subject
from bench.row import Bench, Row
from bench.site import Site
from snapengine import Engine
from snapengine.units import GIB, MIB

_TARGET = 0.4
_LAYERS = ((0, 512), (256, 512), (512, 512))  # MiB: where each layer starts, and how much it holds


def _xfs(directory: Path, stack: ExitStack) -> Path:
    """Return a new XFS file system, mounted until the stack ends."""
    disk, image = directory / "copies", directory / "copies.img"
    disk.mkdir()
    image.touch()
    with open(image, "r+b") as f:
        f.truncate(8 * GIB)
    made = subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", image], capture_output=True)
    if made.returncode or subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True).returncode:
        raise Missing("XFS can't be mounted here: run as root, with xfsprogs")
    stack.callback(lambda: subprocess.run(["umount", "--lazy", disk], check=True))
    return disk


def _measured(bench: Bench, site: Site, *, verb: Literal["clone", "flatten"]) -> Row:
    with ExitStack() as stack:
        directory = site.root / bench.name
        directory.mkdir()
        disk = _xfs(directory, stack)
        engine = Engine.init(disk / "store")
        volume = engine.create_volume("disk", GIB).uuid
        for count, (start, length) in enumerate(_LAYERS):
            write = f"write -q -P {count + 1} {start * MIB} {length * MIB}"
            subprocess.run(["qemu-io", "-f", "qcow2", "-c", write, engine.volume_path(volume)], check=True)
            tip = engine.create_snapshot(volume, f"s{count}").uuid
        ours = _clone(engine, tip) if verb == "clone" else _flatten(engine, volume, tip)
        copy = disk / "copy"
        bare = Subject(partial(_bare, engine.snapshot_path(tip), copy), lambda: copy.unlink(missing_ok=True))
        return bench.row(measure.alternate(ours, bare, site.runs or bench.runs, disk))


def _clone(engine: Engine, tip: str) -> Subject:
    names: Callable[[], int] = iter(range(10**6)).__next__
    return Subject(lambda: engine.clone_volume(tip, f"clone-{names()}"))


def _flatten(engine: Engine, volume: str, tip: str) -> Subject:
    return Subject(lambda: engine.flatten_volume(volume), lambda: engine.revert(tip))


def _bare(source: Path, target: Path) -> None:
    layers = ["-f", "qcow2", "-O", "qcow2", "-t", "writeback", "-W"]
    subprocess.run(["qemu-img", "convert", *layers, source, target], check=True)


BENCHES = (
    Bench("clone", "full clone of 1 GiB on XFS / qemu-img convert -W", _TARGET, 7, partial(_measured, verb="clone")),
    Bench("flatten", "flatten 1 GiB on XFS / qemu-img convert -W", _TARGET, 7, partial(_measured, verb="flatten")),
)
