"""A store that lost a part which it can do without, or that cannot be written: whatever is whole goes on working."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from snapengine import command, draft, inventory, layout, units
from snapengine.engine import Engine
from tests import prepared, privileged
from tests.command_line import CommandLine
from tests.oracle import Oracle
from tests.prepared import Prepared


@pytest.fixture
def shown(tmp_path: Path) -> Iterator[Prepared]:
    """Return a store of root's that everybody may read."""
    command._module()  # who is nobody can't load it any more
    with privileged.open_directory() as place:
        yield prepared.make(tmp_path / "storage").copied(place / "storage")


def test_a_store_whose_empty_journal_directory_was_not_backed_up_goes_on(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.write(volume)
    shutil.rmtree(oracle.engine.root / "journal")

    engine = Engine.open(oracle.engine.root)
    assert engine.verify() == ()
    assert engine.status().unfinished == ()
    oracle.create(volume, "a")
    oracle.check()


def test_a_volume_is_created_where_the_journal_directory_is_gone(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "storage")
    run.text("init")
    shutil.rmtree(tmp_path / "storage" / "journal")
    run.text("volume", "create", "db", "--size", "1M")
    assert run.text("verify") == "no problems\n"


def test_a_damaged_record_of_the_store_is_no_reason_to_run_verify_again(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "storage")
    run.text("init")
    (tmp_path / "storage" / "primary-storage.json").write_text("{")
    for words in (["verify"], ["status"]):
        told = run.error(6, *words)
        assert "restore it from a backup" in told and "run 'snapengine verify'" not in told


def test_a_store_whose_own_record_is_missing_is_rebuilt_and_never_made_anew(tmp_path: Path) -> None:
    """An init over it would lose the accounts, and what the store was called."""
    run, root = CommandLine(tmp_path / "storage"), tmp_path / "storage"
    run.text("init", "--name", "mine", "--depth-limit", "9")
    run.text("account", "create", "bob")
    for words in ((), ("volume", "create", "db", "--size", "1M", "--account", "bob")):
        if words:
            run.text(*words)
        before = run.text("account", "list"), run.json("status")
        (root / "primary-storage.json").unlink()
        for asked in (["status"], ["verify"], ["volume", "list"]):
            assert "storage is missing; 'snapengine rebuild' makes it again" in run.error(6, *asked)
        assert "whose own record is missing; 'snapengine rebuild' makes it again" in run.error(4, "init")
        run.text("rebuild")
        after = run.text("account", "list"), run.json("status")
        assert after[0] == before[0] and after[1] | {"free": 0} == before[1] | {"free": 0}


def test_a_directory_whose_store_was_removed_whole_is_made_one_anew(tmp_path: Path) -> None:
    run, root = CommandLine(tmp_path / "storage"), tmp_path / "storage"
    run.text("init")
    for path in root.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert "create one with 'snapengine init'" in run.error(3, "status")
    run.text("init")


def test_a_store_is_made_at_the_root_of_a_new_file_system(tmp_path: Path) -> None:
    run = CommandLine(tmp_path)
    (tmp_path / "lost+found").mkdir(0o700)
    run.text("init")
    assert run.text("verify") == "no problems\n"


def test_without_the_accounts_record_each_command_that_needs_it_tells_what_helps(tmp_path: Path) -> None:
    run = CommandLine(tmp_path / "storage")
    run.text("init")
    (tmp_path / "storage" / "accounts.json").unlink()
    assert run.json("status")["damaged"] == 1
    for words in (["account", "list"], ["volume", "create", "db", "--size", "1M"], ["account", "create", "bob"]):
        assert "accounts.json is missing; 'snapengine rebuild' makes it again" in run.error(6, *words)
    run.text("rebuild")
    run.text("volume", "create", "db", "--size", "1M")


def test_the_status_counts_a_deleted_volume_whose_record_is_damaged(oracle: Oracle) -> None:
    volume = oracle.volume()
    oracle.delete_volumes(volume)
    (record,) = (oracle.engine.root / "trash").rglob(f"{volume}.json")
    record.write_text("{")
    found = oracle.engine.status()
    assert (found.deleted_volumes, found.damaged) == (1, 1)


@pytest.mark.parametrize("name", ["accounts.json", "journal/{}.json", "record"])
def test_verify_never_sends_people_to_verify_for_what_it_found(oracle: Oracle, name: str) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "a")
    record = Path(snapshot.primary_storage_install_path).with_suffix(".json")
    path = record if name == "record" else oracle.engine.root / name.format("1" * 32)
    path.write_text("[]")
    (problem,) = oracle.engine.verify()
    assert "snapengine verify" not in problem.message


def test_what_was_cut_off_is_told_with_local_time(oracle: Oracle) -> None:
    volume = oracle.volume()
    directory = oracle.engine.volume_path(volume).parent
    place = draft.Place("1" * 32, "revert", str(directory.relative_to(oracle.engine.root)), "Jun 7, 2017 9:20:17 PM", 1)
    entry = draft.entry(place, volume, made=(layout.image("2" * 32),), reserved=("2" * 32,))
    (oracle.engine.root / "journal" / layout.record("1" * 32)).write_bytes(inventory.encode(entry))
    (problem,) = oracle.engine.verify()
    assert problem.message == f"revert, begun {units.local_time('Jun 7, 2017 9:20:17 PM')}, was cut off"


@privileged.needs_root
@pytest.mark.root
def test_who_may_only_read_verifies_and_previews_and_is_told_what_he_may_not_see(shown: Prepared) -> None:
    hidden = shown.image(shown.first)
    hidden.chmod(0)
    found = privileged.as_nobody(lambda: Engine.open(shown.root, recover=False).verify())
    accounts = shown.root / "accounts.json"
    assert [(p.kind, p.path) for p in found] == [("unreadable", str(accounts)), ("unreadable", str(hidden))]
    hidden.chmod(0o644)
    preview = privileged.as_nobody(lambda: Engine.open(shown.root, recover=False).preview_revert(shown.second))
    assert preview.plan[-1].verb == "revert"


@privileged.needs_root
@pytest.mark.root
@pytest.mark.parametrize("closed", ["directory", "record", "account"])
def test_what_can_not_be_read_keeps_verify_from_nothing_else(shown: Prepared, closed: str) -> None:
    where = {"directory": shown.directory, "record": shown.record(shown.first), "account": shown.directory.parents[1]}
    where[closed].chmod(0)
    shown.engine.volume_path(shown.other).unlink()
    found = privileged.as_nobody(lambda: Engine.open(shown.root, recover=False).verify())
    assert any(p.kind == "unreadable" and p.path.startswith(str(where[closed])) for p in found)
    assert closed == "account" or ("image-missing", shown.other) in [(p.kind, p.object) for p in found]


def test_one_damaged_record_hides_no_other_from_lists_and_counts(oracle: Oracle) -> None:
    volume = oracle.volume("db")
    a, b, c = (oracle.create(volume, name) for name in "abc")
    whole = oracle.engine.status()
    Path(b.primary_storage_install_path).with_suffix(".json").write_text("{")
    run = CommandLine(oracle.engine.root)

    for words in (["snapshot", "list"], ["snapshot", "list", "db"], ["tag", "list"]):
        ended = run(*words, "--output", "json")
        assert ended.code == 6 and ended.stderr.count("warning: left out: ") == 1 and b.uuid in ended.stderr
        if words[0] == "snapshot":
            assert [each["name"] for each in json.loads(ended.stdout)["inventories"]] == ["a", "c"]
    found = run.json("status")
    assert (found["volumes"], found["snapshots"], found["deepestChain"], found["damaged"]) == (1, 3, 3, 1)
    assert abs(found["used"] - whole.used) <= 4096
    assert "run 'snapengine verify'" in run("status").stderr


def test_a_damaged_volume_is_counted_with_all_that_its_files_take(oracle: Oracle) -> None:
    volume = oracle.volume("db")
    oracle.create(volume, "a")
    whole = oracle.engine.status()
    oracle.engine.volume_path(volume).with_suffix(".json").write_text("{")
    (oracle.engine.root / "journal" / layout.record("1" * 32)).write_text("[]")

    found = oracle.engine.status()
    assert (found.volumes, found.snapshots, found.damaged) == (1, 1, 2)
    assert abs(found.used - whole.used) <= 4096
    assert CommandLine(oracle.engine.root)("volume", "list").code == 6
