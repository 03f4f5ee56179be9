"""The command on a real terminal: questions, drawings, progress."""

import os
from pathlib import Path

import pytest

from snapengine import units
from snapengine.engine import Engine
from tests.command_line import process, terminal
from tests.oracle import poke

FRAME = "╭│╰├─┤"


@pytest.fixture
def db(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the uuid of a volume called db with a snapshot called s, and data in its active image."""
    monkeypatch.setenv("NO_COLOR", "1")
    volume = engine.create_volume("db", 2**20).uuid
    engine.create_snapshot(volume, "s")
    poke(engine.volume_path(volume), 7)
    return volume


def test_revert_asks_and_says_what_goes_to_the_trash(engine: Engine, db: str) -> None:
    size = units.format_size(engine.get_volume(db).actual_size)
    code, shown = terminal(engine.root, "snapshot", "revert", "s", keys="n\n")

    assert code == 2 and engine.list_trash() == ()
    assert (
        f"volume 'db' goes back to snapshot 's'; its present image, {size}, goes to the trash. Go ahead? [y/N]" in shown
    )
    assert "nothing was changed" in shown


@pytest.mark.parametrize("keys", ["y\n", "YES\n"])
def test_revert_goes_ahead_after_a_yes(engine: Engine, db: str, keys: str) -> None:
    code, _ = terminal(engine.root, "snapshot", "revert", "s", keys=keys)

    assert code == 0 and len(engine.list_trash()) == 1


@pytest.mark.parametrize("keys", ["\n", "\x04", "yeah\n"])
def test_anything_but_a_yes_changes_nothing(engine: Engine, db: str, keys: str) -> None:
    code, shown = terminal(engine.root, "snapshot", "revert", "s", keys=keys)

    assert code == 2 and "\nerror: not confirmed" in shown and engine.list_trash() == ()


def test_ctrl_c_at_a_question_is_130(engine: Engine, db: str) -> None:
    code, shown = terminal(engine.root, "snapshot", "revert", "s", keys="\x03")

    assert code == 130 and "error: interrupted" in shown and engine.list_trash() == ()


def test_yes_and_a_refusal_ask_nothing(engine: Engine, db: str) -> None:
    assert "[y/N]" not in terminal(engine.root, "snapshot", "revert", "nothing")[1]
    assert terminal(engine.root, "snapshot", "revert", "s", "--yes") == (0, "")


def test_purge_asks_with_count_and_bytes_and_only_if_something_goes(engine: Engine, db: str) -> None:
    assert "[y/N]" not in terminal(engine.root, "trash", "purge")[1]
    engine.revert(engine.find_snapshot("s"))

    size = units.format_size(engine.list_trash()[0].size)
    code, shown = terminal(engine.root, "trash", "purge", keys="y\n")

    assert code == 0 and engine.list_trash() == ()
    assert f"1 trash item, {size}, will be gone for good: an image that volume 'db' had until 20" in shown


def test_a_list_is_drawn_as_a_table(engine: Engine, db: str) -> None:
    engine.update_volume(db, name="[bold]db[/bold] :smile:")

    code, shown = terminal(engine.root, "volume", "list", columns=140)

    assert code == 0
    assert shown.startswith("╭") and "\x1b" not in shown
    assert "│ [bold]db[/bold] :smile: │" in shown and db in shown


def test_on_a_narrow_terminal_uuids_are_shortened(engine: Engine, db: str) -> None:
    _, shown = terminal(engine.root, "volume", "list", columns=80)

    assert f"│ {db[:8]} │" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_what_fits_no_terminal_is_plain(engine: Engine, db: str) -> None:
    _, shown = terminal(engine.root, "volume", "list", columns=40)

    assert not set(FRAME) & set(shown) and db in shown


def test_what_is_longer_than_two_screens_is_plain(engine: Engine, db: str) -> None:
    for number in range(5):
        engine.create_snapshot(db, f"s{number}")

    assert "│" in terminal(engine.root, "snapshot", "list", lines=3, columns=140)[1]
    assert "│" not in terminal(engine.root, "snapshot", "list", lines=2, columns=140)[1]
    assert "├" not in terminal(engine.root, "snapshot", "tree", "db", lines=2)[1]


def test_json_is_never_drawn(engine: Engine, db: str) -> None:
    _, shown = terminal(engine.root, "volume", "list", "--output", "json")

    assert shown.startswith('{"inventories":[{') and shown.count("\n") == 1


def test_the_tree_is_drawn_with_boxes(engine: Engine, db: str) -> None:
    engine.create_snapshot(db, "[red]two")
    engine.revert(engine.find_snapshot("s"))

    _, shown = terminal(engine.root, "snapshot", "tree", "db")

    head, *lines = shown.splitlines()
    assert head.endswith(", current")
    assert lines[0].startswith("└── s ") and lines[0].endswith("latest")
    assert lines[1].startswith("    ├── [red]two ")
    assert lines[2].rstrip() == "    └── * volume db stands here"


def test_colour_is_for_terminals_and_no_color_takes_it_away(
    engine: Engine, db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "\x1b[" not in terminal(engine.root, "snapshot", "tree", "db")[1]
    monkeypatch.delenv("NO_COLOR")
    assert "\x1b[" in terminal(engine.root, "snapshot", "tree", "db")[1]
    assert "\x1b[" not in process("snapshot", "tree", "db", SNAPENGINE_ROOT=str(engine.root)).stdout


AT_ONCE = "import sys; from snapengine import cli; from snapengine.cli import progress; progress.MOMENT = 0.0; "
AT_ONCE += "sys.exit(cli.main())"


def test_an_import_that_takes_long_shows_its_progress(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "disk.raw"
    source.write_bytes(os.urandom(8 * 2**20))
    words = ("volume", "import", str(source), "--format", "raw")

    _, shown = terminal(engine.root, *words, start=AT_ONCE, columns=120)
    assert "importing" in shown and "8.4 MB" not in shown and "8.0 MiB" in shown and "/s" in shown

    assert "importing" not in terminal(engine.root, *words, start=AT_ONCE.replace("0.0", "100.0"))[1]
    assert "importing" not in terminal(engine.root, *words, "--quiet", start=AT_ONCE)[1]
    assert process(*words, start=AT_ONCE, SNAPENGINE_ROOT=str(engine.root)).stderr == ""


def test_a_deep_verify_that_takes_long_shows_its_progress(engine: Engine, db: str) -> None:
    poke(engine.volume_path(db), 1, 0, 2**20)
    for words in (("verify", "--deep"), ("verify", "db", "--deep")):
        _, shown = terminal(engine.root, *words, start=AT_ONCE, columns=120)
        assert "checking" in shown and "MiB" in shown and "/s" in shown and "no problems" in shown
    assert "checking" not in terminal(engine.root, "verify", start=AT_ONCE)[1]
    assert process("verify", "--deep", start=AT_ONCE, SNAPENGINE_ROOT=str(engine.root)).stderr == ""


def test_a_copy_that_takes_long_shows_how_much_of_the_whole_chain_is_done(
    engine: Engine, db: str, tmp_path: Path
) -> None:
    poke(engine.volume_path(db), 1, 0, 2**20)
    snapshot = engine.create_snapshot(db, "upper").uuid
    engine.resize_volume(db, 64 * 2**20)
    sizes = engine.snapshot_sizes(snapshot)
    moved = units.format_size(sizes.chain_size)
    assert sizes.actual_size < sizes.chain_size < 64 * 2**20

    for words in (("volume", "clone", "db/upper", "copy"), ("snapshot", "export", "db/upper", str(tmp_path / "file"))):
        _, shown = terminal(engine.root, *words, start=AT_ONCE, columns=120)
        assert ("copying" in shown or "exporting" in shown) and f"{moved.split()[0]} " in shown, words
        assert "64.0 MiB" not in shown


def test_a_group_revert_that_sends_nothing_to_the_trash_does_not_speak_of_it(engine: Engine, db: str) -> None:
    group = engine.create_group("g", volumes=(db,)).uuid
    _, shown = terminal(engine.root, "group", "revert", group, keys="n\n")
    assert "will go back to group 'g': 'db'" in shown and "present image" not in shown
