"""What is asked before something goes, what is told beside it, and what is refused without a question."""

import json
from pathlib import Path

import pytest

from snapengine.cli import text
from tests import images, prepared, qemu
from tests.command_line import CommandLine, terminal
from tests.prepared import Prepared


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("questions") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


@pytest.fixture
def run(store: Prepared) -> CommandLine:
    return CommandLine(store.root)


def question(run: CommandLine, *words: str) -> str:
    """Return what would be asked, as it is told where there is no terminal to ask on; nothing may have changed."""
    line = run.error(2, *words)
    assert line.endswith("; give --yes to confirm it, there is no terminal to ask on")
    return line.rpartition(";")[0]


def test_a_delete_names_the_snapshots_that_go(run: CommandLine, store: Prepared) -> None:
    asked = question(run, "snapshot", "delete", "first", "db/second")
    assert asked.startswith("2 snapshots will be gone for good, ") and asked.endswith(": 'db/second', 'db/first'")
    assert question(run, "snapshot", "delete", store.second).endswith(": 'db/second'")
    store.oracle.check()


def test_of_many_snapshots_it_names_five_and_counts_the_rest(run: CommandLine, store: Prepared) -> None:
    made = [store.oracle.create(store.other, f"s{number}").uuid for number in range(7)]
    asked = question(run, "snapshot", "delete", *made)
    assert asked.startswith("7 snapshots will") and asked.count("'other/s") == 5 and asked.endswith("' and 2 more")


def test_an_undo_names_the_snapshot_that_goes(run: CommandLine, store: Prepared) -> None:
    store.oracle.create(store.volume, "mistake")
    asked = question(run, "snapshot", "undo", "db")
    assert asked.startswith("1 snapshot will be gone for good") and asked.endswith(": 'db/mistake'")


def test_a_delete_of_volumes_tells_their_snapshots_and_what_they_take(run: CommandLine, store: Prepared) -> None:
    engine = store.engine
    for uuid in (store.volume, store.first, store.second):
        images.settle(store.image(uuid))
    sizes = [engine.get_volume(store.volume).actual_size, *(s.size for s in engine.list_snapshots(store.volume))]
    told = f"volume 'db' with 2 snapshots, {text.value('size', sum(sizes))}, volume 'other' with 0 snapshots, "
    asked = question(run, "volume", "delete", "db", "other", "db")
    assert asked.startswith(f"to be deleted: {told}")
    assert asked.endswith("; 'snapengine volume recover' brings a deleted volume back")


def test_a_purge_names_what_goes_and_shows_its_name_when_it_is_gone(run: CommandLine, store: Prepared) -> None:
    run.text("volume", "delete", "other", "--yes")
    asked = question(run, "trash", "purge")
    assert asked.startswith("2 trash items, ") and "an image that volume 'db' had until " in asked
    assert "deleted volume 'other' with all its snapshots" in asked

    head, *lines = run.text("trash", "purge", "--yes").splitlines()
    where = head.split().index("VOLUME")
    assert sorted(line.split()[where] for line in lines) == ["db", "other"]


def test_an_expunge_calls_the_volume_by_its_name_whatever_was_typed(run: CommandLine, store: Prepared) -> None:
    run.json("volume", "delete", "other", "--yes")
    assert question(run, "volume", "expunge", store.other[:8]).startswith("deleted volume 'other', ")


def test_where_there_is_nothing_to_purge_that_is_told_without_a_question(run: CommandLine, store: Prepared) -> None:
    assert run.text("trash", "purge", "--older-than", "1d") == "nothing to purge\n"
    assert run.json("trash", "purge", "--older-than", "1d") == {"inventories": []}
    assert [item.uuid for item in store.engine.list_trash()] == [store.item]


def test_what_linked_clones_keep_is_told_once_and_by_its_name(run: CommandLine, store: Prepared) -> None:
    store.oracle.clone(store.first, "clone", linked=True)
    words = ("snapshot", "delete", "first", "second")
    for more, code in ((["--dry-run"], 0), ([], 2), (["--yes"], 4)):
        ended = run(*words, *more)
        stays = "warning: snapshot 'db/first' stays: it is the base of linked clones: clone ("
        assert ended.code == code and ended.stderr.startswith(stays)
        assert ended.stderr.count("stays") == ended.stderr.count("linked clones") == 1
        assert store.first not in ended.stderr
    assert {s.uuid for s in store.engine.list_snapshots(store.volume)} == {store.first}


def test_in_json_what_stays_is_in_the_document_and_nothing_beside_it(run: CommandLine, store: Prepared) -> None:
    store.oracle.clone(store.first, "clone", linked=True)
    words = ("snapshot", "delete", "first", "second", "--output", "json")
    planned = run(*words, "--dry-run")
    (stays,) = json.loads(planned.stdout)["stays"]
    assert (planned.code, planned.stderr) == (0, "")

    done = run(*words, "--yes")
    assert (done.code, done.stderr) == (4, "")
    assert json.loads(done.stdout)["results"] == [stays, {"snapshotUuid": store.second, "success": True}]


def test_what_would_go_with_it_and_may_not_is_named_too(run: CommandLine, store: Prepared) -> None:
    store.oracle.clone(store.second, "clone", linked=True)
    line = run.error(4, "snapshot", "delete", "first", "--with-descendants", "--dry-run")
    assert line.startswith(f"snapshot db/first ({store.first}) stays: snapshot db/second ({store.second}), which ")


def test_a_group_s_delete_tells_once_what_stays(run: CommandLine, store: Prepared) -> None:
    run.text("group", "create", "both", "db", "other")
    store.engine.clone_volume(store.engine.find_snapshot("both-db"), "clone", linked=True)
    ended = run("group", "delete", "both", "--yes")
    assert ended.code == 4 and ended.stderr.count("stays: ") == 1 and "'db/both-db'" in ended.stderr


@pytest.mark.parametrize("which", ["volume", "first", "second", "item"])
def test_no_question_where_a_vm_has_any_image_of_the_volume_open(
    run: CommandLine, store: Prepared, which: str
) -> None:
    image = store.image(getattr(store, which))
    with qemu.locked(image):
        for more in ([], ["--dry-run"], ["--yes"]):
            assert f"is in use: {image}" in run.error(5, "volume", "delete", "db", *more)
    store.oracle.check()


def test_no_question_where_a_vm_has_a_deleted_volume_open(run: CommandLine, store: Prepared) -> None:
    run.text("volume", "delete", "other", "--yes")
    (volume,) = store.engine.list_volumes(deleted=True)
    with qemu.locked(Path(volume.install_path)):
        for more in ([], ["--dry-run"], ["--yes"]):
            assert "is in use" in run.error(5, "volume", "expunge", "other", *more)
            assert "is in use" in run.error(5, "trash", "purge", volume.uuid, *more)


def test_no_question_where_a_vm_has_a_trash_item_open(run: CommandLine, store: Prepared) -> None:
    with qemu.locked(store.image(store.item)):
        for more in ([], ["--dry-run"], ["--yes"]):
            assert "is in use" in run.error(5, "trash", "purge", *more)
    store.oracle.check()


def test_on_a_terminal_a_volume_in_use_is_refused_without_a_question(store: Prepared) -> None:
    with qemu.locked(store.image(store.first)):
        code, shown = terminal(store.root, "volume", "delete", "db", keys="y\n")
    assert code == 5 and "[y/N]" not in shown and shown.startswith("error: ")


@pytest.mark.parametrize(
    ("code", "words", "says"),
    [
        (2, ("snapshot", "diff", "first", "db"), "'db' is a volume: leave OTHER out"),
        (3, ("snapshot", "diff", "first", "nothing"), "snapshot 'nothing' was not found"),
        (2, ("account", "quota", "admin", "-1"), "Invalid value '-1…': no number here can be negative"),
        (2, ("config", "depth-limit", "-20"), "Invalid value '-2…': no number here can be negative"),
        (2, ("volume", "resize", "db", "-5G"), "Invalid value '-5…': no number here can be negative"),
        (2, ("volume", "list", "-x"), "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_word_is_told_what_it_is(run: CommandLine, code: int, words: tuple[str, ...], says: str) -> None:
    assert says in run.error(code, *words)
