"""The global options, which work before the noun and after the verb, and the kinds of command that take them."""

import itertools
import os
from collections.abc import Callable
from typing import Any, ClassVar

import click

from snapengine import units

DEFAULT_ROOT = "/var/lib/snapengine"
MAX_SPAN = 10**10  # seconds, three centuries; the clock's arithmetic ends somewhere


class Settings:
    """What the global options say; all contexts of a run share one."""

    root: str = DEFAULT_ROOT
    output: str = "text"
    verbose: bool = False
    quiet: bool = False
    wait: float = 60.0

    def __init__(self) -> None:
        self.left_out: dict[str, None] = {}  # not said but noted: warnings of what a list can't hold, in their order


def of(ctx: click.Context) -> Settings:
    """Return the settings of the run that ctx belongs to."""
    return ctx.find_root().ensure_object(Settings)


def current() -> Settings:
    """Return the settings of the command that runs."""
    return of(click.get_current_context())


class Parsed(click.ParamType[int]):
    """A number that a function reads; what its ValueError says is the message."""

    def __init__(self, name: str, parse: Callable[[str], int]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return self._parse(str(value))
        except ValueError as e:
            self.fail(str(e), param, ctx)


def _span(text: str) -> int:
    return min(units.parse_span(text), MAX_SPAN)


def _age(text: str) -> int:
    """Return the seconds that an age names; a bare number is refused, as what is 7 seconds old is not meant by 7."""
    number = text.strip()
    if number.isdecimal() and number.strip("0"):
        raise ValueError(f"'{text}' has no unit; write {number}d for days, or s, m, h, w instead of d")
    return _span(text)


SIZE = Parsed("size", units.parse_size)
SPAN = Parsed("span", _span)
AGE = Parsed("age", _age)


class _Directory(click.Path):
    """A directory that need not exist; an empty text would be the working directory, so it is refused."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not value:
            self.fail("it is empty; give a directory", param, ctx)
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail("the path is not valid UTF-8; the records could not hold it", param, ctx)
        return value


def _note(ctx: click.Context, param: click.Parameter, value: object) -> None:
    """Keep what was said: a word after the verb wins over one before the noun, both over the environment."""
    if ctx.get_parameter_source(param.name) is not click.core.ParameterSource.DEFAULT:
        setattr(of(ctx), param.name, value)


def _options(root: str | None = None, output: str | None = None) -> list[click.Parameter]:
    """Return the global options; root and output name the environment variables that stand in for them."""

    def option(*names: str, **rest: Any) -> click.Option:
        return click.Option(names, callback=_note, expose_value=False, **rest)

    return [
        option(
            "--root", type=_Directory(file_okay=False), metavar="DIR", envvar=root,
            help=f"Where the primary storage is. Default: $SNAPENGINE_ROOT, else {DEFAULT_ROOT}.",
        ),
        option(
            "--output", type=click.Choice(["text", "json"]), envvar=output,
            help="Print text for people, or one JSON document. Default: $SNAPENGINE_OUTPUT, else text.",
        ),
        option("-v", "--verbose", is_flag=True, help="Show on stderr the commands that are run, a bug's traceback."),
        option("-q", "--quiet", is_flag=True, help="Show no progress, nor what was put right after a crash."),
        option(
            "--wait", type=SPAN, metavar="SECONDS",
            help="Wait this long for another operation on the volume: seconds, or 5m, 1h. Default: 60.",
        ),
    ]  # fmt: skip


class Verb(click.Command):
    """A command that takes the global options too."""

    shared: ClassVar[list[click.Parameter]] = _options()

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        return [*super().get_params(ctx), *self.shared]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and p not in self.shared]
        for title, params in (("Options", own), ("Global options", self.shared)):
            rows = [row for p in params if (row := p.get_help_record(ctx)) is not None]
            with formatter.section(title):
                formatter.write_dl(rows)


class Noun(Verb, click.Group):
    """A group of verbs."""

    command_class = Verb

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)  # in the order in which they are defined

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


class Outermost(Noun):
    """The group of all nouns: here alone the environment is read, so that whatever is said on the line wins."""

    shared = _options("SNAPENGINE_ROOT", "SNAPENGINE_OUTPUT")


def asked_for_json(words: list[str]) -> bool:
    """Tell whether a command line that could not be read asks for JSON."""
    said = os.environ.get("SNAPENGINE_OUTPUT", "")
    for word, following in itertools.pairwise([*words, ""]):
        if word == "--output":
            said = following
        elif word.startswith("--output="):
            said = word.removeprefix("--output=")
    return said == "json"
