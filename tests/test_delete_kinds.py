"""Deletes of images of every kind: grown ones, other cluster sizes, extended L2, compressed and zero clusters."""

import itertools
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapengine import errors, extents, qcow2
from snapengine.engine import Engine
from tests import check, prepared
from tests.oracle import CLUSTER, MIB, Oracle
from tests.prepared import BY, DIRECTIONS, By, Stores

ODD = MIB + 3 * 512


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[By, Path]]:
    with prepared.disks(tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="module")
def grown(disks: dict[By, Path]) -> Stores[list[str]]:
    """Return stores of a volume that grew after its first snapshot and after its second, and these."""
    return Stores(disks, growing)


def growing(oracle: Oracle) -> list[str]:
    volume = oracle.volume("disk", ODD)
    tail(oracle, volume)
    base = oracle.create(volume, "base").uuid
    oracle.resize(volume, ODD + 5 * 512)
    tail(oracle, volume)
    larger = oracle.create(volume, "larger").uuid
    oracle.resize(volume, 2 * MIB)
    tail(oracle, volume)
    return [volume, base, larger]


def tail(oracle: Oracle, volume: str) -> None:
    """Write over the last cluster of a volume, the one before it, and its last sector."""
    size = len(oracle.expected[volume])
    oracle.write(volume, size - 512, 512)
    oracle.write(volume, (size - CLUSTER) // CLUSTER * CLUSTER, CLUSTER // 2)


def delete_one(oracle: Oracle, by: By, uuid: str) -> None:
    """Delete a snapshot in this direction, and by pull where it can't be committed."""
    try:
        oracle.delete(uuid, direction=DIRECTIONS[by])
    except errors.Conflict:
        oracle.delete(uuid, direction="pull")


def do(oracle: Oracle, by: By, verb: str, volume: str, base: str) -> None:
    snapshots = [s.uuid for s in oracle.engine.list_snapshots(volume)]
    if verb == "resize":
        oracle.resize(volume, len(oracle.expected[volume]) + MIB // 2 + 512)
    elif verb == "snapshot":
        oracle.create(volume, "new")
    elif verb == "revert" and snapshots:
        oracle.revert(snapshots[0])
    elif verb == "delete the newest" and snapshots:
        delete_one(oracle, by, snapshots[-1])
    elif verb == "delete the oldest" and snapshots:
        delete_one(oracle, by, snapshots[0])
    tail(oracle, volume)


VERBS = ("resize", "snapshot", "revert", "delete the newest", "delete the oldest")
ORDERS = random.Random(7).sample([*itertools.permutations(VERBS)], 15)


@pytest.mark.parametrize(("order", "by"), [(o, "pull commit clone".split()[n % 3]) for n, o in enumerate(ORDERS)])
def test_resize_snapshot_revert_and_delete_go_in_every_order(
    grown: Stores[list[str]], order: tuple[str, ...], by: By
) -> None:
    oracle, (volume, base, _) = grown.copy(by)
    for verb in order:
        do(oracle, by, verb, volume, base)
    check.full(oracle.engine, oracle.expected, deep=False)


@BY
@pytest.mark.parametrize("which", ["1", "2", "12"])
def test_what_a_smaller_image_hides_stays_hidden_and_what_is_new_reads_zero(
    grown: Stores[list[str]], which: str, by: By
) -> None:
    oracle, made = grown.copy(by)
    oracle.delete(*(made[int(number)] for number in which), direction=DIRECTIONS[by])
    check.full(oracle.engine, oracle.expected, deep=False)


@BY
def test_a_smaller_image_on_a_larger_one_takes_it_in_by_pull_only(
    grown: Stores[list[str]], by: By
) -> None:
    oracle, (volume, base, larger) = grown.copy(by)
    path = oracle.engine.volume_path(volume)
    small = MIB // 2
    subprocess.run(["qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", str(path), str(small)], check=True)
    oracle.expected[volume] = oracle.expected[volume][:small]
    oracle.engine.resize_volume(volume, small)
    if by == "commit":
        with pytest.raises(errors.Conflict, match="smaller"):
            oracle.engine.delete_snapshots((larger,), direction="commit")
    oracle.delete(larger, direction="pull")
    oracle.resize(volume, 2 * MIB)
    check.full(oracle.engine, oracle.expected, deep=False)


KINDS = {
    "clusters of 512": (["cluster_size=512"] * 3, ""),
    "clusters of 2 MiB": (["cluster_size=2M"] * 3, ""),
    "extended L2": (["extended_l2=on"] * 3, ""),
    "small on large": (["cluster_size=2M", "cluster_size=64k", "cluster_size=4k"], ""),
    "large on small": (["cluster_size=4k", "cluster_size=64k", "cluster_size=2M"], ""),
    "extended on plain on small": (["cluster_size=4k", "cluster_size=64k", "extended_l2=on"], ""),
    "compressed": (["cluster_size=64k"] * 3, "-c"),
    "zeros": (["cluster_size=64k"] * 3, "-z"),
    "zeros that are unmapped": (["cluster_size=64k"] * 3, "-z -u"),
    "zeros in subclusters": (["extended_l2=on"] * 3, "-z"),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {name: foreign(tmp_path_factory.mktemp("chain"), *kind) for name, kind in KINDS.items()}


def foreign(directory: Path, options: list[str], how: str) -> Path:
    """Make a chain of three images, each with data of its own, half of it over what is below, written how in part."""
    under: list[str] = []
    for number, option in enumerate(options):
        name = f"{number}.qcow2"
        line = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, *under, name, str(4 * MIB)]
        subprocess.run(line, check=True, cwd=directory)
        at = number * MIB
        pattern = "" if "-z" in how else "-P 99"
        odd = f"write -q {how} {pattern} {at + CLUSTER} {CLUSTER}"
        data = f"write -q -P {200 + number} {at + 2 * CLUSTER} {2 * MIB - 4 * CLUSTER + 4096}"
        io = ["qemu-io", "-f", "qcow2", "-c", odd, "-c", data, name]
        subprocess.run(io, check=True, cwd=directory)
        under = ["-F", "qcow2", "-b", name]
    return directory / name


UNALIKE = [kind for kind in KINDS if " on " in kind]


@pytest.mark.parametrize(
    ("kind", "by"),
    [
        *itertools.product(KINDS, ["pull"]),
        *itertools.product(["compressed", "zeros in subclusters", *UNALIKE], ["commit"]),
        *itertools.product(["extended L2", "compressed", "zeros", *UNALIKE], ["clone"]),
    ],
)
def test_foreign_images_of_every_kind_are_joined(
    disks: dict[By, Path], sources: dict[str, Path], kind: str, by: By
) -> None:
    oracle = Oracle(Engine.init(disks[by] / f"{kind} {by}"))
    volume = oracle.import_chain(sources[kind], "db")
    _, above = (s.uuid for s in oracle.engine.list_snapshots(volume))
    oracle.delete(above, direction=DIRECTIONS[by])
    check.full(oracle.engine, oracle.expected, deep=False)


@pytest.mark.parametrize("kind", UNALIKE)
def test_clusters_are_not_filled_up_from_an_image_that_was_cut_off(
    tmp_path: Path, sources: dict[str, Path], kind: str
) -> None:
    oracle = Oracle(Engine.init(tmp_path / "storage"))
    volume = oracle.import_chain(sources[kind], "db")
    below, above = (s.uuid for s in oracle.engine.list_snapshots(volume))
    image = oracle.engine.snapshot_path(below)
    whole = image.read_bytes()
    with open(image, "rb") as f:
        found = extents.read(f.fileno(), qcow2.read_header(f.fileno()))
    os.truncate(image, min(extent.host for extent in found if extent.host is not None))
    for direction in DIRECTIONS.values():
        with pytest.raises(errors.Refused, match="outside the file; was it cut off"):
            oracle.engine.delete_snapshots((above,), direction=direction)

    image.write_bytes(whole)
    check.full(oracle.engine, oracle.expected, deep=False)
