"""Repair: what loses nothing is put right, by real damage of each kind; the rest is left with the reason."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests import prepared, qemu
from tests.command_line import CommandLine
from tests.prepared import Prepared
from tests.qcow2_forge import set_refcount
from tests.test_verify import UNKNOWN, in_two_trees, rebase, state, stranger, trees


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("repair") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


def as_raw(image: Path, backing: str) -> None:
    line = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", backing, str(image)]
    subprocess.run(line, check=True)


REPAIRED: dict[str, Callable[[Prepared], object]] = {
    "a stale copy of latest": lambda s: s.edit(s.second, latest=True),
    "a stale distance": lambda s: s.edit(s.second, distance=7),
    "a torn tree": in_two_trees,
    "an unknown tree": lambda s: s.edit(s.second, treeUuid=UNKNOWN),
    "no tree is current": lambda s: trees(s, lambda t: t[0].update(current=False)),
    "a tree of no snapshot": lambda s: trees(
        s, lambda t: t.append({**t[0], "uuid": UNKNOWN, "latest": UNKNOWN, "current": False})
    ),
    "a parent that is another one in the header": lambda s: s.edit(s.second, parentUuid=None, distance=1),
    "a size that is another one in the header": lambda s: s.edit(s.volume, size=512),
    "a group that does not list it": stranger,
    "leaks in a frozen image": lambda s: set_refcount(s.image(s.second), 9, 1),
    "leaks in the active image": lambda s: set_refcount(s.image(s.volume), 9, 1),
    "an absolute name": lambda s: rebase(s.image(s.second), str(s.image(s.first))),
    "an absolute name in the active image": lambda s: rebase(s.image(s.volume), str(s.image(s.first))),
    "an absolute name of where the store lay": lambda s: rebase(
        s.image(s.second), f"/old/{s.image(s.first).relative_to(s.root)}"
    ),
    "a wrong format": lambda s: as_raw(s.image(s.second), f"{s.first}.qcow2"),
    "a wrong format in the active image": lambda s: as_raw(s.image(s.volume), f"{s.first}.qcow2"),
}


def leave_half_made(store: Prepared) -> None:
    """Leave what a verb that is killed leaves as it replaces a record."""
    (store.directory / f".{store.first}.json.{UNKNOWN}.new").write_bytes(store.record(store.first).read_bytes())


@pytest.mark.parametrize("how", REPAIRED)
def test_what_loses_nothing_is_put_right(store: Prepared, how: str) -> None:
    REPAIRED[how](store)
    before = state(store.root)
    problems = store.engine.verify(deep=True)
    told = store.engine.repair(dry_run=True)
    assert state(store.root) == before
    done = store.engine.repair()

    assert done == told and done.left == ()
    assert {problem.object for problem in problems} <= {made.object for made in done.repaired}
    store.oracle.check()
    assert store.engine.repair().repaired == ()
    store.oracle.create(store.volume, "goes on")
    store.oracle.check()


def test_a_leftover_of_a_killed_verb_stands_in_no_ones_way(store: Prepared) -> None:
    rebase(store.image(store.volume), str(store.image(store.first)))
    leave_half_made(store)
    before = state(store.root)
    assert store.engine.repair(dry_run=True).left == ()
    assert state(store.root) == before
    done = store.engine.repair()

    assert done.left == () and len(done.repaired) == 2
    store.oracle.check()


def test_what_shows_only_behind_a_bad_header_is_put_right_too(store: Prepared) -> None:
    rebase(store.image(store.volume), str(store.image(store.first)))
    store.edit(store.volume, size=512)

    done = store.engine.repair()

    assert [each.object for each in done.repaired] == [store.volume] * 2 and done.left == ()
    store.oracle.check()


def test_a_trial_run_tells_of_what_is_left_of_an_object_that_is_mended_too(store: Prepared) -> None:
    store.edit(store.volume, size=512)
    (store.directory / "copy.qcow2").touch()

    done = store.engine.repair(dry_run=True)

    assert [each.kind for each in done.left] == ["stray-file"] and len(done.repaired) == 1


def truncated(store: Prepared) -> None:
    os.truncate(store.image(store.second), 70_000)


LEFT: dict[str, tuple[str, Callable[[Prepared], object], str]] = {
    "a stray file": ("stray-file", lambda s: (s.directory / "copy.qcow2").touch(), "nobody knows"),
    "a missing image": ("image-missing", lambda s: s.image(s.second).unlink(), "nowhere else"),
    "a damaged record": ("record-damaged", lambda s: os.truncate(s.record(s.second), 9), "would be lost"),
    "a lost parent's record": ("record-damaged", lambda s: s.record(s.first).unlink(), "would be lost"),
    "a truncated image": ("image-truncated", truncated, "nowhere else"),
    "a name that leads out": ("backing-outside", lambda s: rebase(s.image(s.second), "/etc/passwd"), "not known"),
    "another volume's file": ("backing-outside", lambda s: rebase(s.image(s.second), f"/x/{s.first}.qcow2"), "not kn"),
    "corruption": ("image-corrupt", lambda s: set_refcount(s.image(s.first), 0, 0), "would guess"),
    "a trash item's name": ("backing-outside", lambda s: rebase(s.image(s.item), str(s.image(s.second))), "certain"),
}


@pytest.mark.parametrize("how", LEFT)
def test_what_could_lose_something_is_left_as_it_is_with_the_reason(store: Prepared, how: str) -> None:
    kind, damage, why = LEFT[how]
    damage(store)
    contents = {path: path.read_bytes() for path in store.root.rglob("*.qcow2")}
    done = store.engine.repair()

    assert done.repaired == ()
    (left,) = done.left
    assert left.kind == kind and why in left.why
    assert {path: path.read_bytes() for path in store.root.rglob("*.qcow2")} == contents


def test_no_record_follows_an_image_that_was_changed_as_its_checksum_tells(store: Prepared) -> None:
    """The record then is all that says what the image stood on; its header put back, all is as it was."""
    store.engine.checksum_snapshot(store.second)
    rebase(store.image(store.second), "")
    record = store.record(store.second).read_bytes()
    done = store.engine.repair()
    assert done.repaired == () and {left.kind for left in done.left} == {"wrong-backing", "content-changed"}
    (named,) = (left.why for left in done.left if left.kind == "wrong-backing")
    assert "'qemu-img rebase -u -F qcow2 -b' with the name that the record says" in named
    assert store.record(store.second).read_bytes() == record

    rebase(store.image(store.second), f"{store.first}.qcow2")
    assert store.engine.verify(deep=True) == ()
    store.oracle.check()


def test_the_advice_for_what_a_repair_mends_is_a_repair(store: Prepared) -> None:
    set_refcount(store.image(store.first), 9, 1)
    rebase(store.image(store.second), str(store.image(store.first)))
    found = store.engine.verify(deep=True)
    assert {each.kind for each in found} == {"image-leaks", "backing-outside"}
    assert all("'snapengine repair'" in each.repair for each in found)
    assert store.engine.repair().left == ()


def test_an_image_that_a_vm_has_is_left_for_later(store: Prepared) -> None:
    set_refcount(store.image(store.second), 9, 1)
    with qemu.running(store.image(store.volume)):
        (left,) = store.engine.repair((store.volume,)).left
        assert left.kind == "image-leaks" and "is in use" in left.why
    assert store.engine.repair().left == ()


def test_a_repair_tells_in_the_end_whether_all_is_well(store: Prepared) -> None:
    line = CommandLine(store.root)
    assert line.text("repair") == "no problems\n"
    store.edit(store.second, distance=7)
    (store.directory / "x").touch()
    done = line("repair", "--output", "json")
    assert done.code == 6 and '"why":"nobody knows whether' in done.stdout
    (store.directory / "x").unlink()
    store.edit(store.second, distance=7)
    assert "put right as the headers say: distance" in line.text("repair", "db")
    assert Engine.open(store.root).verify() == ()
