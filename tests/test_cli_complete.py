"""What shells complete, and the scripts that let them."""

import subprocess
import sys
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests.command_line import START, CommandLine, environment
from tests.oracle import poke


@pytest.fixture
def run(engine: Engine) -> CommandLine:
    return CommandLine(engine.root)


def completed(line: str, shell: str = "bash", root: Path | None = None) -> list[str]:
    """Return what the shell gets for the line that is typed so far; the last word is the one to complete."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1)}
    ended = CommandLine(root)(env={"_SNAPENGINE_COMPLETE": f"{shell}_complete", **asked})
    assert (ended.code, ended.stderr) == (0, ""), ended
    return ended.stdout.split()


@pytest.mark.parametrize(
    "line, found",
    [
        ("snapengine vol", ["plain,volume"]),
        ("snapengine snapshot re", ["plain,revert"]),
        ("snapengine volume create db --si", ["plain,--size"]),
        ("snapengine volume list --ou", ["plain,--output"]),
        ("snapengine volume list --output ", ["plain,text", "plain,json"]),
        ("snapengine volume create db --type ", ["plain,root", "plain,data"]),
        ("snapengine completion ", ["plain,bash", "plain,zsh", "plain,fish"]),
        ("snapengine --root /t", ["dir,/t"]),
        ("snapengine volume import /t", ["file,/t"]),
    ],
)
def test_nouns_verbs_and_options_are_completed(line: str, found: list[str]) -> None:
    assert completed(line) == found


def test_names_and_uuids_of_objects_are_completed(engine: Engine) -> None:
    db = engine.create_volume("db", 2**20).uuid
    odd = engine.create_volume("a b*", 2**20).uuid
    daily = [engine.create_snapshot(volume, "daily").uuid for volume in (db, odd)]
    engine.create_snapshot(db, "weekly")

    assert "plain,db" in completed("snapengine volume show d", root=engine.root)
    assert f"plain,{db}" in completed(f"snapengine volume show {db[:3]}", root=engine.root)
    assert completed("snapengine volume show ", root=engine.root) == [
        f"plain,{odd}",
        "plain,db",
    ]  # no shell would break these
    found = completed("snapengine snapshot revert ", root=engine.root)
    assert set(found) == {"plain,db/daily", "plain,weekly", f"plain,{daily[1]}"}
    assert completed("snapengine snapshot show db/w", root=engine.root) == ["plain,db/weekly"]
    assert {"plain,db", "plain,weekly"} <= set(completed("snapengine tag list ", root=engine.root))
    assert completed("snapengine volume create x --account ", root=engine.root) == ["plain,admin"]


def test_the_root_before_the_noun_is_minded(engine: Engine) -> None:
    engine.create_volume("db", 2**20)

    assert completed(f"snapengine --root {engine.root} volume show ") == ["plain,db"]


def test_trash_items_are_completed(engine: Engine) -> None:

    volume = engine.create_volume("db", 2**20).uuid
    snapshot = engine.create_snapshot(volume, "s").uuid
    poke(engine.volume_path(volume), 7)
    engine.revert(snapshot)

    item = engine.list_trash()[0].uuid
    assert completed("snapengine trash restore ", root=engine.root) == [f"plain,{item}"]


def test_zsh_and_fish_complete_too(engine: Engine) -> None:
    volume = engine.create_volume("web", 2**20).uuid  # none begins with its first letter

    assert completed("snapengine volume show w", "zsh", engine.root) == ["plain", "web", volume]
    assert completed("snapengine volume show w", "fish", engine.root)[0].startswith("plain,web")


def test_completion_is_quiet_about_everything(tmp_path: Path, engine: Engine) -> None:
    volume = engine.create_volume("db", 2**20)
    assert completed("snapengine volume show ", root=Path("/nowhere")) == []
    assert completed("snapengine --wait nonsense volume show ", root=tmp_path) == []

    Path(volume.install_path).with_suffix(".json").write_text("damaged")
    assert completed("snapengine volume show ", root=engine.root) == []


def test_bash_completes_with_the_script(run: CommandLine, engine: Engine, tmp_path: Path) -> None:
    engine.create_volume("web", 2**20)  # no uuid begins with its first letter
    program = tmp_path / "snapengine"
    program.write_text(f"#!{sys.executable}\n{START}\n")
    program.chmod(0o755)
    script = tmp_path / "completion"
    script.write_text(run.text("completion", "bash"))
    typed = "COMP_WORDS=(snapengine volume show w) COMP_CWORD=3"

    shown = subprocess.run(
        ["bash", "-c", f'. {script}; {typed}; _snapengine_completion snapengine; echo "${{COMPREPLY[@]}}"'],
        capture_output=True, text=True, env=environment(PATH=f"{tmp_path}:/bin", SNAPENGINE_ROOT=str(engine.root)),
    )  # fmt: skip

    assert (shown.stdout.split(), shown.stderr) == (["web"], "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_to_enable_it(run: CommandLine, shell: str) -> None:
    text = run.text("completion", shell)

    assert "_SNAPENGINE_COMPLETE" in text
    assert text.splitlines()[-1].startswith("# To enable it, ") and f"completion {shell}" in text.splitlines()[-1]
    assert set(run.json("completion", shell)) == {"script"}


def test_an_unknown_shell_is_a_usage_error(run: CommandLine) -> None:
    run.error(2, "completion", "tcsh")


def test_a_name_that_several_have_is_completed_by_uuid(engine: Engine) -> None:
    twins = [engine.create_volume("twin", 2**20).uuid for _ in range(2)]
    assert set(completed("snapengine volume show ", root=engine.root)) == {f"plain,{uuid}" for uuid in twins}
    assert completed("snapengine volume show tw", root=engine.root) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("volume", "list", "--output", "=", "js"), ["plain,json"]),
        (("volume", "list", "--output", "="), ["plain,text", "plain,json"]),
        (("volume", "create", "x", "--type", "=", "r"), ["plain,root"]),
    ],
)
def test_values_behind_an_equals_sign_are_completed_as_bash_cuts_them(words: tuple[str, ...], found: list[str]) -> None:
    asked = {"COMP_WORDS": "\n".join(("snapengine", *words)), "COMP_CWORD": str(len(words))}
    ended = CommandLine(None)(env={"_SNAPENGINE_COMPLETE": "bash_complete", **asked})
    assert ended.stdout.split() == found
