"""Chains copied whole: the same bytes, sparse, standalone; with extents that are shared and without."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapengine import chain, duplicate, errors, store
from snapengine.engine import Engine
from snapengine.store import Store
from tests import images, privileged
from tests.privileged import needs_root

KIB = 2**10
MIB = 2**20


@pytest.fixture(params=["ext4", pytest.param("xfs", marks=needs_root)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give a store on the file system of the tests, and one on XFS, whose files share extents."""
    if request.param == "ext4":
        yield store.open_store(Engine.init(tmp_path / "store").root)
        return
    with privileged.xfs(tmp_path) as disk:
        found = store.open_store(Engine.init(disk / "store").root)
        assert found.record.reflinks
        yield found


def layer(path: Path, size: int, options: str, *writes: str, base: Path | None = None) -> Path:
    """Make an image of size bytes at path, over base, with writes as qemu-io spells them."""
    under = ("-F", "qcow2", "-b", base.name) if base else ()
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, *under, path, str(size)], check=True)
    if writes:
        commands = [word for write in writes for word in ("-c", write)]
        subprocess.run(["qemu-io", "-d", "unmap", "-f", "qcow2", *commands, path], check=True, stdout=-3)
    return path


LAYERS = {
    "plain": ("cluster_size=64k", "write -q -P 2 1M 700k"),
    "zeros over data": ("cluster_size=64k", "write -q -z 0 512k", "write -q -z -u 2M 130k"),
    "discarded": ("cluster_size=64k", "write -q -P 2 1M 1M", "discard -q 1M 512k"),
    "compressed": ("cluster_size=64k", "write -q -c -P 2 0 640k"),
    "extended L2": ("cluster_size=64k,extended_l2=on", "write -q -P 2 10k 30k", "write -q -z 1M 6k"),
    "clusters of 512 bytes": ("cluster_size=512", "write -q -P 2 1025k 3k", "write -q -z 2M 1k"),
    "clusters of 2 MiB": ("cluster_size=2M", "write -q -P 2 1M 3k"),
    "nothing of its own": ("cluster_size=64k",),
}


@pytest.mark.parametrize("top", LAYERS.values(), ids=LAYERS.keys())
def test_a_copy_of_a_chain_holds_its_bytes_and_stands_alone(opened: Store, top: tuple[str, ...]) -> None:
    base = layer(opened.root / "base", 3 * MIB - 512, "cluster_size=64k", "write -q -P 1 0 2600k")
    source = layer(opened.root / "top", 4 * MIB + 1536, *top, base=base)

    made = duplicate.make(opened, [source, base], opened.root / "copy")

    assert images.read(made.path) == images.read(source)
    assert made.backing is None and made.header.size == 4 * MIB + 1536
    assert images.Images().facts(made.path).problem == ""
    assert made == chain.layer(made.path)


def test_what_a_chain_knows_as_zeros_takes_no_room_in_a_copy(opened: Store) -> None:
    base = layer(opened.root / "base", 64 * MIB, "cluster_size=64k", "write -q -P 1 0 4M")
    source = layer(opened.root / "top", 64 * MIB, "cluster_size=64k", "write -q -z 1M 3M", base=base)

    made = duplicate.make(opened, [source, base], opened.root / "copy")

    assert made.allocated < 2 * MIB


@needs_root
def test_where_extents_are_shared_a_copy_takes_no_room(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path) as disk:
        opened = store.open_store(Engine.init(disk / "store").root)
        source = layer(opened.root / "source", 32 * MIB, "cluster_size=64k", "write -q -P 1 0 32M")
        subprocess.run(["sync", "-f", disk], check=True)
        with privileged.filled(disk, leave=4 * MIB):
            duplicate.require_room(opened, [source])
            made = duplicate.make(opened, [source], opened.root / "copy")
            assert images.read(made.path) == b"\1" * 32 * MIB


@needs_root
def test_where_they_are_not_too_little_room_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "small", 16 * KIB) as disk:
        opened = store.open_store(Engine.init(disk / "store").root)
        source = layer(opened.root / "source", 16 * MIB, "cluster_size=64k", "write -q -P 1 0 9M")

        with pytest.raises(errors.NoSpace, match="9.3 MiB may be needed"):
            duplicate.require_room(opened, [source])
