"""A volume grows in place: what is new reads zero, frozen images keep their size, whatever happens in between."""

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine import errors, intent, inventory, store
from snapengine.engine import Engine
from snapengine.inventory import VolumeRecord
from tests import images, qemu
from tests.command_line import CommandLine
from tests.oracle import CLUSTER, MIB, Oracle

ODD = MIB + 512 * 3


def tail(oracle: Oracle, volume: str) -> None:
    """Write over the last cluster of a volume, the one before it, and its last sector."""
    size = len(oracle.expected[volume])
    oracle.write(volume, size - 512, 512)
    oracle.write(volume, (size - CLUSTER) // CLUSTER * CLUSTER, CLUSTER // 2)


def test_what_is_new_reads_zero(oracle: Oracle) -> None:
    volume = oracle.volume("disk", ODD)
    tail(oracle, volume)

    oracle.resize(volume, 2 * MIB)
    oracle.check()
    tail(oracle, volume)
    oracle.check()


def test_the_size_is_rounded_up_and_the_same_is_no_change(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    assert oracle.engine.resize_volume(volume, 2 * MIB - 511).size == 2 * MIB
    path = oracle.engine.volume_path(volume)
    before = path.read_bytes(), path.with_suffix(".json").read_bytes(), path.stat().st_mtime_ns

    assert oracle.engine.resize_volume(volume, 2 * MIB - 1).size == 2 * MIB

    assert (path.read_bytes(), path.with_suffix(".json").read_bytes(), path.stat().st_mtime_ns) == before


def test_a_record_that_says_another_size_than_the_header_follows_it(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    path = oracle.engine.volume_path(volume).with_suffix(".json")
    path.write_text(path.read_text().replace(f'"size":{MIB}', f'"size":{2 * MIB}'))
    assert oracle.engine.verify() != ()

    assert oracle.engine.resize_volume(volume, MIB).size == MIB

    oracle.check()


VERBS: dict[str, Callable[[Oracle, str, str], object]] = {
    "resize": lambda o, v, base: o.resize(v, len(o.expected[v]) + MIB // 2 + 512),
    "snapshot": lambda o, v, base: o.create(v, "new"),
    "revert": lambda o, v, base: o.revert(base),
    "delete": lambda o, v, base: _delete(o, v, base),
}


def _delete(oracle: Oracle, volume: str, base: str) -> None:
    """Delete the newest snapshot but the one called base, or take back that."""
    newest = [s.uuid for s in oracle.engine.list_snapshots(volume) if s.uuid != base][-1:]
    if newest:
        oracle.delete(newest[0])


@pytest.mark.parametrize("order", list(itertools.permutations(VERBS)), ids=" ".join)
def test_resize_and_snapshot_and_revert_and_delete_go_in_every_order(oracle: Oracle, order: tuple[str, ...]) -> None:
    volume = oracle.volume("disk", ODD)
    tail(oracle, volume)
    base = oracle.create(volume, "base").uuid
    tail(oracle, volume)
    oracle.resize(volume, ODD + 3 * 512)
    oracle.create(volume, "larger")
    tail(oracle, volume)
    oracle.resize(volume, 2 * MIB)

    for name in order:
        VERBS[name](oracle, volume, base)
        tail(oracle, volume)
    oracle.check()


def test_a_revert_across_a_resize_goes_back_and_forward(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    tail(oracle, volume)
    small = oracle.create(volume, "small").uuid
    oracle.resize(volume, 3 * MIB)
    tail(oracle, volume)
    large = oracle.create(volume, "large").uuid
    tail(oracle, volume)

    item = oracle.revert(small)
    assert oracle.engine.get_volume(volume).size == MIB
    oracle.resize(volume, 2 * MIB)
    oracle.check()
    oracle.revert(large)
    assert oracle.engine.get_volume(volume).size == 3 * MIB
    oracle.check()
    assert item is not None
    oracle.restore(item)
    oracle.check()


def test_old_data_of_a_larger_layer_below_stays_hidden(oracle: Oracle, tmp_path: Path) -> None:
    volume = oracle.volume("disk", 2 * MIB)
    oracle.write(volume, 0, 2 * MIB)
    oracle.create(volume, "larger")
    path = oracle.engine.volume_path(volume)
    subprocess.run(["qemu-img", "resize", "-q", "--shrink", "-f", "qcow2", str(path), str(MIB)], check=True)
    oracle.expected[volume] = oracle.expected[volume][:MIB]

    oracle.resize(volume, 2 * MIB)

    oracle.check()


def test_an_image_of_small_clusters_gets_a_larger_table(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    path = oracle.engine.volume_path(volume)
    path.unlink()
    create = ("qemu-img", "create", "-q", "-f", "qcow2", "-o", "cluster_size=512")
    subprocess.run([*create, str(path), str(MIB)], check=True)
    tail(oracle, volume)

    oracle.resize(volume, 5 * MIB)
    tail(oracle, volume)
    oracle.check()

    with pytest.raises(errors.Invalid, match="has clusters of 512 bytes and can't be larger than"):
        oracle.engine.resize_volume(volume, 2**40)
    oracle.check()


def test_less_is_refused(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    run = CommandLine(oracle.engine.root)

    said = run.error(2, "volume", "resize", "disk", "512K")

    assert said == (
        f"volume {volume} (disk) has 1 MiB (1048576 bytes) and can't shrink to 512 KiB (524288 bytes); "
        "give more, or make a new volume and copy the data"
    )
    oracle.check()


def test_a_running_vm_is_in_the_way(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)

    with qemu.running(oracle.engine.volume_path(volume)), pytest.raises(errors.InUse, match="shut the VM down first"):
        oracle.engine.resize_volume(volume, 2 * MIB)

    oracle.check()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("disk", "0"), 2, "out of range"),
        (("disk", "3P"), 2, "out of range"),
        (("disk", "much"), 2, "much"),
        (("disk",), 2, "SIZE"),
        (("other", "2M"), 3, "volume list"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_bad_size_or_volume_is_refused(oracle: Oracle, words: tuple[str, ...], code: int, says: str) -> None:
    oracle.volume("disk", MIB)

    assert says in CommandLine(oracle.engine.root).error(code, "volume", "resize", *words)
    oracle.check()


def test_the_command_line_shows_the_grown_volume(oracle: Oracle) -> None:
    oracle.volume("disk", MIB)

    assert CommandLine(oracle.engine.root).json("volume", "resize", "disk", "2M")["size"] == 2 * MIB


def bitmaps(path: Path) -> dict[str, list[str]]:
    return {bitmap.name: bitmap.flags for bitmap in images.Images().facts(path).info.bitmaps}


def add_bitmap(path: Path, name: str = "backup") -> None:
    subprocess.run(["qemu-img", "bitmap", "--add", "-f", "qcow2", "-g", "64k", str(path), name], check=True)


def test_a_dirty_bitmap_goes_on_recording_in_what_is_new(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    path = oracle.engine.volume_path(volume)
    add_bitmap(path)

    oracle.resize(volume, 2 * MIB)
    oracle.write(volume, 2 * MIB - CLUSTER)

    assert bitmaps(path) == {"backup": ["auto"]}
    oracle.check()
    oracle.create(volume, "next")
    assert bitmaps(path) == {"backup": ["auto"]}
    oracle.check()


def test_an_inconsistent_bitmap_is_named_with_the_way_out(oracle: Oracle) -> None:
    volume = oracle.volume("disk", MIB)
    path = oracle.engine.volume_path(volume)
    add_bitmap(path)
    images.leave_bitmaps_in_use(path)

    with pytest.raises(errors.Conflict, match="inconsistent dirty bitmap 'backup'.* remove it with ") as e:
        oracle.engine.resize_volume(volume, 2 * MIB)

    subprocess.run(["sh", "-c", str(e.value).split("'")[-2]], check=True)
    oracle.engine.resize_volume(volume, 2 * MIB)


@pytest.mark.parametrize("size", [MIB, 2 * MIB], ids=["undone", "finished"])
def test_a_bitmap_that_a_killed_resize_cost_is_named_as_broken(oracle: Oracle, size: int) -> None:
    volume = oracle.volume("disk", MIB)
    engine, path = oracle.engine, oracle.engine.volume_path(volume)
    add_bitmap(path)
    entry = intent.Entry(
        uuid="0" * 32, verb="resize volume", volume_uuid=volume, directory=str(path.parent.relative_to(engine.root)),
        pid=1, started=store.now(), schema_version=1, resized=path.name, size=2 * MIB, bitmaps=("backup",),
    )  # fmt: skip
    (engine.root / "journal" / f"{entry.uuid}.json").write_bytes(inventory.encode(entry))
    if size > MIB:
        subprocess.run(["qemu-img", "resize", "-q", "-f", "qcow2", str(path), str(size)], check=True)
    images.leave_bitmaps_in_use(path)

    assert [found.outcome for found in Engine.open(engine.root).recovered] == ["finished" if size > MIB else "undone"]

    record = inventory.decode(path.with_suffix(".json").read_bytes(), VolumeRecord, path)
    assert record.broken_bitmaps == ("backup",)
    assert bitmaps(path) == {}
    engine.resize_volume(volume, 3 * MIB)
    assert engine.verify(deep=True) == ()
