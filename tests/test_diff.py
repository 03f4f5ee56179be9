"""What changed between two snapshots: every byte that differs must be told, judged by qemu-img's copies of both."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snapengine import errors, lock, records, spans
from snapengine.diff import Diff, differing
from snapengine.engine import Engine
from snapengine.spans import Spans
from snapengine.visible import View
from tests import qemu
from tests.command_line import CommandLine
from tests.oracle import poke

CLUSTER = 65536
SIZE = 32 * CLUSTER


def change(path: Path, *steps: str) -> None:
    """Do to the image at path what a guest does."""
    commands = (word for step in steps for word in ("-c", step))
    done = subprocess.run(["qemu-io", "-f", "qcow2", *commands, path], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


def content(path: Path) -> bytes:
    target = path.parent.parent / "copy.raw"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, target], check=True, timeout=60)
    try:
        return target.read_bytes()
    finally:
        target.unlink()


def sectors(one: bytes, two: bytes) -> Spans:
    """Return the sectors in which two contents differ; what is shorter ends in zeros."""
    end = max(len(one), len(two))
    one, two = one.ljust(end, b"\0"), two.ljust(end, b"\0")
    return spans.union((at, at + 512) for at in range(0, end, 512) if one[at : at + 512] != two[at : at + 512])


def told(found: Diff) -> Spans:
    return spans.union((extent.start, extent.start + extent.length) for extent in found.extents)


def judge(engine: Engine, first: str, second: str | None, contents: dict[str, bytes], volume: str) -> None:
    """Assert that a diff and an exact one tell what differs."""
    one, two = contents[first], contents[second or volume]
    right = sectors(one, two)
    found = engine.diff_snapshots(first, second)
    exact = engine.diff_snapshots(first, second, exact=True)

    assert spans.minus(right, told(found)) == ()
    assert told(exact) == right
    for answer in (found, exact):
        assert answer.bytes == spans.total(told(answer)) == sum(extent.length for extent in answer.extents)
        assert list(answer.extents) == sorted(answer.extents, key=lambda extent: extent.start)
        for extent in answer.extents:
            held = two[extent.start : extent.start + extent.length]
            assert not extent.zero or not any(held)
    for extent in exact.extents:
        held = two[extent.start : extent.start + extent.length].ljust(extent.length, b"\0")
        assert extent.zero or all(any(held[at : at + 512]) for at in range(0, extent.length, 512))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write -P 1", "write -P 2", "write -P 3", "write -z", "write -z -u", "discard"]),
        st.integers(0, SIZE // 512 - 1),
        st.integers(1, 3 * CLUSTER // 512),
    ),
    max_size=3,
)
VERBS = st.tuples(st.sampled_from(["create", "create", "revert", "resize"]), st.integers(0, 99), STEPS)


@settings(max_examples=12, deadline=None)
@given(verbs=st.lists(VERBS, min_size=2, max_size=7), size=st.sampled_from([SIZE // 2, SIZE]))
def test_no_changed_byte_is_missed_on_any_branch_and_across_sizes(
    verbs: list[tuple[str, int, list[tuple[str, int, int]]]], size: int
) -> None:
    with TemporaryDirectory() as directory:
        engine = Engine.init(directory)
        volume = engine.create_volume("db", size).uuid
        path = engine.volume_path(volume)
        made: list[str] = []
        for verb, number, steps in verbs:
            if verb == "create":
                made.append(engine.create_snapshot(volume, f"s{len(made)}").uuid)
            elif verb == "revert" and made:
                engine.revert(made[number % len(made)])
            elif verb == "resize":
                grown = max(_size(path), 512 * (number % (SIZE // 512) + 1))
                subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", path, str(grown)], check=True)
            room = _size(path)
            done = [f"{word} {512 * at} {min(512 * n, room - 512 * at)}" for word, at, n in steps if 512 * at < room]
            if done:
                change(path, *done)
        contents = {uuid: content(engine.snapshot_path(uuid)) for uuid in made} | {volume: content(path)}
        for first in made:
            for second in (*made, None):
                judge(engine, first, second, contents, volume)


def _size(path: Path) -> int:
    with open(path, "rb") as f:
        f.seek(24)
        return int.from_bytes(f.read(8), "big")


def extents(found: Diff) -> list[tuple[int, int, bool]]:
    return [(extent.start // CLUSTER, extent.length // CLUSTER, extent.zero) for extent in found.extents]


def test_a_diff_tells_clusters_and_which_are_zero(engine: Engine) -> None:
    volume = engine.create_volume("db", SIZE).uuid
    path = engine.volume_path(volume)
    change(path, f"write -P 1 0 {8 * CLUSTER}")
    first = engine.create_snapshot(volume, "first").uuid
    change(path, f"write -P 2 {CLUSTER} 512", f"write -z {4 * CLUSTER} {2 * CLUSTER}", f"write -P 3 {20 * CLUSTER} 512")
    change(path, f"write -z {24 * CLUSTER} {CLUSTER}")
    second = engine.create_snapshot(volume, "second").uuid

    assert extents(engine.diff_snapshots(first, second)) == [(1, 1, False), (4, 2, True), (20, 1, False)]
    assert extents(engine.diff_snapshots(second, first)) == [(1, 1, False), (4, 2, False), (20, 1, True)]
    assert engine.diff_snapshots(first) == engine.diff_snapshots(first, second)
    assert engine.diff_snapshots(second) == engine.diff_snapshots(first, first) == Diff(extents=(), bytes=0)
    found = engine.diff_snapshots(first, second, exact=True)
    assert [(e.start, e.length, e.zero) for e in found.extents] == [
        (CLUSTER, 512, False), (4 * CLUSTER, 2 * CLUSTER, True), (20 * CLUSTER, 512, False)
    ]  # fmt: skip


def test_trees_without_a_common_layer_are_compared_whole(engine: Engine) -> None:
    engine.set_depth_limit(2)
    volume = engine.create_volume("db", SIZE).uuid
    made = []
    for number in range(4):
        poke(engine.volume_path(volume), number + 1, number * CLUSTER)
        made.append(engine.create_snapshot(volume, f"s{number}").uuid)
    contents = {uuid: content(engine.snapshot_path(uuid)) for uuid in made}

    assert len({engine.get_snapshot(uuid).tree_uuid for uuid in made}) > 1
    for first in made:
        for second in made:
            judge(engine, first, second, contents, volume)
    assert extents(engine.diff_snapshots(made[0], made[3])) == [(0, 4, False)]


def test_snapshots_of_different_volumes_are_refused(engine: Engine) -> None:
    volumes = [engine.create_volume(name, SIZE).uuid for name in ("db", "web")]
    first, second = (engine.create_snapshot(volume, "s").uuid for volume in volumes)

    with pytest.raises(errors.Invalid, match="different volumes, ") as caught:
        engine.diff_snapshots(first, second)
    db, web = volumes
    told = f"the snapshots are of different volumes, {db} (db) and {web} (web); give two of one volume"
    assert str(caught.value) == told
    with pytest.raises(errors.NotFound):
        engine.diff_snapshots(first, volumes[0])


def test_no_data_is_read_without_exact(engine: Engine) -> None:
    volume = engine.create_volume("db", SIZE).uuid
    first = engine.create_snapshot(volume, "first").uuid
    change(engine.volume_path(volume), f"write -c -P 5 0 {CLUSTER}")
    second = engine.create_snapshot(volume, "second")
    with open(second.primary_storage_install_path, "r+b") as f:
        f.seek(0, 2)
        f.truncate(f.tell() // CLUSTER * CLUSTER + 8)  # of what is packed nothing is left

    assert extents(engine.diff_snapshots(first, second.uuid)) == [(0, 1, False)]
    with pytest.raises(errors.Refused, match="compressed"):
        engine.diff_snapshots(first, second.uuid, exact=True)


def test_a_volume_that_a_vm_uses_is_not_compared_but_its_snapshots_are(engine: Engine) -> None:
    volume = engine.create_volume("db", SIZE).uuid
    first = engine.create_snapshot(volume, "first").uuid
    with qemu.running(engine.volume_path(volume)):
        with pytest.raises(errors.InUse):
            engine.diff_snapshots(first)
        assert engine.diff_snapshots(first, first).bytes == 0
        assert engine.snapshot_sizes(first).chain_size > 0


def test_a_diff_waits_for_an_operation_and_not_for_who_reads(engine: Engine) -> None:
    volume = engine.create_volume("db", SIZE).uuid
    first = engine.create_snapshot(volume, "first").uuid
    engine.wait = 0.05
    directory = engine.volume_path(volume).parent.parent
    with lock.shared(directory, "test"):
        engine.diff_snapshots(first)
        engine.snapshot_sizes(first)
    with lock.exclusive(directory, "test"):
        for verb in (engine.diff_snapshots, engine.snapshot_sizes):
            with pytest.raises(errors.Locked):
                verb(first)


PARTS = st.lists(st.sampled_from(["data", "zero", "below"]), min_size=12, max_size=12)


def view_of(parts: list[str]) -> View:
    return View(*(spans.union((n, n + 1) for n, part in enumerate(parts) if part == k) for k in View._fields))


@given(old=PARTS, new=PARTS, holes=st.sets(st.integers(0, 11)))
def test_what_both_know_as_zero_is_left_out_and_nothing_else(old: list[str], new: list[str], holes: set[int]) -> None:
    data, zero = differing(view_of(old), view_of(new), lambda: spans.union((n, n + 1) for n in holes))

    def known(part: str, number: int) -> str:
        return "zero" if part == "below" and number in holes else part

    for number, (one, two) in enumerate(zip(old, new, strict=True)):
        same = one == two == "below" or known(one, number) == known(two, number) == "zero"
        expected = None if same else known(two, number) == "zero"
        here = [(number, number + 1)]
        got = [flag for flag, found in ((False, data), (True, zero)) if spans.intersection(found, here)]
        assert got == ([] if expected is None else [expected])


def test_the_layers_below_are_asked_only_where_it_matters() -> None:
    def never() -> Spans:
        raise AssertionError("they were asked")

    below = View((), (), ((0, 9),))
    assert differing(below, View(((0, 1),), (), ((1, 9),)), never) == (((0, 1),), ())


def test_the_command_shows_extents(engine: Engine) -> None:
    run = CommandLine(engine.root)
    volume = engine.create_volume("db", SIZE).uuid
    poke(engine.volume_path(volume), 1, 0, CLUSTER)
    engine.create_snapshot(volume, "first")
    poke(engine.volume_path(volume), 2, 512, 512)
    engine.create_snapshot(volume, "second")

    whole = {"extents": [{"start": 0, "length": CLUSTER, "zero": False}], "bytes": CLUSTER}
    assert run.json("snapshot", "diff", "first", "second") == run.json("snapshot", "diff", "db/first") == whole
    exact = {"extents": [{"start": 512, "length": 512, "zero": False}], "bytes": 512}
    assert run.json("snapshot", "diff", "first", "second", "--exact") == exact
    assert run.json("snapshot", "diff", "second") == {"extents": [], "bytes": 0}
    assert run.text("snapshot", "diff", "first").split() == [
        "START", "LENGTH", "ZERO", "0", "65536", "no", "64", "KiB", "may", "differ"
    ]  # fmt: skip
    assert run.text("snapshot", "diff", "first", "--exact").endswith("512 B differ\n")
    assert run.text("snapshot", "diff", "second") == "nothing differs\n"


def test_the_command_refuses_bad_input(engine: Engine) -> None:
    run = CommandLine(engine.root)
    for name in ("db", "web"):
        engine.create_snapshot(engine.create_volume(name, SIZE).uuid, f"of-{name}")

    assert "different volumes" in run.error(2, "snapshot", "diff", "of-db", "of-web")
    assert "'db' is a volume: leave OTHER out" in run.error(2, "snapshot", "diff", "of-db", "db")
    assert "nothing" in run.error(3, "snapshot", "diff", "of-db", "nothing")
    assert "nothing" in run.error(3, "snapshot", "diff", "nothing")
    run.error(2, "snapshot", "diff")


@pytest.mark.parametrize("is_exact", [False, True], ids=["by tables", "exact"])
def test_a_damaged_image_is_refused(engine: Engine, is_exact: bool) -> None:
    volume = engine.create_volume("db", SIZE).uuid
    first = engine.create_snapshot(volume, "first").uuid
    poke(engine.volume_path(volume), 1)
    second = engine.create_snapshot(volume, "second").uuid
    with open(engine.snapshot_path(second), "r+b") as f:
        f.seek(40)
        f.seek(int.from_bytes(f.read(8), "big"))
        f.write(b"\x80\0\0\0\0\0\1\1")

    with pytest.raises(errors.Refused, match="reserved bits"):
        engine.diff_snapshots(first, second, exact=is_exact)
    assert records.read_snapshot(engine.snapshot_path(second).parent, second).status == "Ready"
