"""
The command line: arguments in, one Engine call, text or JSON out, an exit code.

This package alone reads the environment, prints and exits. Every start imports what stands at the top here, which is
click and little else; all other modules are loaded when they are used.
"""

import functools
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import click

from snapengine.cli import failure, settings
from snapengine.version import __version__

_COMPLETING = "_SNAPENGINE_COMPLETE"  # set by the shells' scripts, read by click

_MODULES = {
    "init": "storage",
    "status": "storage",
    "volume": "volume",
    "snapshot": "snapshot",
    "group": "group",
    "verify": "storage",
    "repair": "mending",
    "rebuild": "mending",
    "trash": "trash",
    "tag": "tag",
    "account": "account",
    "access-key": "access_key",
    "config": "storage",
    "serve": "serve",
    "completion": "completion",
}


class Root(settings.Outermost):
    """The nouns, and the verbs that have none, each in a module that is loaded when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"snapengine.cli.{_MODULES[cmd_name]}")  # late: only what is used
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as e:
            raise click.NoSuchCommand(e.command_name, possibilities=_MODULES, ctx=ctx) from e


@click.command(cls=Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def root() -> None:
    """
    Snapshot the volumes of a KVM host.

    A volume is a qcow2 image that a VM uses; a snapshot is a frozen layer under it. Both are named by uuid, by 4 or
    more characters that a single uuid begins with, or by a name that is unique; VOLUME/SNAPSHOT narrows a name to one
    volume.

    Exit codes: 0 done, 1 a bug, 2 usage, 3 not found, 4 not in this state, 5 busy, 6 corrupt, 7 no room, 8 a tool
    failed.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line args, by default this process's own, and return its exit code."""
    words = list(sys.argv[1:] if args is None else args)
    if _COMPLETING in os.environ:
        _rejoin_options()
        root.main(words, prog_name="snapengine")
    _fill_standard_streams()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    said = settings.Settings()
    return failure.guarded(functools.partial(_run, words, said), words, said)


def _rejoin_options() -> None:
    """Let click see `--output=js` as bash took it apart, at the `=`, as it sees `--output js`."""
    words = os.environ.get("COMP_WORDS", "").split("\n")
    at = os.environ.get("COMP_CWORD", "")
    if not at.isdecimal():
        return
    signs = {i for i, word in enumerate(words) if i < int(at) and word == "=" and words[i - 1].startswith("--")}
    os.environ["COMP_WORDS"] = "\n".join(word for i, word in enumerate(words) if i not in signs)
    os.environ["COMP_CWORD"] = str(int(at) - len(signs))


def _run(words: list[str], said: settings.Settings) -> None:
    with root.make_context("snapengine", [*words], obj=said) as context:
        root.invoke(context)


def _fill_standard_streams() -> None:
    """Where a standard stream was closed, open nothing there: else an image or a lock would take its number."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(fd)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Stop as a Ctrl-C does, so that what is under way is undone."""
    raise failure.Terminated
