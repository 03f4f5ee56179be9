"""The stores that the crash tests work on, each made of a plain one, with what is known of them."""

import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from snapengine.engine import Engine
from tests.crash.harms import HARMS
from tests.oracle import CLUSTER, MIB, Oracle, poke

INFO = ("qemu-img", "info", "-f", "qcow2", "--output", "json")


class Things(NamedTuple):
    """What a prepared store holds, by uuid, and a raw image outside of it."""

    volume: str
    first: str
    second: str
    third: str
    item: str
    raw: Path


STORES: dict[str, Callable[[Oracle, Things], object]] = {
    "plain": lambda o, t: None,
    "at the limit": lambda o, t: o.engine.set_depth_limit(2),
    "reflinks off": lambda o, t: o.engine.set_reflinks("off"),  # else what is to be pulled is cloned on XFS
    "bitmap": lambda o, t: _bitmap(o.engine.volume_path(t.volume)),
    "bitmaps": lambda o, t: _bitmaps(o, t.volume),
    "grown": lambda o, t: _grown(o, t.volume),
    "damaged": lambda o, t: None,
    "missing": lambda o, t: None,
    "misnamed": lambda o, t: None,
    "misnamed otherwise": lambda o, t: None,
    "worn": lambda o, t: None,
    "recordless": lambda o, t: _two_volumes(o, t),
    "clean": lambda o, t: o.revert(t.second),
    "small clusters": lambda o, t: _small_clusters(o.engine.volume_path(t.volume)),
    "covered": lambda o, t: o.write(t.volume, 0, 8 * CLUSTER),
    "plain on XFS": lambda o, t: None,
    "two volumes": lambda o, t: _two_volumes(o, t),
    "one deleted": lambda o, t: _one_deleted(o, t),
    "two volumes at the limit": lambda o, t: _two_volumes_at_the_limit(o, t),
    "two volumes, clean": lambda o, t: _two_volumes_clean(o, t),
    "zeros": lambda o, t: _zeros(o, t.volume),
    "sources beside": lambda o, t: _sources(o, t.raw),
    "open to all": lambda o, t: _sources(o, t.raw, 0o666),
    "attached": lambda o, t: _attached(o, t.volume),
    "linked": lambda o, t: o.write(o.clone(t.second, "clone", linked=True), CLUSTER),
    "linked, snapshot": lambda o, t: _layered(o, t, 1),
    "linked, at the limit": lambda o, t: _layered(o, t, 2),
}


def make(root: Path, name: str) -> None:
    """
    Make the store called name at root, with what is known of it beside it.

    Its volume has three snapshots, second and third on the first, stands on the third, and holds something of its
    own; one item lies in the trash.
    """
    oracle = Oracle(Engine.init(root))
    volume = oracle.volume("disk")
    oracle.write(volume)
    first = oracle.create(volume, "first").uuid
    oracle.write(volume, CLUSTER)
    second = oracle.create(volume, "second").uuid
    oracle.write(volume, 2 * CLUSTER)
    item = oracle.revert(first)
    assert item is not None
    oracle.write(volume, 3 * CLUSTER)
    third = oracle.create(volume, "third").uuid
    oracle.write(volume, 4 * CLUSTER)
    raw = root.with_suffix(".raw")
    raw.write_bytes(b"raw!" * CLUSTER)
    things = Things(volume, first, second, third, item, raw)
    STORES[name](oracle, things)
    oracle.check()
    if name in HARMS:
        HARMS[name](oracle.engine.volume_path(volume), first, second)
    known(root).write_bytes(pickle.dumps((things, oracle.expected)))


def copy(store: Path, name: str, moved: bool = False) -> Path:
    """Return a copy of the store under a name of its own; moved leaves the old root in its records."""
    root = store.with_name(f"{store.name}-{name}")
    remove(root)
    subprocess.run(["cp", "-a", str(store), str(root)], check=True)
    if beside(store).exists():
        subprocess.run(["cp", "-a", str(beside(store)), str(beside(root))], check=True)
    if not moved:
        for record in root.rglob("*.json"):
            record.write_text(record.read_text().replace(f'"{store}', f'"{root}'))
    return root


def remove(root: Path) -> None:
    """Remove a copy of a store, and what lies beside it."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(beside(root), ignore_errors=True)


def opened(root: Path, store: Path) -> Oracle:
    """Open root, a copy of the store, with what is known of that."""
    oracle = Oracle(Engine.open(root))
    oracle.expected.update(_load(store)[1])
    return oracle


def things(store: Path) -> Things:
    """Return what the prepared store holds."""
    return _load(store)[0]


@lru_cache(maxsize=4)
def _load(store: Path) -> tuple[Things, dict[str, bytes]]:
    found: tuple[Things, dict[str, bytes]] = pickle.loads(known(store).read_bytes())
    return found


def known(store: Path) -> Path:
    """Return the file that tells what a prepared store holds."""
    return store.with_suffix(".known")


def _two_volumes(oracle: Oracle, things: Things) -> None:
    """Add a second volume, and a group of both, to both of which something is written after it."""
    other = oracle.volume("other", type="Root")
    oracle.write(other)
    oracle.create_group("before", things.volume, other)
    oracle.write(things.volume, 5 * CLUSTER)
    oracle.write(other, CLUSTER)


def _two_volumes_at_the_limit(oracle: Oracle, things: Things) -> None:
    """Make the plain volume's next snapshot a full one; the other's is not."""
    _two_volumes(oracle, things)
    oracle.engine.set_depth_limit(3)


def _attached(oracle: Oracle, volume: str) -> None:
    oracle.engine.attach_volume(volume, "vm")
    oracle.engine.add_tag(volume, "old")
    oracle.engine.create_account("other")
    oracle.engine.create_access_key("other")


def _sources(oracle: Oracle, raw: Path, mode: int = 0o644) -> None:
    """Have a raw image and a chain of two in the directory beside the store, which is copied with it."""
    beside(oracle.engine.root).mkdir()
    chain(Path(shutil.copy(raw, beside(oracle.engine.root) / "image.raw")))
    for path in beside(oracle.engine.root).iterdir():
        path.chmod(mode)


def beside(root: Path) -> Path:
    """Return the directory beside the store at root for files that go in and out."""
    return root.with_name(f"{root.name}.beside")


def _two_volumes_clean(oracle: Oracle, things: Things) -> None:
    """Make another group of both, after which nothing is written."""
    _two_volumes(oracle, things)
    oracle.create_group("later", things.volume, other(oracle))


def other(oracle: Oracle) -> str:
    """Return the second volume of a store that has one."""
    return oracle.engine.find_volume("other")


def _one_deleted(oracle: Oracle, things: Things) -> None:
    _two_volumes(oracle, things)
    oracle.delete_volumes(other(oracle))


def chain(raw: Path) -> Path:
    """Return the top of a chain of two images beside raw, made when it is first asked for."""
    base, top = raw.with_suffix(".base.qcow2"), raw.with_suffix(".top.qcow2")
    if not top.exists():
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(base)], check=True)
        over = ["-F", "qcow2", "-b", base.name]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *over, str(top)], check=True)
        poke(top, 7)
    return top


def _zeros(oracle: Oracle, volume: str) -> None:
    """Have one more snapshot, "zeros", which could do with less room, and one on it."""
    oracle.zero(volume, 0, 4 * CLUSTER)
    oracle.create(volume, "zeros")
    oracle.write(volume, 2 * CLUSTER)
    oracle.create(volume, "upon zeros")


def _layered(oracle: Oracle, things: Things, count: int) -> None:
    """Make a linked clone with count snapshots, which are as many as may stand on each other."""
    clone = oracle.clone(things.second, "clone", linked=True)
    for _ in range(count):
        oracle.write(clone, CLUSTER)
        oracle.create(clone, "on a clone")
    oracle.write(clone, 2 * CLUSTER)
    oracle.engine.set_depth_limit(2)


def _bitmap(path: Path) -> None:
    subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", "-g", "64k", str(path), "backup"], check=True)


def _bitmaps(oracle: Oracle, volume: str) -> None:
    """Have one more snapshot, "marked", with a bitmap that goes on in the active image."""
    _bitmap(oracle.engine.volume_path(volume))
    oracle.write(volume, 6 * CLUSTER)
    oracle.create(volume, "marked")
    oracle.write(volume, 7 * CLUSTER)


def _grown(oracle: Oracle, volume: str) -> None:
    """Have one more snapshot, "marked", which is smaller than the volume by now, and a bitmap in both."""
    _bitmaps(oracle, volume)
    oracle.resize(volume, 2 * MIB)
    oracle.write(volume, 2 * MIB - CLUSTER)


def _small_clusters(path: Path) -> None:
    """Put a copy with clusters of 4 KiB in the place of an image, so that its L1 table is soon too short."""
    copy = path.with_suffix(".copy")
    layers = ("-B", json.loads(subprocess.check_output(INFO + (str(path),)))["backing-filename"], "-F", "qcow2")
    convert = ("qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-o", "cluster_size=4k")
    subprocess.run([*convert, *layers, str(path), str(copy)], check=True)
    copy.replace(path)
