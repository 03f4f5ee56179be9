"""
Delete snapshots in this process, against `qemu-img commit` of the same layers, on ext4 and on XFS with reflinks.

The layers are made once and put back before each run, by reflink or by copying.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import measure
from bench.measure import Subject
from bench.row import Bench, Row
from bench.site import Site
from snapengine import Engine
from snapengine.units import GIB, KIB, MIB

SIZE = 8 * GIB
PIECE = 64 * KIB
STRIDE = 4 * PIECE  # between the pieces of scattered data

Layers = Sequence[Sequence[str]]  # what qemu-io does to each layer, from the lowest snapshot to the volume


class Made(NamedTuple):
    """A volume with snapshots, the lowest first; kept is a copy of its directory."""

    engine: Engine
    volume: str
    snapshots: tuple[str, ...]
    directory: Path
    kept: Path


def sequence(pattern: int, start: int, length: int) -> list[str]:
    """Return what writes length bytes from start on."""
    return [f"write -q -P {pattern} {at} {64 * MIB}" for at in range(start, start + length, 64 * MIB)]


def scattered(pattern: int, length: int, shift: int = 0) -> list[str]:
    """Return what writes length bytes in pieces that do not touch, all of them shifted by so many pieces."""
    count = length // PIECE
    return [f"write -q -P {pattern} {n * STRIDE + shift * PIECE} {PIECE}" for n in range(count)]


def made(site: Site, kind: str, name: str, layers: Layers) -> Made:
    """Return a volume on a file system of this kind whose images hold what layers says; made once."""
    engine = site.engine_on(kind)
    kept = site.disk(kind) / f"kept-{name}"
    found = [volume for volume in engine.list_volumes() if volume.name == name]
    volume = found[0].uuid if found else engine.create_volume(name, SIZE).uuid
    directory = engine.volume_path(volume).parent
    if not found:
        for number, writes in enumerate(layers):
            _write(engine.volume_path(volume), writes)
            if number < len(layers) - 1:
                engine.create_snapshot(volume, f"s{number}")
        _copy(directory, kept)
    return Made(engine, volume, tuple(s.uuid for s in engine.list_snapshots(volume)), directory, kept)


def _write(path: Path, writes: Sequence[str]) -> None:
    script = "\n".join([*writes, "quit", ""])
    subprocess.run(["qemu-io", "-f", "qcow2", str(path)], input=script, text=True, check=True, stdout=-3)


def _copy(source: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
    os.sync()


def ours(found: Made, doomed: Sequence[str]) -> Subject:
    """Return the engine's delete of the snapshots doomed."""
    return Subject(
        run=lambda: found.engine.delete_snapshots(tuple(doomed)),
        ready=lambda: _copy(found.kept, found.directory),
    )


def commits(found: Made, doomed: Sequence[str]) -> Subject:
    """Return qemu-img committing what stands on each of the snapshots doomed into it, from the bottom up."""
    scratch = found.kept.with_name("bare")
    chain = [*found.snapshots, found.volume]

    def run() -> None:
        lowest = doomed[0]
        for uuid in doomed:
            above = chain[chain.index(uuid) + 1]
            _tool("rebase", "-u", "-F", "qcow2", "-b", f"{lowest}.qcow2", scratch / f"{above}.qcow2")
            _tool("commit", "-q", "-d", scratch / f"{above}.qcow2")

    return Subject(run, lambda: _copy(found.kept, scratch))


def commit(found: Made) -> Subject:
    """Return qemu-img committing the active image into the latest snapshot."""
    scratch = found.kept.with_name("bare")
    line = partial(_tool, "commit", "-q", "-d", scratch / f"{found.volume}.qcow2")
    return Subject(line, lambda: _copy(found.kept, scratch))


def _tool(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True)


def _one(bench: Bench, site: Site, kind: str, name: str, layers: Callable[[], Layers]) -> Row:
    found = made(site, kind, name, layers())
    pair = measure.alternate(ours(found, found.snapshots[-1:]), commit(found), site.runs or bench.runs, site.root, 1)
    return bench.row(pair)


def _run(bench: Bench, site: Site, kind: str, name: str, layers: Callable[[], Layers]) -> Row:
    found = made(site, kind, name, layers())
    doomed = found.snapshots[1:]
    runs = site.runs or bench.runs
    return bench.row(measure.alternate(ours(found, doomed), commits(found, doomed), runs, site.root, 1))


def _growth(bench: Bench, site: Site) -> Row:
    large, small = (made(site, "xfs", *_pair_of(size)) for size in (2 * GIB, 64 * MIB))
    pair = measure.alternate(
        ours(large, large.snapshots[-1:]), ours(small, small.snapshots[-1:]), site.runs or bench.runs, site.root, 1
    )
    return bench.row(pair)


def _pair_of(size: int) -> tuple[str, Layers]:
    return f"sequence-{size // MIB}", [[], sequence(1, 0, size), sequence(2, size, size)]


def _written(bench: Bench, site: Site, kind: str) -> Row:
    """Tell what a delete writes: over the smaller layer's bytes on ext4, in MiB where extents are shared."""
    name, layers = _pair_of(512 * MIB)
    found = made(site, kind, name, layers)
    subject = ours(found, found.snapshots[-1:])
    subject.ready()
    pair = [found.directory / f"{uuid}.qcow2" for uuid in (found.volume, found.snapshots[-1])]
    smaller = min(path.stat().st_blocks * 512 for path in pair)
    before = _output()
    subject.run()
    written = _output() - before
    value = written / MIB if kind == "xfs" else written / smaller
    unit = "MiB" if kind == "xfs" else "times"
    bare = None if kind == "xfs" else 1.0
    return Row(bench.name, bench.what, bench.target, unit, value, bare, value, kind="absolute")


def _output() -> int:
    """Return the bytes that this process and its tools have written so far."""
    return sum(resource.getrusage(who).ru_oublock * 512 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _over() -> Layers:
    return [[], sequence(1, 0, 512 * MIB), sequence(2, 0, 512 * MIB)]


def _beside() -> Layers:
    return _pair_of(512 * MIB)[1]


def _scattered() -> Layers:
    return [[], scattered(1, 256 * MIB), scattered(2, 256 * MIB, 2)]


def _one_area() -> Layers:
    return [[], *(sequence(n + 1, 0, 64 * MIB) for n in range(11))]


def _areas() -> Layers:
    return [[], *(sequence(n + 1, n * 64 * MIB, 64 * MIB) for n in range(11))]


_PAIR = "delete on {}, {} / qemu-img commit"
_TEN = "delete 10 neighbours on {}, {} / 10 commits"

_ONE = (  # file system, layers, name, what they are, target
    ("xfs", _beside, "sequence-512", "2 x 512 MiB one behind the other", 0.12),
    ("xfs", _over, "over", "512 MiB over 512 MiB", 0.12),
    ("xfs", _scattered, "scattered", "2 x 256 MiB in 64 KiB pieces", 1.0),
    ("ext4", _beside, "sequence-512", "2 x 512 MiB one behind the other", 1.0),
    ("ext4", _over, "over", "512 MiB over 512 MiB", 1.0),
    ("ext4", _scattered, "scattered", "2 x 256 MiB in 64 KiB pieces", 1.0),
)
_RUN = (
    ("ext4", _one_area, "ten-over", "over one area", 0.2),
    ("xfs", _one_area, "ten-over", "over one area", 0.2),
    ("ext4", _areas, "ten-beside", "disjoint", 0.7),
    ("xfs", _areas, "ten-beside", "disjoint", 0.2),
)

BENCHES = (
    *(
        Bench(f"{kind}-{name}", _PAIR.format(kind, what), target, 5, partial(_one, kind=kind, name=name, layers=layers))
        for kind, layers, name, what, target in _ONE
    ),
    *(
        Bench(f"{kind}-{name}", _TEN.format(kind, what), target, 3, partial(_run, kind=kind, name=name, layers=layers))
        for kind, layers, name, what, target in _RUN
    ),
    Bench("xfs-growth", "delete on xfs, 2 GiB / 64 MiB", 4.0, 5, _growth),
    Bench("written-ext4", "bytes written on ext4 / the smaller layer's", 1.15, 1, partial(_written, kind="ext4")),
    Bench("written-xfs", "bytes written by delete on xfs", 2.0, 1, partial(_written, kind="xfs")),
)
