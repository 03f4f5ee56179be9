"""The journal: an entry is there whole or not at all, tells the living from the dead, and leads nowhere else."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from snapengine import draft, errors, inventory, journal, layout, plan, recovery
from snapengine.engine import Engine
from snapengine.intent import Entry, Rename
from tests import privileged
from tests.oracle import MIB, Oracle

OP, V = "f" * 32, "0" * 32
DELETED = f"trash/acct-{layout.ADMIN}"
DIRECTORY = f"dataVolumes/acct-{layout.ADMIN}/vol-{V}/snapshots"


def entry(uuid: str = OP, **other: object) -> Entry:
    whole = Entry(
        uuid=uuid, verb="revert", volume_uuid=V, directory=DIRECTORY, pid=4711, started="Jun 7, 2017 9:20:17 PM",
        schema_version=1, commit=Rename(source=f".{V}.qcow2.{uuid}.new", target=f"{V}.qcow2"), backing="s.qcow2",
        made=(f"{V[:31]}1.trash.qcow2",), publish=(Rename(source=f".x.json.{uuid}.new", target="x.json"),),
        drop=(f"{OP}.trash.json",), reserved=(f"{V[:31]}1",),
    )  # fmt: skip
    return msgspec.structs.replace(whole, **other)


def several(**other: object) -> Entry:
    """Return the entry of an operation on several volumes."""
    whole = entry(directory="groups", commit=None, made=(), publish=(), drop=(), members=(entry(),))
    return msgspec.structs.replace(whole, **other)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a root with an empty journal and the directory of one volume."""
    (tmp_path / "journal").mkdir()
    (tmp_path / DIRECTORY).mkdir(parents=True)
    return tmp_path


def put(root: Path, data: bytes | Entry, name: str = OP) -> Path:
    """Write what a dead process left."""
    path = root / "journal" / f"{name}.json"
    path.write_bytes(inventory.encode(data) if isinstance(data, Entry) else data)
    return path


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


@contextmanager
def living(root: Path, given: Entry) -> Iterator[None]:
    """Have another process that works on given, and dies at the end of the block."""
    child = os.fork()
    if child == 0:
        with journal.begun(root, given):
            (root / "begun").touch()
            signal.pause()
    try:
        while not (root / "begun").exists():
            time.sleep(0.001)
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        (root / "begun").unlink()


def test_an_entry_is_there_while_its_operation_runs_and_until_it_is_dropped(root: Path) -> None:
    assert journal.entries(root) == ()
    with journal.begun(root, entry()):
        assert journal.entries(root) == (entry(),)
    assert journal.entries(root) == (entry(),)
    journal.drop(root, OP)
    assert journal.entries(root) == () and os.listdir(root / "journal") == []


def test_dropping_what_is_gone_is_fine(root: Path) -> None:
    journal.drop(root, OP)


def test_an_entry_is_durable_before_the_operation_begins(root: Path) -> None:
    with journal.begun(root, entry()):
        data = (root / "journal" / f"{OP}.json").read_bytes()
    assert inventory.decode(data, Entry, "") == entry()


def test_an_error_in_the_block_leaves_the_entry_for_recovery(root: Path) -> None:
    with pytest.raises(RuntimeError), journal.begun(root, entry()):
        raise RuntimeError
    assert journal.entries(root) == (entry(),)
    assert not journal.is_running(root, OP)


@privileged.needs_root
@pytest.mark.root
def test_an_entry_that_finds_no_room_leaves_nothing(tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "disk", 64) as disk:
        (disk / "journal").mkdir()
        with privileged.filled(disk):
            with pytest.raises(OSError, match="No space left"), journal.begun(disk, entry()):
                raise AssertionError("it has begun")
            assert os.listdir(disk / "journal") == []


def test_an_operations_uuid_is_used_once(root: Path) -> None:
    with journal.begun(root, entry()):
        with pytest.raises(FileExistsError), journal.begun(root, entry()):
            raise AssertionError("it has begun")
    assert journal.entries(root) == (entry(),)


def test_entries_come_oldest_first(root: Path) -> None:
    for name, started in (("c", "2"), ("a", "3"), ("b", "1"), ("d", "1")):
        put(root, entry(name * 32, started=started), name * 32)
    assert [e.uuid[0] for e in journal.entries(root)] == ["b", "d", "c", "a"]


@pytest.mark.parametrize("name", ["README", "x.json", f"{OP}.json~", f".{OP}.json.new", f"{OP}", f"{OP.upper()}.json"])
def test_other_files_are_no_entries(root: Path, name: str) -> None:
    (root / "journal" / name).write_text("x")
    assert [*journal.operations(root), *journal.entries(root)] == []
    assert recovery.recover(root) == ()
    assert os.listdir(root / "journal") == [name]


def test_a_living_operation_is_told_from_a_dead_one(root: Path) -> None:
    with living(root, entry()):
        assert journal.is_running(root, OP)
        with journal.adopted(root, OP) as ours:
            assert not ours
    assert not journal.is_running(root, OP)
    with journal.adopted(root, OP) as ours:
        assert ours and journal.is_running(root, OP)


def test_an_operation_that_is_gone_is_neither_running_nor_adopted(root: Path) -> None:
    assert not journal.is_running(root, OP)
    with journal.adopted(root, OP) as ours:
        assert not ours


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut off"])
def test_recovery_leaves_a_living_operation_alone(root: Path, cut: bool) -> None:
    with living(root, entry()):
        if cut:
            os.truncate(root / "journal" / f"{OP}.json", 5)
        before = files(root)
        assert recovery.recover(root) == ()
        assert files(root) == before


def test_an_entry_that_is_cut_off_anywhere_was_never_begun_and_is_removed(root: Path) -> None:
    data = inventory.encode(entry())
    for length in range(len(data)):
        put(root, data[:length])
        assert journal.entries(root) == ()
        assert recovery.recover(root) == ()
        assert os.listdir(root / "journal") == []


@pytest.mark.parametrize("data", [b"", b"\0" * 512, b"{", b'{"uuid": "\xff'], ids=["empty", "zeros", "brace", "bytes"])
def test_what_a_power_cut_leaves_of_an_entry_is_removed_too(root: Path, data: bytes) -> None:
    put(root, data)
    assert journal.read(root, OP) is None
    assert recovery.recover(root) == ()
    assert os.listdir(root / "journal") == []


def test_an_operation_on_several_volumes_is_decided_by_its_name_which_keeps_content_and_lock(root: Path) -> None:
    whole = several(members=(entry(), entry()))
    (root / "groups").mkdir()
    with living(root, whole):
        assert not journal.is_decided(root, OP)
        journal.decide(root, OP)
        assert os.listdir(root / "journal") == [f"{OP}.decided.json"]
        assert journal.is_decided(root, OP)
        assert journal.is_running(root, OP)
        assert journal.entries(root) == (whole,)
        assert journal.operations(root) == [OP]
    assert not journal.is_running(root, OP)
    journal.drop(root, OP)
    assert os.listdir(root / "journal") == []


HOSTILE: list[tuple[str, bytes | Entry]] = [
    ("a newer schema", inventory.encode(entry(schema_version=2))),
    ("another uuid", entry("e" * 32)),
    ("no entry at all", b"{}"),
    ("another kind of JSON", b"[1]"),
    ("nested deeply", b"[" * 10_000),
    ("a wrong type", inventory.encode(entry()).replace(b"4711", b'"4711"')),
    ("made above", entry(made=("../../secret",))),
    ("made absolute", entry(made=("/etc/passwd",))),
    ("made nowhere", entry(made=("",))),
    ("made the directory", entry(made=(".",))),
    ("made with a zero", entry(made=("a\0b",))),
    ("drop above", entry(drop=("../x",))),
    ("a deleted volume's directory, not put aside", entry(directory=DELETED, drop=(f"vol-{V}",))),
    ("another operation's directory", entry(directory=DELETED, drop=(layout.new(f"vol-{V}", "0" * 32),))),
    ("commit from elsewhere", entry(commit=Rename(source="/etc/passwd", target="x"))),
    ("commit to elsewhere", entry(commit=Rename(source="x", target="../x"))),
    ("publish from elsewhere", entry(publish=(Rename(source="../x", target="x"),))),
    ("publish to elsewhere", entry(publish=(Rename(source="x", target="a/b"),))),
    ("an absolute directory", entry(directory="/etc")),
    ("a directory above", entry(directory=f"{DIRECTORY}/../../..")),
    ("the root", entry(directory=".")),
    ("another directory", entry(directory="journal")),
    ("members of what is no group", entry(members=(entry(),))),
    ("a group without members", several(members=())),
    ("a member of a member", several(members=(entry(members=(entry(),)),))),
    ("a member elsewhere", several(members=(entry(directory="/etc"),))),
    ("a member among the groups", several(members=(several(members=()),))),
    ("a member's drop above", several(members=(entry(drop=("../x",)),))),
    ("a group's drop of something else", several(drop=("accounts.json",))),
    ("no uuid in the directory", entry(directory="dataVolumes/acct-x/vol-y/snapshots")),
]


@pytest.mark.parametrize("data", [data for _, data in HOSTILE], ids=[name for name, _ in HOSTILE])
def test_an_entry_that_is_whole_but_wrong_is_corrupt_and_nothing_is_touched(root: Path, data: bytes | Entry) -> None:
    (root / "secret").write_text("x")
    (root / DIRECTORY / "x.json").write_text("x")
    path = put(root, data)
    before = files(root)

    with pytest.raises(errors.Corrupt, match=str(path)) as caught:
        journal.read(root, OP)
    assert str(caught.value).isprintable()
    with pytest.raises(errors.Corrupt):
        journal.entries(root)
    assert recovery.recover(root) == ()
    assert files(root) == before


def test_an_entry_whose_directory_leads_elsewhere_by_a_link_is_corrupt(root: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "d.json").write_text("x")
    (root / DIRECTORY).rmdir()
    (root / DIRECTORY).symlink_to(elsewhere)
    put(root, entry())
    with pytest.raises(errors.Corrupt, match="names what is not its own"):
        journal.read(root, OP)
    assert recovery.recover(root) == ()
    assert (elsewhere / "d.json").exists()


def test_a_wrong_entry_stops_the_next_verb_with_its_path_and_no_reader(oracle: Oracle) -> None:
    volume = oracle.volume()
    path = put(oracle.engine.root, entry(schema_version=2))
    engine = Engine.open(oracle.engine.root)

    assert engine.recovered == ()
    assert engine.get_volume(volume).uuid == volume and engine.list_snapshots() == ()
    with pytest.raises(errors.Corrupt, match=f"{path} was written by a newer snapengine; upgrade"):
        engine.create_snapshot(volume, "a")
    assert [(p.kind, p.path) for p in engine.verify()] == [("journal-damaged", str(path))]
    path.unlink()
    oracle.create(volume, "a")
    oracle.check()


def dead(engine: Engine, volume: str) -> Entry:
    """Leave the entry of a purge that died right after it was begun, and return it."""
    directory = os.path.relpath(engine.volume_path(volume).parent, engine.root)
    place = draft.Place(OP, "purge trash", directory, "Jun 7, 2017 9:20:17 PM", 4711)
    left = plan.purge(place, records_of(engine, volume), [])
    put(engine.root, left.entry)
    return left.entry


def records_of(engine: Engine, volume: str) -> inventory.VolumeRecord:
    path = engine.volume_path(volume).with_name(f"{volume}.json")
    return inventory.decode(path.read_bytes(), inventory.VolumeRecord, path)


def test_opening_a_store_ends_what_a_dead_process_left_and_says_so(oracle: Oracle) -> None:
    volume = oracle.volume()
    left = dead(oracle.engine, volume)
    (told,) = Engine.open(oracle.engine.root).recovered
    assert told == recovery.Recovered(
        operation=left.uuid, verb="purge trash", volume_uuid=volume, started=left.started, outcome="finished"
    )
    oracle.check()


def test_opening_a_store_to_look_only_changes_nothing(engine: Engine) -> None:
    dead(engine, engine.create_volume("db", MIB).uuid)
    before = files(engine.root)
    assert Engine.open(engine.root, recover=False).recovered == ()
    assert files(engine.root) == before


def test_a_verb_ends_what_a_dead_process_left_of_its_volume(oracle: Oracle) -> None:
    volume = oracle.volume()
    dead(oracle.engine, volume)
    oracle.create(volume, "a")
    oracle.check()


def test_what_is_left_of_a_volume_that_is_not_there_is_kept_and_told(engine: Engine) -> None:
    """It may lie on a disk that is not mounted just now."""
    volume = engine.create_volume("db", MIB).uuid
    left = dead(engine, volume)
    directory = engine.volume_path(volume).parent.parent
    away = directory.rename(engine.root.parent / "away")

    (told,) = Engine.open(engine.root).recovered
    assert told.outcome.startswith("left as it is: its volume is gone")
    assert journal.entries(engine.root) == (left,)
    away.rename(directory)
    (told,) = Engine.open(engine.root).recovered
    assert told.outcome == "finished" and engine.verify() == ()
