"""Verify: each kind of problem, made by hand and alone, is found; none in a clean store; and nothing changes."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, get_args

import msgspec
import pytest

from snapengine import draft, errors, health, intent, inventory, journal, plan, roster
from snapengine.engine import Engine
from snapengine.intent import Rename
from snapengine.qcow2 import read_header
from tests import images, prepared
from tests.prepared import Prepared
from tests.qcow2_forge import set_refcount

UNKNOWN, OP = "9" * 32, "f" * 32
RELIABILITY = Path(__file__).parent.parent / "docs" / "reliability.md"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("verify") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


def trees(store: Prepared, change: Callable[[list[dict[str, object]]], object]) -> None:
    """Change the trees in the volume's record by hand."""
    kept = json.loads(store.record(store.volume).read_text())["trees"]
    change(kept)
    store.edit(store.volume, trees=kept)


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, stdout=subprocess.DEVNULL)


def rebase(image: Path, backing: str) -> None:
    qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", backing, image)


def cut_off(image: Path) -> None:
    """Take the last cluster of an image, and the last byte before it."""
    os.truncate(image, image.stat().st_size - 2**16 - 1)


def lie(image: Path) -> None:
    """Let an L1 entry name no cluster's start, and refcounts a cluster behind the end, as if that were cut off."""
    length = image.stat().st_size
    with image.open("rb+") as f:
        f.seek(read_header(f.fileno()).l1_offset)
        f.write((2**63 + 2**16 + 512).to_bytes(8, "big"))
    set_refcount(image, length // 2**16, 1)
    os.truncate(image, length)


def entry(store: Prepared, **other: object) -> intent.Entry:
    whole = intent.Entry(
        uuid=OP, verb="create snapshot", volume_uuid=store.volume, pid=1, schema_version=1,
        directory=os.path.relpath(store.directory, store.root), started="Jun 7, 2017 9:20:17 PM",
    )  # fmt: skip
    return msgspec.structs.replace(whole, **other)


def leave(store: Prepared, left: intent.Entry) -> None:
    (store.root / "journal" / f"{OP}.json").write_bytes(inventory.encode(left))


def half_a_create(store: Prepared) -> None:
    """Leave what a create leaves that was killed before its commit."""
    below = os.path.relpath(store.directory, store.root)
    place = draft.Place(OP, "create snapshot", below, "Jun 7, 2017 9:20:17 PM", 1)
    parts = plan.Parts(UNKNOWN, "new", None, (), (), "", "", 0, 2**20)
    record = inventory.decode(store.record(store.volume).read_bytes(), inventory.VolumeRecord, "")
    made = plan.create_snapshot(place, record, None, 64, parts)
    leave(store, made.entry)
    os.link(store.image(store.volume), store.image(UNKNOWN))
    for name in (*made.records, f".{store.volume}.qcow2.{OP}.new"):
        (store.directory / name).touch()


def in_two_trees(store: Prepared) -> None:
    """Say that second is the latest of a tree of its own, while it still stands on first."""
    store.edit(store.second, treeUuid=UNKNOWN, latest=True)
    trees(store, lambda t: t.append({**t[0], "uuid": UNKNOWN, "latest": store.second, "current": False}))


def as_directory(path: Path) -> None:
    """Put a directory in path's place."""
    path.unlink()
    path.mkdir()


def linked(path: Path) -> None:
    """Put a symbolic link to a copy in path's place."""
    elsewhere = path.rename(path.parents[5] / "elsewhere.qcow2")
    path.symlink_to(elsewhere)


def copy_of_volume(store: Prepared) -> Path:
    return store.directory.parent.parent.parent / f"acct-{UNKNOWN}" / store.directory.parent.name


def copied_volume(store: Prepared) -> None:
    shutil.copytree(store.directory.parent, copy_of_volume(store))


class Row(NamedTuple):
    """
    One kind of problem, how it comes about, and what it is about.

    of and at tell the object's uuid and the file, below the root, by a look at the store.
    """

    kind: str
    how: str
    make: Callable[[Prepared], object]
    of: Callable[[Prepared], str]
    at: Callable[[Prepared], str | Path]
    message: str
    deep: bool = False


def volume(store: Prepared) -> str:
    return store.volume


def first(store: Prepared) -> str:
    return store.first


def second(store: Prepared) -> str:
    return store.second


def item(store: Prepared) -> str:
    return store.item


def storage(store: Prepared) -> str:
    return store.engine.storage.uuid


def stray(
    how: str, of: Callable[[Prepared], str], at: Callable[[Prepared], Path], directory: bool = False,
    message: str = "belongs to nothing that the records know",
) -> Row:  # fmt: skip
    def make(store: Prepared) -> None:
        at(store).mkdir(parents=True) if directory else at(store).touch()

    return Row("stray-file", how, make, of, at, message)


def group(store: Prepared, *members: str) -> None:
    """Write the record of a group with these members by hand."""
    path = store.root / GROUP
    path.parent.mkdir()
    date = "Jun 7, 2017 9:20:17 PM"
    listed = [
        roster.Member(
            volume_snapshot_uuid=member, volume_snapshot_name="g-db", volume_uuid=store.volume, volume_name="db",
            volume_type="Data", create_date=date, last_op_date=date,
        )
        for member in members
    ]  # fmt: skip
    record = roster.GroupRecord(
        uuid=UNKNOWN, name="g", create_date=date, last_op_date=date, schema_version=1, members=tuple(listed)
    )
    path.write_bytes(inventory.encode(record))


def cut_off_group(store: Prepared) -> None:
    """Leave half of a group's record."""
    group(store)
    os.truncate(store.root / GROUP, 9)


def decided(store: Prepared, **other: object) -> None:
    """Leave the entry of an operation on several volumes that was decided."""
    (store.root / "groups").mkdir()
    leave(store, entry(store, directory="groups", members=(entry(store, uuid=UNKNOWN, **other),)))
    (store.root / JOURNAL).rename(store.root / DECIDED)


def stranger(store: Prepared) -> None:
    """Have second name a group that does not list it."""
    store.edit(store.first, groupUuid=UNKNOWN)
    store.edit(store.second, groupUuid=UNKNOWN)
    group(store, store.first)


ACCOUNT = f"acct-{'a' * 32}"
JOURNAL = f"journal/{OP}.json"
DECIDED = f"journal/{OP}.decided.json"
GROUP = f"groups/{UNKNOWN}.json"
ROWS = [
    stray("beside the images", volume, lambda s: s.directory / "copy.qcow2"),
    stray("a directory beside the images", volume, lambda s: s.directory / "backup", True),
    stray("hidden beside the images", volume, lambda s: s.directory / f".{s.volume}.qcow2.{OP}.new",
          message="was left half-made by a verb that was cut off"),
    stray("an image without a record", volume, lambda s: s.image(UNKNOWN)),
    stray("in the volume", volume, lambda s: s.directory.parent / "notes"),
    stray("in the account", storage, lambda s: s.directory.parent.parent / "notes"),
    stray("half a volume", storage, lambda s: s.directory.parent.with_name(f".vol-{UNKNOWN}.{OP}.new"), True),
    stray("a volume without images", storage, lambda s: s.directory.parent.with_name(f"vol-{UNKNOWN}"), True),
    stray("a volume that is a file", storage, lambda s: s.directory.parent.with_name(f"vol-{UNKNOWN}")),
    stray("among the accounts", storage, lambda s: s.root / "dataVolumes" / "notes"),
    stray("an account of no uuid", storage, lambda s: s.root / "rootVolumes" / "acct-admin", True),
    stray("in an account without volumes", storage, lambda s: s.root / "dataVolumes" / ACCOUNT / "x", True),
    stray("in the journal", storage, lambda s: s.root / "journal" / "notes"),
    stray("among the groups", storage, lambda s: s.root / "groups" / "notes", True),
    stray("in the root", storage, lambda s: s.root / "found", True),
    Row("record-missing", "a trash item", lambda s: s.record(s.item).unlink(), volume, lambda s: s.image(s.item),
        "it is an image as a snapshot or a trash item has one, but it has no record"),
    Row("image-missing", "active", lambda s: s.image(s.volume).unlink(), volume, lambda s: s.image(s.volume),
        "the image is missing"),
    Row("image-missing", "snapshot", lambda s: s.image(s.first).unlink(), first, lambda s: s.image(s.first), "missing"),
    Row("image-missing", "trash", lambda s: s.image(s.item).unlink(), item, lambda s: s.image(s.item), "missing"),
    Row("image-foreign", "no image", lambda s: s.image(s.second).write_text("x"), second, lambda s: s.image(s.second),
        "it is not a qcow2 image"),
    Row("image-truncated", "cut off", lambda s: os.truncate(s.image(s.second), 70_000), second,
        lambda s: s.image(s.second), "lies outside the file; was it cut off"),
    Row("image-truncated", "its last data lost", lambda s: cut_off(s.image(s.second)), second,
        lambda s: s.image(s.second), "outside the file; was it cut off"),
    Row("backing-outside", "hostile", lambda s: rebase(s.image(s.first), "/etc/passwd"), first,
        lambda s: s.image(s.first), "its backing file name '/etc/passwd' leads to another directory"),
    Row("backing-outside", "a protocol", lambda s: rebase(s.image(s.first), "nbd:unix:/x"), first,
        lambda s: s.image(s.first), "names a protocol"),
    Row("backing-format", "raw", lambda s: qemu_img("rebase", "-u", "-f", "qcow2", "-F", "raw", "-b",
        f"{s.first}.qcow2", s.image(s.second)), second, lambda s: s.image(s.second), "is 'raw', not qcow2"),
    Row("image-refused", "a link", lambda s: linked(s.image(s.second)), second, lambda s: s.image(s.second),
        "it is a symbolic link"),
    Row("wrong-backing", "of a snapshot", lambda s: rebase(s.image(s.second), f"{s.item}.trash.qcow2"), second,
        lambda s: s.image(s.second), "the image stands on .*trash.qcow2, the record says"),
    Row("wrong-backing", "of the active image", lambda s: rebase(s.image(s.volume), f"{s.second}.qcow2"), volume,
        lambda s: s.image(s.volume), "the image stands on"),
    Row("wrong-backing", "of a trash item", lambda s: rebase(s.image(s.item), f"{s.first}.qcow2"), item,
        lambda s: s.image(s.item), "the image stands on"),
    Row("wrong-backing", "no tree is current", lambda s: trees(s, lambda t: t[0].update(current=False)), volume,
        lambda s: s.image(s.volume), "stands on .*, the record says nothing"),
    Row("wrong-size", "in the record", lambda s: s.edit(s.volume, size=512), volume, lambda s: s.image(s.volume),
        "the image has 1048576 bytes, the record says 512"),
    Row("wrong-size", "of the image", lambda s: qemu_img("resize", "-q", "-f", "qcow2", s.image(s.volume), "2M"),
        volume, lambda s: s.image(s.volume), "the image has 2097152 bytes, the record says 1048576"),
    Row("wrong-latest", "a copy", lambda s: s.edit(s.second, latest=True), second, lambda s: s.record(s.second),
        "the record says latest True, the trees say False"),
    Row("wrong-latest", "of no snapshot", lambda s: trees(s, lambda t: t.append(
        {**t[0], "uuid": UNKNOWN, "latest": UNKNOWN, "current": False})), volume, lambda s: s.record(s.volume),
        f"tree {UNKNOWN} has the latest {UNKNOWN}, which is no snapshot"),
    Row("wrong-latest", "in another tree", lambda s: trees(s, lambda t: t.append(
        {**t[0], "uuid": UNKNOWN, "current": False})), volume, lambda s: s.record(s.volume),
        f"the latest of tree {UNKNOWN} is in another tree"),
    Row("wrong-distance", "a copy", lambda s: s.edit(s.second, distance=7), second, lambda s: s.record(s.second),
        "the record says distance 7, the trees say 2"),
    Row("torn-tree", "an unknown tree", lambda s: s.edit(s.second, treeUuid=UNKNOWN), second,
        lambda s: s.record(s.second), "the snapshot is not in the tree of its parent"),
    Row("torn-tree", "another tree than its parent's", in_two_trees, second, lambda s: s.record(s.second),
        "the snapshot is not in the tree of its parent"),
    Row("record-damaged", "cut off", lambda s: os.truncate(s.record(s.second), 100), volume, lambda s: s.directory,
        "record .* is damaged"),
    Row("record-damaged", "missing", lambda s: s.record(s.volume).unlink(), volume, lambda s: s.directory,
        "is missing"),
    Row("record-damaged", "of a parent missing", lambda s: s.record(s.first).unlink(), volume, lambda s: s.directory,
        "has the parent .*, which has no record"),
    Row("record-damaged", "a newer schema", lambda s: s.edit(s.item, schemaVersion=2), volume, lambda s: s.directory,
        "written by a newer snapengine"),
    Row("record-damaged", "another volume's", lambda s: s.edit(s.first, volumeUuid=UNKNOWN), volume,
        lambda s: s.directory, "is of another snapshot or volume"),
    Row("record-damaged", "a strange path", lambda s: s.edit(s.volume, installPath="/etc/passwd"), volume,
        lambda s: s.directory, "not one of its own"),
    Row("record-damaged", "a directory", lambda s: as_directory(s.record(s.second)), volume,
        lambda s: s.directory, "record .* is no regular file"),
    Row("record-damaged", "no date", lambda s: s.edit(s.second, createDate="yesterday"), volume, lambda s: s.directory,
        "record .* is damaged: .*createDate"),
    Row("record-damaged", "no accounts", lambda s: (s.root / "accounts.json").unlink(), storage,
        lambda s: s.root / "accounts.json", "is missing"),
    Row("record-damaged", "accounts cut off", lambda s: os.truncate(s.root / "accounts.json", 9), storage,
        lambda s: s.root / "accounts.json", "is damaged"),
    Row("record-damaged", "of a group", cut_off_group, lambda s: UNKNOWN,
        lambda s: GROUP, "is damaged"),
    Row("wrong-group", "no such group", lambda s: s.edit(s.first, groupUuid=UNKNOWN), first,
        lambda s: s.record(s.first), f"the record says group {UNKNOWN}, which does not list the snapshot"),
    Row("wrong-group", "one that does not list it", stranger, second, lambda s: s.record(s.second), "does not list"),
    Row("wrong-group", "a member that does not say so", lambda s: group(s, s.first), first,
        lambda s: s.record(s.first), f"group {UNKNOWN} lists it, the record says None"),
    Row("unfinished", "a group's create", lambda s: decided(s), volume, lambda s: DECIDED, "was cut off"),
    Row("journal-damaged", "a group's member elsewhere", lambda s: decided(s, drop=("../x",)), lambda s: OP,
        lambda s: DECIDED, "names what is not its own"),
    Row("unfinished", "a purge", lambda s: leave(s, entry(s)), volume, lambda s: JOURNAL,
        r"create snapshot, begun 2017-06-0\d \d\d:20:17, was cut off"),
    Row("unfinished", "a create with all that it leaves", half_a_create, volume, lambda s: JOURNAL, "was cut off"),
    Row("journal-damaged", "a newer schema", lambda s: leave(s, entry(s, schema_version=2)), lambda s: OP,
        lambda s: JOURNAL, "written by a newer snapengine"),
    Row("journal-damaged", "elsewhere", lambda s: leave(s, entry(s, drop=("../x",))), lambda s: OP, lambda s: JOURNAL,
        "names what is not its own"),
    Row("image-shared", "a hard link elsewhere", lambda s: os.link(s.image(s.second), s.root.parent / "elsewhere"),
        second, lambda s: s.image(s.second), "another name"),
    Row("duplicate-uuid", "a copy of a volume for another account", copied_volume, volume, copy_of_volume,
        "has the same uuid"),
    Row("image-leaks", "one cluster", lambda s: set_refcount(s.image(s.second), 9, 1), second,
        lambda s: s.image(s.second), "1 clusters are leaked", True),
    Row("image-corrupt", "a used cluster that counts as free", lambda s: set_refcount(s.image(s.first), 0, 0), first,
        lambda s: s.image(s.first), "qemu-img check found 1 corruptions and 0 errors", True),
    Row("image-corrupt", "cut off, and a table that lies", lambda s: lie(s.image(s.second)), second,
        lambda s: s.image(s.second), "is not aligned"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.kind}: {row.how}" for row in ROWS])
def test_a_problem_is_found_alone_and_by_its_name_and_nothing_is_changed(store: Prepared, row: Row) -> None:
    of = row.of(store)
    row.make(store)
    before = state(store.root)
    found = store.engine.verify(deep=row.deep)

    assert state(store.root) == before
    at = str(store.root / row.at(store))
    assert [(p.kind, p.object, p.path) for p in found] == [(row.kind, of, at)]
    assert re.search(row.message, found[0].message)
    assert found[0].repair and found[0].message.isprintable()


BACKUP = {"of a snapshot", "a newer schema", "a directory", "of a group", "no such group"}  # what nothing else mends
RECORDS = [row for row in ROWS if row.kind.startswith(("record-", "torn-", "wrong-")) and row.how not in BACKUP]


@pytest.mark.parametrize("row", RECORDS, ids=[f"{row.kind}: {row.how}" for row in RECORDS])
def test_what_is_advised_for_records_puts_them_right(store: Prepared, row: Row) -> None:
    row.make(store)
    advised = re.search("'snapengine (repair|rebuild)'", store.engine.verify()[0].repair)
    assert advised is not None
    if advised[1] == "repair":
        store.engine.repair()
    else:
        Engine.rebuild(store.root)
    assert store.engine.verify() == ()
    if row.kind not in ("wrong-backing", "wrong-size"):  # there the row has changed an image
        store.oracle.check()


def test_a_volume_whose_active_image_is_corrupt_is_advised_to_go_back_and_can(store: Prepared) -> None:
    set_refcount(store.image(store.volume), 0, 0)
    (found,) = store.engine.verify(deep=True)
    assert (found.kind, found.object) == ("image-corrupt", store.volume)
    assert "snapengine snapshot revert" in found.repair

    store.engine.revert(store.second)
    assert store.volume not in [p.object for p in store.engine.verify(deep=True)]
    for uuid in (store.volume, store.first, store.second, store.item, store.other):
        held = store.engine.volume_path(uuid) if uuid == store.other else store.image(uuid)
        assert images.read(held) == store.oracle.expected[store.second if uuid == store.volume else uuid]


def state(root: Path) -> dict[Path, tuple[object, ...]]:
    """Return every file below root with what must not change; a lock that is taken may be made for it."""
    found: dict[Path, tuple[object, ...]] = {}
    for path in root.rglob("*"):
        stat = path.lstat()
        if path.name != ".lock":
            times = () if path.is_dir() else (stat.st_mtime_ns, stat.st_ctime_ns)
            found[path] = (stat.st_ino, stat.st_mode, stat.st_size if times else 0, *times)
    return found


@pytest.mark.parametrize("deep", [False, True], ids=["plain", "deep"])
def test_a_clean_store_has_no_problem_and_stays_as_it_is(store: Prepared, deep: bool) -> None:
    before = state(store.root)
    assert store.engine.verify(deep=deep) == ()
    assert store.engine.verify((store.volume, store.other), deep=deep) == ()
    assert state(store.root) == before


def test_an_empty_store_has_no_problem(engine: Engine) -> None:
    assert engine.verify(deep=True) == ()


def test_the_kinds_that_the_code_knows_are_those_that_are_documented_and_those_that_are_made_in_tests() -> None:
    """That the code makes no other mypy holds: a problem takes none but these."""
    table = RELIABILITY.read_text().partition("| kind | meaning |")[2].partition("\n\n")[0]
    documented = re.findall(r"^\| `([a-z-]+)` \| ", table, re.MULTILINE)
    elsewhere = {
        "wrong-current": "test_verify", "base-missing": "test_clone",
        "unreadable": "test_worn_store", "content-changed": "test_checksums",
    }  # fmt: skip
    known = sorted(get_args(health.Kind))
    assert known == sorted(documented)
    assert known == sorted({row.kind for row in ROWS} | set(elsewhere))
    for kind, module in elsewhere.items():
        assert f'"{kind}"' in Path(__file__).with_name(f"{module}.py").read_text()


def test_two_current_trees_are_found_with_what_follows_from_them(store: Prepared) -> None:
    """Alone it can not be: a second tree needs an origin, and the volume stands on one latest only."""
    store.edit(store.second, parentUuid=None, treeUuid=UNKNOWN, distance=1, latest=True)
    trees(store, lambda t: t.append({**t[0], "uuid": UNKNOWN, "latest": store.second}))
    found = [(p.kind, p.object) for p in store.engine.verify()]
    assert found == [("wrong-current", store.volume), ("wrong-backing", store.second)]


def test_several_problems_are_all_found(store: Prepared) -> None:
    (store.directory / "x").touch()
    store.image(store.second).unlink()
    store.edit(store.first, distance=3)
    os.truncate(store.engine.volume_path(store.other), 100)
    kinds = sorted(p.kind for p in store.engine.verify())
    assert kinds == ["image-missing", "image-truncated", "stray-file", "wrong-distance"]


def test_only_the_volumes_asked_for_are_looked_at(store: Prepared) -> None:
    (store.directory / "x").touch()
    (store.root / "y").touch()
    assert store.engine.verify((store.other,)) == ()
    assert [Path(p.path).name for p in store.engine.verify((store.volume,))] == ["x"]
    assert len(store.engine.verify()) == 2


def test_an_unknown_volume_is_not_found(store: Prepared) -> None:
    with pytest.raises(errors.NotFound):
        store.engine.verify((UNKNOWN,))


def test_a_damaged_volume_hides_no_other(store: Prepared) -> None:
    store.record(store.volume).write_text("{")
    os.truncate(store.engine.volume_path(store.other), 100)
    assert sorted(p.kind for p in store.engine.verify()) == ["image-truncated", "record-damaged"]


def test_leaks_and_corruption_are_looked_for_only_when_asked(store: Prepared) -> None:
    set_refcount(store.image(store.second), 9, 1)
    set_refcount(store.image(store.first), 0, 0)
    assert store.engine.verify() == ()
    assert sorted(p.kind for p in store.engine.verify(deep=True)) == ["image-corrupt", "image-leaks"]


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_volume_does_not_go_back_to_what_was_cut_off(store: Prepared, which: str) -> None:
    cut_off(store.image(getattr(store, which)))
    before = store.image(store.volume).stat().st_mtime_ns

    with pytest.raises(errors.Refused, match="outside the file; was it cut off"):
        store.engine.revert(store.second)

    assert store.image(store.volume).stat().st_mtime_ns == before
    store.image(store.volume).unlink()
    with pytest.raises(errors.Refused, match="outside the file; was it cut off"):
        store.engine.revert(store.second)


def test_leaked_clusters_that_were_never_written_are_no_cut(store: Prepared) -> None:
    set_refcount(store.image(store.second), 900, 1)
    assert store.engine.verify() == ()
    store.oracle.revert(store.second)
    subprocess.run(["qemu-img", "check", "-q", "-r", "leaks", "-f", "qcow2", store.image(store.second)], check=True)
    store.oracle.check()


def test_a_volume_that_is_just_being_made_is_no_stray(store: Prepared) -> None:
    account = store.directory.parent.parent
    making = account / f".vol-{UNKNOWN}.{OP}.new"
    running = entry(
        store,
        directory=os.path.relpath(account, store.root),
        commit=Rename(source=making.name, target=f"vol-{UNKNOWN}"),
    )
    with journal.begun(store.root, running):
        making.mkdir()
        assert store.engine.verify() == ()


def test_a_chain_under_the_active_image_that_is_gone_names_just_the_image(store: Prepared) -> None:
    shutil.move(store.image(store.first), store.root.parent)
    (found,) = store.engine.verify(deep=True)
    assert (found.kind, found.object) == ("image-missing", store.first)


def test_nobody_is_told_to_move_away_what_an_image_stands_on(store: Prepared) -> None:
    """What a lost journal entry leaves: the active image stands on a snapshot that has no record."""
    needed = store.image(store.second).with_name(f"{UNKNOWN}.qcow2")
    shutil.copyfile(store.image(store.second), needed)
    rebase(store.image(store.volume), needed.name)
    found = {p.kind: p for p in store.engine.verify()}

    assert set(found) == {"wrong-backing", "record-missing"}
    assert found["record-missing"].path == str(needed) and found["record-missing"].repair.startswith("leave it")
