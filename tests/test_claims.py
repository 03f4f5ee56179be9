"""An operation makes only what was not there, and an undo removes only what its operation made."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from snapengine import beginning, durable, errors, inventory, journal, layout
from snapengine.engine import Engine
from snapengine.intent import Entry, Rename
from tests import prepared
from tests.prepared import Prepared

GIVEN = "0123456789ab4def8123456789abcdef"
OP = "f" * 32


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("claims") / "master")


@pytest.fixture
def store(master: Prepared, tmp_path: Path) -> Prepared:
    return master.copied(tmp_path / "storage")


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


def plant(store: Prepared, name: str) -> None:
    """Put something of the uuid GIVEN into the store that no record tells of."""
    path = store.root / name.format(here=store.directory.relative_to(store.root), admin=layout.ADMIN)
    durable.make_directory(path.parent)
    path.write_text("precious")


KNOWN = {
    "an image": "{here}/" + f"{GIVEN}.qcow2",
    "a trash item's image": "{here}/" + f"{GIVEN}.trash.qcow2",
    "an image of a running VM": "{here}/" + f"{GIVEN}.3.qcow2",
    "a volume without a record": "dataVolumes/acct-{admin}/" + f"vol-{GIVEN}/snapshots/x",
    "a volume without anything": "dataVolumes/acct-{admin}/" + f"vol-{GIVEN}/x",
    "a volume of another account": f"rootVolumes/acct-{OP}/vol-{GIVEN}/snapshots/x",
    "a deleted volume": f"trash/acct-{OP}/vol-{GIVEN}/snapshots/x",
    "an image of a deleted volume": f"trash/acct-{OP}/vol-{OP}/snapshots/{GIVEN}.qcow2",
    "a group": f"groups/{GIVEN}.json",
}


@pytest.mark.parametrize("left", KNOWN.values(), ids=KNOWN)
def test_a_uuid_is_in_use_as_long_as_anything_has_it(store: Prepared, left: str) -> None:
    plant(store, left)
    before = files(store.root)

    for verb in (
        lambda: store.engine.create_snapshot(store.volume, "new", uuid=GIVEN),
        lambda: store.engine.create_volume("new", 2**20, uuid=GIVEN),
        lambda: store.engine.create_volume("new", 2**20, "Root", uuid=GIVEN),
    ):
        with pytest.raises(errors.Invalid, match=f"the uuid {GIVEN} is in use"):
            verb()
    assert files(store.root) == before


@pytest.mark.parametrize("limit", [None, 2], ids=["linked", "a full one"])
def test_an_image_whose_record_was_lost_outlives_a_create_with_its_uuid(store: Prepared, limit: int | None) -> None:
    if limit:
        store.oracle.create(store.volume, "third")
        store.engine.set_depth_limit(limit)
    lost = uuid.uuid4().hex
    shutil.copy(store.image(store.second), store.directory / f"{lost}.qcow2")
    content = (store.directory / f"{lost}.qcow2").read_bytes()

    with pytest.raises(errors.Invalid):
        store.engine.create_snapshot(store.volume, "new", uuid=lost)
    assert (store.directory / f"{lost}.qcow2").read_bytes() == content


def entry(store: Prepared, **other: object) -> Entry:
    """Return the entry of a create of the snapshot GIVEN."""
    v = store.volume
    whole = {
        "commit": Rename(source=f".{v}.qcow2.{OP}.new", target=f"{v}.qcow2"),
        "backing": f"{GIVEN}.qcow2",
        "made": (f"{GIVEN}.qcow2", f".{GIVEN}.json.{OP}.new", f".{v}.json.{OP}.new"),
        "publish": tuple(Rename(source=f".{u}.json.{OP}.new", target=f"{u}.json") for u in (GIVEN, v)),
        "reserved": (GIVEN,),
    }
    return Entry(
        uuid=OP, verb="create snapshot", volume_uuid=v, directory=str(store.directory.relative_to(store.root)),
        pid=4711, started="Jun 7, 2017 9:20:17 PM", schema_version=1, **(whole | other),  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize("name", [f"{GIVEN}.qcow2", f"{GIVEN}.json", f".{GIVEN}.json.{OP}.new"])
def test_an_operation_does_not_begin_where_something_has_a_name_that_it_makes(store: Prepared, name: str) -> None:
    (store.directory / name).symlink_to("nowhere")

    with pytest.raises(errors.Conflict, match=f"{store.directory / name} is there already"):
        with beginning.begun(store.root, entry(store)):
            raise AssertionError("it has begun")
    assert (store.directory / name).is_symlink()
    assert journal.operations(store.root) == []


def leave(store: Prepared, left: Entry, decided: bool = False) -> Path:
    """Leave an entry as a dead process, or a backup, does."""
    path = store.root / "journal" / (layout.decided(OP) if decided else f"{OP}.json")
    path.write_bytes(inventory.encode(left))
    return path


def stale(store: Prepared, moved_on: bool = True) -> Entry:
    """Return the entry that the create of `first` had; the volume has moved on to a third snapshot since, or not."""
    if moved_on:
        store.oracle.create(store.volume, "third")
    new = entry(store)
    text = inventory.encode(new).decode().replace(GIVEN, store.first)
    return inventory.decode(text.encode(), Entry, "")


def test_an_entry_that_a_backup_brought_back_removes_nothing_and_says_what_to_do(store: Prepared) -> None:
    path = leave(store, stale(store))
    before = files(store.directory)

    (told,) = Engine.open(store.root).recovered
    assert told.outcome.startswith("left as it is: the journal's entry of 'create snapshot'")
    with pytest.raises(errors.Corrupt, match=f"takes {store.image(store.first)} for its own"):
        store.engine.create_snapshot(store.volume, "new")
    assert [(p.kind, p.path) for p in store.engine.verify()] == [("journal-damaged", str(path))]
    assert files(store.directory) == before
    path.unlink()
    store.oracle.check()


def test_neither_does_one_whose_new_image_was_brought_back_too(store: Prepared) -> None:
    path = leave(store, stale(store))
    overlay = store.directory / f".{store.volume}.qcow2.{OP}.new"
    shutil.copy(store.image(store.volume), overlay)

    Engine.open(store.root)
    assert path.exists() and overlay.exists()
    overlay.unlink()
    path.unlink()
    store.oracle.check()


def undone(store: Prepared, **other: object) -> Entry:
    """Return the entry of a delete of `second`, which was undone; the volume's record was written again since."""
    store.engine.update_volume(store.volume, description="later")
    v = store.volume
    new = f".{v}.json.{OP}.new"
    made = {"made": (new,), "publish": (Rename(source=new, target=f"{v}.json"),), "reserved": (), "commit": None}
    return entry(store, **(made | {"backing": None} | other))


COMMITTED: dict[str, Callable[[Prepared], dict[str, object]]] = {
    "by commit": lambda s: {
        "counted": 2, "drop": (f"{s.second}.json",),
        "into": Rename(source=f"{s.second}.qcow2", target=f"{s.item}.trash.qcow2"),
    },
    "of a leaf": lambda s: {"counted": 2, "drop": (f"{s.second}.qcow2", f"{s.second}.json")},
    "by pull": lambda s: {
        "pulled": f"{s.volume}.qcow2", "backing": f"{s.first}.qcow2", "run": (f"{s.second}.qcow2",),
        "drop": (f"{s.second}.qcow2", f"{s.second}.json"),
    },
    "by clone": lambda s: {
        "commit": Rename(source=f".{s.volume}.qcow2.{OP}.new", target=f"{s.volume}.qcow2"),
        "backing": f"{s.first}.qcow2", "drop": (f"{s.second}.qcow2", f"{s.second}.json"),
    },
}  # fmt: skip


@pytest.mark.parametrize("how", COMMITTED.values(), ids=COMMITTED)
def test_neither_does_one_of_a_delete_that_was_undone_and_now_looks_done(
    store: Prepared, how: Callable[[Prepared], dict[str, object]]
) -> None:
    path = leave(store, undone(store, **how(store)))
    before = files(store.directory)

    (told,) = Engine.open(store.root).recovered
    assert told.outcome.startswith("left as it is: the journal's entry of 'create snapshot'")
    assert [(p.kind, p.path) for p in store.engine.verify()] == [("journal-damaged", str(path))]
    assert files(store.directory) == before
    path.unlink()
    store.oracle.check()


@pytest.mark.parametrize("moved_on", [False, True], ids=["which stands on it", "which moved on"])
@pytest.mark.parametrize("decided", [False, True], ids=["not decided", "decided"])
def test_neither_does_one_of_a_group(store: Prepared, decided: bool, moved_on: bool) -> None:
    member = msgspec.structs.replace(stale(store, moved_on), uuid=OP)
    other = msgspec.structs.replace(  # of a volume that has moved on, whose snapshot was deleted since
        entry(store), volume_uuid=store.other, directory=member.directory.replace("data", "root").replace(
            store.volume, store.other), backing=f"{GIVEN}.qcow2", second=f"{GIVEN}.qcow2",
        commit=Rename(source=f".{store.other}.qcow2.{OP}.new", target=f"{store.other}.qcow2"),
        made=(f"{GIVEN}.qcow2",), publish=(),
    )  # fmt: skip
    member = msgspec.structs.replace(member, second=f"{store.first}.qcow2")
    whole = Entry(
        uuid=OP, verb="create group", volume_uuid=store.volume, directory="groups", pid=4711,
        started=member.started, schema_version=1, members=(member, other),
    )  # fmt: skip
    (store.root / "groups").mkdir()
    path = leave(store, whole, decided)
    before = files(store.directory)

    Engine.open(store.root)
    assert files(store.directory) == before
    assert [(p.kind, p.path) for p in store.engine.verify()] == [("journal-damaged", str(path))]
    path.unlink()
    store.oracle.check()


FOREIGN: dict[str, Callable[[Prepared], dict[str, object]]] = {
    "the active image": lambda s: {"made": (f"{s.volume}.qcow2",), "reserved": (s.volume,)},
    "the volume's record": lambda s: {"made": (f"{s.volume}.json",), "reserved": (s.volume,)},
    "a snapshot's record": lambda s: {"made": (f"{s.first}.json",), "reserved": (s.first,)},
    "a snapshot's image": lambda s: {"made": (f"{s.first}.qcow2",)},
    "a trash item's image": lambda s: {"made": (f"{s.item}.trash.qcow2",)},
    "what another operation prepares": lambda s: {"made": (f".{s.volume}.json.{GIVEN}.new",)},
    "a lock": lambda s: {"made": (".lock",)},
    "an image that goes away": lambda s: {
        "commit": Rename(source=f"{s.first}.qcow2", target=f".{s.first}.qcow2.{OP}.new"),
    },
    "what comes out of another image": lambda s: {"commit": Rename(source=f"{s.first}.qcow2", target="x.qcow2")},
}


@pytest.mark.parametrize("named", FOREIGN.values(), ids=FOREIGN)
def test_an_entry_that_calls_its_own_what_it_does_not_make_is_corrupt(
    store: Prepared, named: Callable[[Prepared], dict[str, object]]
) -> None:
    path = leave(store, entry(store, **{"publish": (), "made": ()} | named(store)))
    before = files(store.root)

    assert Engine.open(store.root).recovered == ()
    with pytest.raises(errors.Corrupt, match="names what is not its own"):
        store.engine.create_snapshot(store.volume, "new")
    assert files(store.root) == before
    path.unlink()
    store.oracle.check()


def test_a_snapshot_of_another_is_not_removed_although_its_record_was_lost(store: Prepared) -> None:
    """The reserved uuid is the snapshot's, and nothing else of the operation is there."""
    store.record(store.second).unlink()
    left = inventory.encode(entry(store)).decode().replace(GIVEN, store.second)
    leave(store, inventory.decode(left.encode(), Entry, ""))

    (told,) = Engine.open(store.root).recovered
    assert "left as it is" in told.outcome
    assert store.image(store.second).exists()
