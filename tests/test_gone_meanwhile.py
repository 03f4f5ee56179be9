"""Who looks while others work: what went in between is not found, which is no damage."""

from pathlib import Path

import pytest

from snapengine import chain, errors, journal, lock, store
from snapengine.engine import Engine
from tests.oracle import Oracle


@pytest.fixture
def db(oracle: Oracle) -> str:
    volume = oracle.volume("db")
    oracle.write(volume)
    return volume


@pytest.mark.parametrize("look", [Engine.snapshot_sizes, Engine.diff_snapshots])
def test_a_snapshot_that_goes_before_its_volume_is_locked_is_not_found(
    oracle: Oracle, db: str, look: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = oracle.create(db, "first").uuid
    found = store.find_snapshot

    def found_and_gone(root: Path, uuid: str) -> Path:
        directory = found(root, uuid)
        monkeypatch.undo()
        oracle.delete(snapshot)
        return directory

    monkeypatch.setattr(store, "find_snapshot", found_and_gone)
    assert callable(look)
    with pytest.raises(errors.NotFound, match=snapshot):
        look(oracle.engine, snapshot)


@pytest.mark.parametrize("look", [Engine.snapshot_sizes, Engine.diff_snapshots])
def test_a_snapshot_that_an_unfinished_delete_destroys_is_not_found(oracle: Oracle, db: str, look: object) -> None:
    first, second = (oracle.create(db, name).uuid for name in ("first", "second"))
    directory = oracle.engine.volume_path(db).parent
    kept = {path: path.read_bytes() for path in directory.glob(f"{first}.*")}
    oracle.delete(first)
    for path, data in kept.items():
        path.write_bytes(data)  # as it lies there until a commit is done again

    assert callable(look)
    with pytest.raises(errors.NotFound, match=first):
        look(oracle.engine, first)
    assert second in {snapshot.uuid for snapshot in oracle.engine.list_snapshots(db)}


def test_an_operation_that_ends_while_verify_looks_is_not_unfinished(
    oracle: Oracle, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = journal.read
    entry = oracle.engine.root / "journal" / f"{'0' * 31}1.json"

    def read_and_gone(root: Path, operation: str) -> object:
        found = read(root, operation)
        entry.unlink(missing_ok=True)
        return found

    oracle.create(db, "first")
    directory = oracle.engine.volume_path(db).parent.relative_to(oracle.engine.root)
    entry.write_text(
        f'{{"uuid":"{entry.stem}","verb":"create snapshot","volumeUuid":"{db}","directory":"{directory}",'
        '"pid":1,"started":"Jan 1, 2026 1:00:00 AM","schemaVersion":1}'
    )
    assert [problem.kind for problem in oracle.engine.verify()] == ["unfinished"]
    monkeypatch.setattr(journal, "read", read_and_gone)

    assert oracle.engine.verify() == ()


@pytest.mark.parametrize("look", ["export", "diff", "sizes"])
def test_who_reads_through_the_base_of_a_linked_clone_keeps_it_as_it_is(
    oracle: Oracle, db: str, tmp_path: Path, look: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = oracle.engine
    clone = oracle.clone(oracle.create(db, "base").uuid, "clone", linked=True)
    snapshot = oracle.create(clone, "first").uuid
    read, seen = chain.read, []

    def while_locked(directory: Path, name: str, *, across: bool = True) -> tuple[chain.Layer, ...]:
        with pytest.raises(errors.Locked):
            with lock.exclusive(engine.volume_path(db).parent.parent, "delete", 0):
                pass
        seen.append(name)
        return read(directory, name, across=across)

    monkeypatch.setattr(chain, "read", while_locked)
    if look == "export":
        engine.export_snapshot(snapshot, tmp_path / "out.qcow2")
    elif look == "diff":
        engine.diff_snapshots(snapshot)
    else:
        engine.snapshot_sizes(snapshot)
    assert seen
