"""Everything that can go wrong, as one line on stderr and an exit code: the only place where errors end."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, TypeGuard

import click

from snapengine import errors, translation
from snapengine.cli import settings, text, wire
from snapengine.cli.settings import Settings

INTERRUPTED, TERMINATED, BROKEN_PIPE = 130, 143, 141  # 128 and the signal's number, as shells have it


class Terminated(KeyboardInterrupt):
    """SIGTERM: what a Ctrl-C does, but another exit code."""


class Unanswered(KeyboardInterrupt):
    """A Ctrl-C at a question: nothing was begun."""


class Fault(NamedTuple):
    """An error as it is told: its exit code, and what the contract's error object holds."""

    exit: int
    code: str
    description: str
    details: str


def guarded(run: Callable[[], None], words: list[str], said: Settings) -> int:
    """Run the command line words; return its exit code after telling what went wrong, if anything."""
    try:
        run()
        printed(lambda: sys.stdout.flush() if sys.stdout is not None else None)  # a full disk under it can be told here
        return 0
    except click.exceptions.Exit as e:
        return e.exit_code
    except BrokenPipeError:
        _close_stdout()
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as e:
        in_json = settings.asked_for_json(words) if isinstance(e, click.UsageError) else said.output == "json"
        fault = _known(e) or _bug(e, said.verbose)
        if isinstance(e, OSError | errors.Unprinted):
            _close_stdout()
        _tell(e.format_message() if _is_bare(e) and not in_json else _line(fault, in_json))
        return fault.exit


def printed(write: Callable[[], None]) -> None:
    """Let write put an answer out; errors.Unprinted where that fails, unless nobody listens any more."""
    try:
        write()
    except BrokenPipeError:
        raise
    except OSError as e:
        raise errors.Unprinted(why=e.strerror) from e


def _is_bare(e: BaseException) -> TypeGuard[click.UsageError]:
    """Tell whether only a noun was given: people get its help then."""
    return isinstance(e, click.exceptions.NoArgsIsHelpError)


def _tell(line: str | bytes) -> None:
    with suppress(OSError):  # nobody listens
        click.echo(line, err=True)


def _known(e: BaseException) -> Fault | None:
    """Return what an error means, None if it is a bug."""
    if isinstance(e, click.UsageError):
        return _fault(errors.Invalid, _usage(e))
    if isinstance(e, KeyboardInterrupt):
        if isinstance(e, Unanswered):
            return Fault(INTERRUPTED, "SYS.1017", "The operation is cancelled", "interrupted; nothing was changed")
        return _interrupted(TERMINATED if isinstance(e, Terminated) else INTERRUPTED)
    known = translation.of_system(e) if isinstance(e, OSError) else e
    return _fault(type(known), str(known)) if isinstance(known, errors.Error) else None


def _fault(kind: type[errors.Error], details: str) -> Fault:
    return Fault(kind.exit_code, kind.code, kind.description, details)


def _usage(e: click.UsageError) -> str:
    at = e.ctx.command_path if e.ctx else "snapengine"
    message = _said(e)
    return f"{message}{'' if message[-1:] in '.?' else '.'} See '{at} --help'."


def _said(e: click.UsageError) -> str:
    if _is_bare(e):
        return "Missing command."
    if isinstance(e, click.NoSuchOption) and e.option_name[1:2].isdigit():
        what = f"Invalid value '{e.option_name}…': no number here can be negative"
        return f"{what}, and a name that begins with '-' is given after '--'."
    return " ".join(e.format_message().split())


def _interrupted(code: int) -> Fault:
    how = "terminated" if code == TERMINATED else "interrupted"
    details = f"{how}; the command was undone, unless it was already done: see what is there, then run it again"
    return Fault(code, "SYS.1017", "The operation is cancelled", details)


def _bug(e: BaseException, verbose: bool) -> Fault:
    import tempfile  # late: only a bug needs these two
    import traceback

    told = f"this is a bug in snapengine: {type(e).__name__}: {e}"
    trace = "".join(traceback.format_exception(e))
    if verbose:
        _tell(trace.rstrip())
        return _fault(errors.Error, told)
    try:
        fd, path = tempfile.mkstemp(prefix="snapengine-", suffix=".log")
        with open(fd, "w", errors="backslashreplace") as f:
            f.write(trace)
    except OSError:
        return _fault(errors.Error, f"{told}; run the command with -v to see where")
    return _fault(errors.Error, f"{told}; the details are in {path}")


def _line(fault: Fault, in_json: bool) -> bytes | str:
    if not in_json:
        return "error: " + text.plain(fault.details)
    details = fault.details.encode("utf-8", "backslashreplace").decode()
    return wire.document({"error": {"code": fault.code, "description": fault.description, "details": details}})


def _close_stdout() -> None:
    """Let the interpreter's own flush at the end go nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
