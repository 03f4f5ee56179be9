"""snapengine completion: what a shell needs to complete nouns, verbs, options, names and uuids."""

import click
from click import shell_completion

from snapengine.cli import settings, show, wire

_ENABLE = {
    "bash": """put this line into ~/.bashrc: eval "$(snapengine --output text completion bash)\"""",
    "zsh": """put this line into ~/.zshrc, after compinit: eval "$(snapengine --output text completion zsh)\"""",
    "fish": "run once: snapengine --output text completion fish > ~/.config/fish/completions/snapengine.fish",
}


@click.command(cls=settings.Verb)
@click.argument("shell", type=click.Choice(list(_ENABLE)), metavar="SHELL", help="The shell: bash, zsh or fish.")
def completion(shell: str) -> None:
    """
    Print what a shell needs to complete commands.

    It is a script; its last line says how to enable it. Nouns, verbs and options are completed, and the names and
    uuids of volumes, snapshots and groups.
    """
    kind = shell_completion.get_completion_class(shell)
    assert kind is not None
    root = click.get_current_context().find_root().command
    script = kind(root, {}, "snapengine", "_SNAPENGINE_COMPLETE").source()
    if show.in_json():
        show.raw(wire.document({"script": script}))
    else:
        show.line(f"{script.rstrip()}\n# To enable it, {_ENABLE[shell]}")
