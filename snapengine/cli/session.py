"""What a command begins with: an open engine; and what it asks before it throws something away."""

import sys

import click

import snapengine
from snapengine import errors
from snapengine.cli import failure, settings, text


def engine(*, recover: bool = True) -> "snapengine.Engine":
    """Open the engine on the root that the options name, and tell what a crash had left."""
    said = settings.current()
    if said.verbose:
        _show_log("snapengine.command")
    if not said.quiet and sys.stderr is not None and sys.stderr.isatty():
        _show_log("snapengine.lock")
    _show_warnings(said)
    opened = snapengine.Engine.open(said.root, recover=recover, wait=said.wait)
    _tell_recovered(opened)
    return opened


def recover(opened: "snapengine.Engine") -> None:
    """Finish or undo what a crash left in a store that is open already, and tell so."""
    opened.recover()
    _tell_recovered(opened)


def _tell_recovered(opened: "snapengine.Engine") -> None:
    if not settings.current().quiet:
        for r in opened.recovered:
            told = f"recovered: {r.verb} of {r.volume_uuid}, begun {text.value('started', r.started)}: {r.outcome}"
            click.echo(text.plain(told), err=True)


def _show_log(name: str) -> None:
    import logging  # late: the engine alone needs it, and not always

    log = logging.getLogger(name)
    handler = logging.StreamHandler(sys.stderr)
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    click.get_current_context().find_root().call_on_close(lambda: log.removeHandler(handler))


def _show_warnings(said: settings.Settings) -> None:
    """Print the engine's warnings; what can't be read matters to a list alone, and is kept for it."""
    import logging  # late, as above

    def is_shown(record: logging.LogRecord) -> bool:
        message = f"warning: {text.plain(record.getMessage())}"
        record.msg, record.args = message, ()
        if message.startswith("warning: left out: "):
            said.left_out[message] = None
            return False
        return True

    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(logging.WARNING)
    handler.addFilter(is_shown)
    log = logging.getLogger("snapengine")
    log.addHandler(handler)
    click.get_current_context().find_root().call_on_close(lambda: log.removeHandler(handler))


def volume_names(opened: "snapengine.Engine") -> dict[str, str]:
    """Return the name of every volume by its uuid."""
    return {v.uuid: v.name for v in (*opened.list_volumes(deleted=True), *opened.list_volumes())}


def names(opened: "snapengine.Engine") -> dict[str, str]:
    """Return the name of every volume and group by its uuid."""
    return volume_names(opened) | {group.uuid: group.name for group in opened.list_groups()}


def clone_names(opened: "snapengine.Engine", volume: str) -> dict[str, list[str]]:
    """Return, by the uuid of each snapshot of a volume that has linked clones, what they are called."""
    if not opened.linked_clones(volume):
        return {}
    found = ((s.uuid, opened.linked_clones(volume, s.uuid)) for s in opened.list_snapshots(volume))
    return {uuid: [clone.name for clone in clones] for uuid, clones in found}


def password(what: str) -> str:
    """Return a password: asked for twice on a terminal, else the first line of the standard input."""
    if sys.stdin is None:
        raise errors.Invalid(what=f"the {what} is read from the standard input, which is closed")
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = _hidden(f"{what}: ")
    if _hidden("once more: ") != first:
        raise errors.Invalid(what="the two passwords are not the same; nothing was changed")
    return first


def _hidden(question: str) -> str:
    """Ask for what is not shown as it is typed; who interrupts it is told that nothing was begun."""
    import getpass  # late: for passwords only

    try:
        return getpass.getpass(text.plain(question))
    except (KeyboardInterrupt, EOFError) as e:
        raise (e if isinstance(e, failure.Terminated) else failure.Unanswered()) from None


def confirm(what: str, yes: bool) -> None:
    """
    Ask on the terminal whether to go ahead; what says in a sentence what will go.

    Raises Invalid without a yes, and without a terminal unless --yes was given.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise errors.Invalid(what=f"{what}; give --yes to confirm it, there is no terminal to ask on")
    if _answer(text.plain(f"{what}. Go ahead? [y/N] ")).strip().lower() not in ("y", "yes"):
        raise errors.Invalid(what="not confirmed; nothing was changed")


def _answer(question: str) -> str:
    """Ask, and return what is typed; whoever interrupts it is told on a line of its own that nothing was begun."""
    assert sys.stdin is not None
    try:
        click.echo(question, err=True, nl=False)
        typed = sys.stdin.readline()
        if not typed.endswith("\n"):  # Ctrl-D leaves the cursor where it is
            click.echo("", err=True)
        return typed
    except KeyboardInterrupt as e:
        click.echo("", err=True)
        raise (e if isinstance(e, failure.Terminated) else failure.Unanswered()) from None
