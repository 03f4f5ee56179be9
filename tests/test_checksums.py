"""Checksums: a frozen image that changes is found and named; verbs that rewrite one on purpose raise no alarm."""

import hashlib
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from snapengine import checksums, errors, inventory, records
from snapengine.engine import Engine
from tests import prepared, privileged
from tests.command_line import CommandLine
from tests.crash import strace
from tests.crash.strace import Kill, Point
from tests.oracle import CLUSTER, Oracle
from tests.prepared import Prepared
from tests.qcow2_forge import set_refcount

UNITS = Path(__file__).parents[1] / "systemd"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    store = prepared.make(tmp_path_factory.mktemp("checksums") / "storage")
    store.oracle.create(store.volume, "third")
    store.oracle.write(store.volume)
    store.oracle.create(store.volume, "fourth")
    noted(store.engine)
    return store


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


def noted(engine: Engine) -> None:
    for snapshot in engine.list_snapshots():
        engine.checksum_snapshot(snapshot.uuid)


def kept(store: Prepared, uuid: str) -> str | None:
    return records.read_snapshot(store.directory, uuid).checksum


def flip(path: Path, at: int) -> None:
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("at", [0, -1], ids=["in the data", "in the last byte"])
def test_a_bit_that_flips_in_a_frozen_image_is_found_and_the_image_is_named(store: Prepared, at: int) -> None:
    image = store.image(store.first)
    flip(image, image.read_bytes().index(b"\1" * CLUSTER) if at == 0 else image.stat().st_size - 1)
    assert store.engine.verify() == ()
    (found,) = store.engine.verify(deep=True)
    assert (found.kind, found.object, found.path) == ("content-changed", store.first, str(image))
    assert store.engine.repair().left[0].kind == "content-changed"


def test_a_checksum_is_what_sha256sum_gives_and_stays_what_it_was(store: Prepared) -> None:
    whole = "sha256:" + hashlib.sha256(store.image(store.first).read_bytes()).hexdigest()
    assert store.engine.checksum_snapshot(store.first).checksum == whole == kept(store, store.first)
    store.engine.update_snapshot(store.first, name="renamed")
    store.oracle.write(store.volume)
    store.oracle.create(store.volume, "more")
    store.oracle.revert(store.second)
    assert kept(store, store.first) == whole
    store.oracle.check()


def repaired(store: Prepared) -> None:
    """Have a frozen image, of which nobody took a checksum yet, mended."""
    set_refcount(store.image(store.second), 9, 1)
    store.edit(store.second, checksum=None)
    store.engine.checksum_snapshot(store.second)
    assert len(store.engine.repair().repaired) == 1
    assert kept(store, store.second) is None


REWRITES: dict[str, Callable[[Prepared], object]] = {
    "delete by pull": lambda s: s.oracle.delete(s.first, direction="pull"),
    "delete by commit": lambda s: s.oracle.delete(s.engine.find_snapshot("third"), direction="commit"),
    "undo": lambda s: s.oracle.undo(s.volume),
    "shrink": lambda s: [s.oracle.shrink(each.uuid) for each in s.engine.list_snapshots()],
    "repair": lambda s: repaired(s),
}


@pytest.mark.parametrize("how", REWRITES)
def test_a_verb_that_rewrites_a_frozen_image_raises_no_alarm(store: Prepared, how: str) -> None:
    REWRITES[how](store)
    store.oracle.check()
    noted(store.engine)
    assert store.engine.verify(deep=True) == ()
    assert None not in {kept(store, each.uuid) for each in store.engine.list_snapshots()}


def test_a_merge_on_a_clone_raises_no_alarm(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path, 512) as disk:
        oracle = Oracle(Engine.init(disk / "storage"))
        volume = oracle.volume()
        names = []
        for at in range(3):
            oracle.write(volume, at * CLUSTER)
            names.append(oracle.create(volume, f"s{at}").uuid)
        noted(oracle.engine)
        prepared.delete(oracle, "clone", names[1])
        oracle.check()


def test_a_pull_that_is_cut_off_raises_no_alarm(store: Prepared) -> None:
    copy = store.copied(store.root.with_name("listed"))
    calls = strace.listed(partial(pull, copy), copy.root).calls
    writes = [call for call in calls if call.path.endswith(f"{store.second}.qcow2") and "write" in call.point.name]
    assert len(writes) > 2
    strace.killed(partial(pull, store), store.root, Kill(writes[-2].point, True), 4)
    Engine.open(store.root)
    assert store.engine.verify(deep=True) == ()


def pull(store: Prepared) -> None:
    store.engine.delete_snapshots((store.first,), direction="pull")


def test_a_slow_look_keeps_nobody_waiting_and_is_not_misled(
    store: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands still in the middle of an image, which a pull then writes to."""
    found, within, go_on, digest = list[object](), threading.Event(), threading.Event(), checksums.digest

    def slow(fd: int, rate: int | None) -> str:
        return digest(fd, rate, stand_still if os.path.samestat(os.fstat(fd), looked_at) else None)

    def stand_still(done: float) -> None:
        within.set()
        assert go_on.wait(60)

    looked_at = os.stat(store.image(store.second))
    monkeypatch.setattr(checksums, "digest", slow)
    monkeypatch.setattr(checksums, "_PIECE", CLUSTER)
    look = threading.Thread(target=lambda: found.extend(Engine.open(store.root).verify(deep=True)))
    look.start()
    assert within.wait(60)
    store.oracle.engine = Engine.open(store.root, wait=0)
    store.oracle.delete(store.first, direction="pull")
    store.oracle.create(store.volume, "meanwhile")
    go_on.set()
    look.join()
    assert found == []
    store.oracle.check()


def test_no_more_bytes_are_read_in_a_second_than_it_is_told(store: Prepared) -> None:
    image = store.image(store.first)
    begun = time.monotonic()
    checksums.of_file(image, rate=4 * image.stat().st_size)
    assert time.monotonic() - begun >= 0.25


def test_an_image_that_is_rewritten_while_it_is_read_gets_no_checksum(store: Prepared) -> None:
    record = records.read_snapshot(store.directory, store.first)
    plain = msgspec.structs.replace(record, checksum=None)
    store.record(store.first).write_bytes(inventory.encode(plain))
    with pytest.raises(errors.Busy, match="was rewritten"):
        store.engine.checksum_snapshot(store.first, progress=lambda done: flip(store.image(store.first), 70_000))
    assert kept(store, store.first) is None


def test_what_a_killed_checksum_leaves_is_told_and_removed(store: Prepared) -> None:
    store.edit(store.first, checksum=None)
    note = partial(store.engine.checksum_snapshot, store.first)
    for settle in (store.engine.repair, lambda: store.engine.checksum_snapshot(store.first)):
        strace.killed_within(note, store.root, Point("rename", 1))
        (problem,) = store.engine.verify()
        assert problem.kind == "stray-file" and "cut off" in problem.message and "repair" in problem.repair
        settle()
        assert store.engine.verify() == ()
    store.oracle.check()


def test_the_command_gives_all_snapshots_a_checksum(store: Prepared) -> None:
    line = CommandLine(store.root)
    told = line.json("snapshot", "checksum", "--rate", "1G")["inventories"]
    assert {each["uuid"]: each["checksum"] for each in told} == {
        each.uuid: kept(store, each.uuid) for each in store.engine.list_snapshots()
    }
    assert len(line.json("snapshot", "checksum", "db/first")["inventories"]) == 1
    flip(store.image(store.second), store.image(store.second).stat().st_size - 1)
    assert line("verify", "--deep", "--rate", "100M").stdout.startswith("content-changed: ")


def test_one_bad_image_keeps_no_other_from_its_checksum_nor_from_being_compared(store: Prepared) -> None:
    bad, good = sorted((store.first, store.second))
    for uuid in (bad, good):
        store.edit(uuid, checksum=None)
    store.image(bad).unlink()
    ended = CommandLine(store.root)("snapshot", "checksum")
    assert ended.code == 6 and f"{bad}.qcow2 is missing" in ended.stderr and ended.stderr.count("error: ") == 1
    assert good in ended.stdout and bad not in ended.stdout and kept(store, good) is not None

    store.edit(bad, checksum="sha256:" + "0" * 64)
    store.image(bad).symlink_to(store.image(good))
    flip(store.image(good), store.image(good).stat().st_size - 1)
    assert ("content-changed", good) in {(each.kind, each.object) for each in store.engine.verify(deep=True)}


def test_each_night_all_is_compared_and_what_is_new_gets_its_checksum_whatever_was_found(store: Prepared) -> None:
    unit = (UNITS / "snapengine-verify.service").read_text()
    compare, note = re.findall(r"^Exec(?:Start|StopPost)=/usr/local/bin/snapengine (.*)$", unit, re.MULTILINE)
    run = CommandLine(store.root)
    assert run.text(*compare.split()) == "no problems\n"
    new = store.oracle.create(store.volume, "new").uuid
    flip(store.image(store.first), store.image(store.first).stat().st_size - 1)
    ended = run(*compare.split())
    assert ended.code == 6 and ended.stdout.startswith("content-changed: ")
    run.text(*note.split())
    assert kept(store, new) is not None


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_units_of_the_night(tmp_path: Path) -> None:
    for path in UNITS.glob("snapengine-verify.*"):
        text = path.read_text().replace("/usr/local/bin/snapengine", "/bin/true")
        (tmp_path / path.name).write_text(text)
    units = sorted(tmp_path.iterdir())
    assert len(units) == 2
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "snapengine" not in done.stderr, done.stderr


def test_an_export_tells_the_checksum_of_its_file(store: Prepared, tmp_path: Path) -> None:
    file = tmp_path / "out.qcow2"
    made = store.engine.export_snapshot(store.first, file)
    assert made.checksum == "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    line = CommandLine(store.root)
    assert "checksum" not in line.json("snapshot", "export", "db/first", str(tmp_path / "two"), "--no-checksum")
