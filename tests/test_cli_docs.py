"""docs/cli.md is made from the commands, and every command says what it does."""

import importlib.util
from pathlib import Path

import click
import pytest

from snapengine.cli import root

MAKER = Path(__file__).parents[1] / "docs" / "make_cli.py"

spec = importlib.util.spec_from_file_location("make_cli", MAKER)
assert spec is not None and spec.loader is not None
make_cli = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_cli)

COMMANDS = [(command, at) for command, at in make_cli.commands(click.Context(root, info_name="snapengine"))]


def test_the_page_is_fresh() -> None:
    assert MAKER.with_name("cli.md").read_text() == make_cli.page(), "run 'python docs/make_cli.py'"


@pytest.mark.parametrize("command, at", COMMANDS, ids=lambda x: x.command_path if isinstance(x, click.Context) else "")
def test_every_command_argument_and_option_has_help(command: click.Command, at: click.Context) -> None:
    first = (command.help or "").strip().split("\n")[0]
    assert first[:1].isupper() and first.endswith("."), first
    assert command.get_short_help_str(limit=60).endswith("."), "the first sentence is too long for a list of commands"
    for param in command.get_params(at):
        if isinstance(param, click.Argument | click.Option):
            assert param.help and param.help.endswith("."), param.name


def test_every_command_is_on_the_page() -> None:
    page = MAKER.with_name("cli.md").read_text()

    for _, at in COMMANDS:
        assert f"# {at.command_path}\n" in page
