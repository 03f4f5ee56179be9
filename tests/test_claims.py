"""An operation makes only what was not there, and an undo removes only what its operation made."""

import shutil
import uuid
from pathlib import Path

import pytest

from snapengine import beginning, durable, errors, journal, layout
from snapengine.journal import Entry, Rename
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
