"""Long stories about snapshot chains, each with the full check after every step, on both kinds of file systems."""

import itertools
import multiprocessing
import random
import subprocess
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from snapengine import errors
from snapengine.engine import Engine
from snapengine.inventory import VolumeType
from tests import check, images, prepared
from tests.crash import state
from tests.oracle import CLUSTER, MIB, Oracle
from tests.prepared import BY, DIRECTIONS, By, Stores

PROCESSES, ROUNDS = 4, 25
Line = tuple[str, list[str]]
_numbers = itertools.count()


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[By, Path]]:
    """Return a file system without reflinks, and one with them: a delete there is by clone."""
    with prepared.disks(tmp_path_factory) as found:
        yield found


@pytest.fixture(scope="module")
def lines(disks: dict[By, Path]) -> Stores[Line]:
    """Return stores with a line of 22 snapshots."""
    return Stores(disks, long_line)


@pytest.fixture
def by() -> By:
    """Return by which way deletes are, unless a test says so itself."""
    return "pull"


@pytest.fixture
def oracle(by: By, disks: dict[By, Path]) -> Oracle:
    """Return an engine on the disk on which deletes are by this way."""
    return Oracle(Engine.init(disks[by] / f"storage-{next(_numbers)}", depth_limit=119))


def checked(oracle: Oracle, depth: int | None = None) -> None:
    """Do the full check; the engine's own `verify --deep` would only run qemu-img check once more."""
    check.full(oracle.engine, oracle.expected, depth=depth, deep=False)


def line(oracle: Oracle, count: int, type: VolumeType = "Data") -> Line:
    """Return a volume and its snapshots, one on the other; each layer overlaps half of the one below."""
    volume, made = oracle.volume("disk", MIB, type), []
    for number in range(count):
        oracle.write(volume, number % 15 * CLUSTER, CLUSTER + CLUSTER // 2)
        made.append(oracle.create(volume, f"s{number}").uuid)
    oracle.write(volume, count % 15 * CLUSTER)
    return volume, made


def long_line(oracle: Oracle) -> Line:
    """Return a volume and 22 snapshots of it."""
    return line(oracle, 22)


@pytest.mark.parametrize(
    ("type", "vm", "by"), [("Root", "web", "pull"), ("Data", None, "pull"), ("Data", "web", "clone")]
)
def test_three_snapshots_are_reverted_to_in_turn_and_deleted_in_turn(
    oracle: Oracle, type: VolumeType, vm: str | None, by: By
) -> None:
    """Scenario 1."""
    volume, made = line(oracle, 3, type)
    if vm is not None:
        oracle.engine.attach_volume(volume, vm)
    for snapshot in made:
        oracle.revert(snapshot)
        checked(oracle)
        oracle.write(volume, 9 * CLUSTER)
    for snapshot in made:
        oracle.delete(snapshot, direction=DIRECTIONS[by])
        checked(oracle)


@BY
def test_the_snapshot_just_reverted_to_can_go_and_the_next_one_be_made(oracle: Oracle, by: By) -> None:
    """Scenario 2."""
    volume, (first, second, third) = line(oracle, 3)
    oracle.revert(third)
    oracle.purge()
    oracle.delete(third, direction=DIRECTIONS[by])
    checked(oracle)
    assert oracle.create(volume, "next").parent_uuid == second
    oracle.revert(second)
    oracle.delete(first, second)
    checked(oracle)
    assert oracle.create(volume, "origin").parent_uuid is None
    checked(oracle)


BATCHES = {
    "the ends": [0, 21],
    "runs at both ends": [0, 1, 2, 19, 20, 21],
    "the middle": [9, 10, 11, 12],
    "two neighbours and one apart": [4, 5, 15],
    "every other one": [*range(0, 22, 2)],
    "all but the first": [*range(1, 22)],
    "all but the last": [*range(21)],
    "all but one in the middle": [*range(11), *range(12, 22)],
    "all": [*range(22)],
}


@pytest.mark.parametrize(("batch", "by"), [*itertools.product(BATCHES, ["pull", "clone"]), ("the middle", "commit")])
def test_a_batch_of_twenty_two_leaves_the_volume_and_the_others_as_they_were(
    lines: Stores[Line], batch: str, by: By
) -> None:
    """Scenario 4."""
    oracle, (volume, made) = lines.copy(by)
    oracle.delete(*(made[number] for number in BATCHES[batch]), direction=DIRECTIONS[by])
    oracle.create(volume, "next")
    oracle.revert(oracle.engine.list_snapshots(volume)[0].uuid)
    checked(oracle)


@BY
def test_batches_one_after_the_other_leave_what_they_should(lines: Stores[Line], by: By) -> None:
    """Scenario 4: each time something else of what is left."""
    oracle, (volume, made) = lines.copy(by)
    choice = random.Random(by)
    while len(made) > 1:
        gone = choice.sample(made, min(len(made), choice.randrange(3, 9)))
        oracle.delete(*gone, direction=DIRECTIONS[by])
        made = [uuid for uuid in made if uuid not in gone]
        checked(oracle)
        oracle.write(volume, choice.randrange(15) * CLUSTER, CLUSTER)


def work(root: Path, snapshots: list[str], seed: int) -> Counter[str]:
    """Delete or revert to one of snapshots at random, over and over; returns how often each was done, or refused."""
    engine, choice, done = Engine.open(root), random.Random(seed), Counter[str]()
    for _ in range(ROUNDS):
        target = choice.choice(snapshots)
        try:
            if choice.random() < 0.4:
                (result,) = engine.delete_snapshots((target,))
                assert result.success, result
                done["delete"] += 1
            else:
                engine.revert(target)
                done["revert"] += 1
        except (errors.NotFound, errors.Busy) as e:
            done[type(e).__name__] += 1
    return done


@pytest.mark.parametrize("by", ["pull", "clone"])
def test_deletes_and_reverts_at_once_leave_each_survivor_with_its_file_and_chain(oracle: Oracle, by: By) -> None:
    """Scenario 5: whatever is raised but "gone" and "busy" comes out of the workers and fails the test."""
    volume, made = line(oracle, 8)
    for number in range(8):
        oracle.revert(made[number])
        oracle.write(volume, number * CLUSTER)
        made.append(oracle.create(volume, f"branch {number}").uuid)
        oracle.write(volume, number * CLUSTER + 512, 512)
    known = {images.sha(content) for content in oracle.expected.values()}

    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("forkserver")) as pool:
        jobs = [pool.submit(work, oracle.engine.root, made, seed) for seed in range(PROCESSES)]
        total = sum((job.result() for job in jobs), Counter[str]())

    assert total.total() == PROCESSES * ROUNDS and total["delete"] and total["revert"]
    contents = state.contents(oracle.engine)
    assert set(contents.values()) <= known, "something has a content that nobody wrote"
    lasting = {uuid: oracle.expected[uuid] for uuid in made if uuid in contents}
    assert set(lasting) == {snapshot.uuid for snapshot in oracle.engine.list_snapshots()}
    check.full(oracle.engine, {**contents, **lasting})


@pytest.mark.parametrize("by", ["pull", "clone"])
def test_depth_three_with_many_branches_reverts_and_deletes_across_trees(oracle: Oracle, by: By) -> None:
    """Scenario 6."""
    oracle.engine.set_depth_limit(3)
    volume, choice, made = oracle.volume(), random.Random(6), list[str]()
    for number in range(21):
        if made and number % 3 < 2:
            oracle.revert(made[choice.randrange(len(made))])
        oracle.write(volume, number % 16 * CLUSTER, CLUSTER // 2)
        made.append(oracle.create(volume, f"s{number}").uuid)
    parents = {snapshot.parent_uuid for snapshot in oracle.engine.list_snapshots(volume)}
    assert len(set(made) - parents) + 1 > 10 and len(oracle.engine.snapshot_trees(volume)) > 2
    oracle.purge()
    checked(oracle)
    while made:
        gone = choice.sample(made, min(len(made), choice.randrange(2, 6)))
        oracle.delete(*gone)
        made = [uuid for uuid in made if uuid not in gone]
        if made:
            oracle.write(volume, choice.randrange(16) * CLUSTER)
            oracle.revert(choice.choice(made))
        checked(oracle)


def test_the_limit_changes_while_snapshots_come_and_go(oracle: Oracle) -> None:
    """Scenario 7, with deletes, which make chains shorter."""
    volume, made = line(oracle, 5)
    oracle.engine.set_depth_limit(3)
    oracle.delete(*made[1:4])
    assert oracle.create(volume, "third").distance == 3, "the chain is short enough again"
    oracle.write(volume, 2 * CLUSTER)
    assert oracle.create(volume, "full").distance == 1
    oracle.engine.add_tag(volume, "volumeMaxIncrementalSnapshotNum::2")
    assert [oracle.create(volume, name).distance for name in ("two", "full again")] == [2, 1]
    oracle.delete(*(s.uuid for s in oracle.engine.list_snapshots(volume) if s.name.startswith("full")))
    checked(oracle, 5)
    oracle.engine.remove_tag(volume, "volumeMaxIncrementalSnapshotNum::2")
    oracle.engine.set_depth_limit(119)
    oracle.create(volume, "last")
    checked(oracle, 119)


def test_a_copy_outlives_its_source_and_a_linked_clone_keeps_it(oracle: Oracle) -> None:
    """Scenario 8."""
    volume, (first, second) = line(oracle, 2)
    copy, linked = oracle.clone(second, "copy"), oracle.clone(second, "linked", linked=True)
    oracle.write(linked, 5 * CLUSTER)
    own = oracle.create(linked, "on the clone").uuid
    oracle.delete(first)
    checked(oracle)
    with pytest.raises(errors.Conflict, match="base of linked clones"):
        oracle.delete(second)
    with pytest.raises(errors.Conflict, match="base of linked clones"):
        oracle.delete_volumes(volume)
    checked(oracle)
    oracle.flatten(linked)
    oracle.delete(own)
    oracle.purge()
    checked(oracle)
    oracle.delete(second)
    oracle.delete_volumes(volume)
    oracle.expunge_volume(volume)
    checked(oracle)
    assert {found.uuid for found in oracle.engine.list_volumes()} == {copy, linked}


@pytest.mark.parametrize("which", [[0], [1], [0, 1, 2]], ids=str)
@BY
def test_deletes_across_a_change_of_size(oracle: Oracle, which: list[int], by: By) -> None:
    """Scenario 9: back to the small one and forward again, then what lies on both sides of the change goes."""
    volume = oracle.volume("disk", MIB - 512)
    oracle.write(volume, MIB - 1024, 512)
    small = oracle.create(volume, "small").uuid
    for size in (MIB + 512, 2 * MIB):
        oracle.resize(volume, size)
        oracle.write(volume, size - 2048, 2048)
        large = oracle.create(volume, f"of {size}").uuid
    oracle.revert(small)
    assert oracle.engine.get_volume(volume).size == MIB - 512
    checked(oracle)
    oracle.revert(large)
    assert oracle.engine.get_volume(volume).size == 2 * MIB
    made = [snapshot.uuid for snapshot in oracle.engine.list_snapshots(volume)]
    oracle.delete(*(made[number] for number in which), direction=DIRECTIONS[by])
    checked(oracle)
    for snapshot in [uuid for uuid in made if uuid in oracle.expected]:
        oracle.revert(snapshot)
        checked(oracle)


def test_a_group_lives_through_deletes_detaches_and_reverts(oracle: Oracle) -> None:
    """Scenario 10."""
    engine = oracle.engine
    volumes = [oracle.volume(name) for name in ("system", "files", "more")]

    def group(name: str) -> str:
        for number, volume in enumerate(volumes):
            oracle.write(volume, number * CLUSTER)
        return oracle.create_group(name, vm="web").uuid

    def reason(group: str) -> str:
        return engine.groups_available((group,))[0].reason

    for volume in volumes[:2]:
        engine.attach_volume(volume, "web")
    first, second = group("first"), group("second")
    oracle.delete(engine.get_group(first).volume_snapshot_refs[1].volume_snapshot_uuid)
    assert "was deleted" in reason(first) and reason(second) == ""
    engine.detach_volume(volumes[1])
    engine.attach_volume(volumes[2], "web")
    assert "was detached" in reason(second) and "attached to the VM since" in reason(second)
    checked(oracle)
    engine.detach_volume(volumes[2])
    engine.attach_volume(volumes[1], "web")
    for _ in range(2):
        oracle.revert_group(second)
        checked(oracle)
        oracle.write(volumes[0], 8 * CLUSTER)
    third = group("third")
    engine.ungroup(second)
    checked(oracle)
    assert oracle.delete_group(third) == [True, True]
    assert oracle.delete_group(first) == [True, True]
    checked(oracle)
    assert engine.list_groups() == ()


SHAPES = ["cluster_size=512", "cluster_size=2M", "extended_l2=on,cluster_size=128k", "compression_type=zstd"]
ODD = 2 * MIB + 3 * 512
LAYERS = (  # what a guest does to each layer, the lowest first, at any place but a cluster's border
    ["write -P 1 0 2M", "write -z 256k 128k", "write -P 2 2097152 1536"],
    ["write -P 3 1000448 66048", "discard 128k 128k", "write -z 2097152 512"],
    ["write -P 4 300544 512", "write -z 1M 128k", "write -P 5 2098176 512"],
    ["write -P 6 66048 1024", "discard 0 64k"],
)


def shaped(directory: Path, shapes: list[str]) -> Path:
    """Make a chain of images, each of its own shape; one is compressed in a part. Returns the top."""
    directory.mkdir()
    under: list[str] = []
    for number, (shape, steps) in enumerate(zip(shapes, LAYERS, strict=True)):
        name = f"layer{number}.qcow2"
        line = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", shape, *under, name, str(ODD)]
        subprocess.run(line, check=True, cwd=directory)
        packed = ["write -c -P 9 1280k 64k"] if shape.startswith("compression") else []
        words = [word for step in [*packed, *steps] for word in ("-c", step)]
        subprocess.run(["qemu-io", "-f", "qcow2", *words, name], check=True, cwd=directory, stdout=-3)
        under = ["-F", "qcow2", "-b", name]
    return directory / name


@pytest.mark.parametrize("start", range(len(SHAPES)))
@BY
def test_layers_of_all_shapes_are_joined_cloned_shrunk_and_flattened(
    oracle: Oracle, tmp_path: Path, start: int, by: By
) -> None:
    """Scenario 11."""
    top = shaped(tmp_path / "chain", SHAPES[start:] + SHAPES[:start])
    subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", str(top), "backup"], check=True)
    volume = oracle.import_chain(top)
    made = sorted(oracle.engine.list_snapshots(volume), key=lambda snapshot: snapshot.distance)
    oracle.write(volume, 70 * 512, 700 * 512)
    checked(oracle)
    oracle.shrink(made[1].uuid)
    oracle.clone(made[2].uuid, "copy")
    checked(oracle)
    oracle.delete(made[1].uuid, direction=DIRECTIONS[by])
    checked(oracle)
    oracle.delete(made[0].uuid, made[2].uuid, direction=DIRECTIONS[by])
    checked(oracle)
    oracle.create(volume, "next")
    oracle.punch(volume, ODD - 1024, 1024)
    oracle.flatten(volume)
    checked(oracle)
