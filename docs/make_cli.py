"""Write docs/cli.md from what the commands say of themselves: `python docs/make_cli.py`."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from snapengine.cli import root
from snapengine.cli.settings import Verb

PAGE = Path(__file__).with_name("cli.md")

_HEAD = """\
# The command line

Made from `--help` by `docs/make_cli.py`; change the commands, not this page.
"""


def page() -> str:
    """Return the whole page."""
    context = click.Context(root, info_name="snapengine")
    parts = [
        _HEAD,
        _text(root),
        "## Global options",
        "They work before the noun and after the verb.",
        _options(Verb.shared),
    ]
    for command, at in commands(context):
        parts += _section(command, at)
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def commands(context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """Give every command below that of context, nouns before their verbs, each with a context of its own."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        at = click.Context(command, parent=context, info_name=name)
        yield command, at
        if isinstance(command, click.Group):
            yield from commands(at)


def _section(command: click.Command, at: click.Context) -> list[str]:
    words = [at.command_path, *command.collect_usage_pieces(at)]
    title = "#" * len(at.command_path.split()) + f" {at.command_path}"
    usage = f"```\n{' '.join(words)}\n```"
    return [title, usage, _text(command), _arguments(command.params, at), _options(command.params, at)]


def _text(command: click.Command) -> str:
    """Return a command's description; what is not to be wrapped there is code here."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    return "\n\n".join(f"```\n{p[2:]}\n```" if p.startswith("\b") else p for p in paragraphs)


def _arguments(params: list[click.Parameter], at: click.Context) -> str:
    rows = [p.get_help_record(at) for p in params if isinstance(p, click.Argument)]
    return _list("Arguments", rows)


def _options(params: list[click.Parameter], at: click.Context | None = None) -> str:
    context = at or click.Context(root, info_name="snapengine")
    rows = [p.get_help_record(context) for p in params if isinstance(p, click.Option)]
    return _list("Options" if at else "", [row for row in rows if row is not None])


def _list(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"- `{name}`: {' '.join(text.split())}" for name, text in rows]
    return "\n".join([f"{title}:\n", *lines] if title and rows else lines)


if __name__ == "__main__":
    PAGE.write_text(page())
