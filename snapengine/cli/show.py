"""Print what a command answers: JSON in the contract's form, or text for people."""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING

import click

from snapengine import errors
from snapengine.cli import failure, forest, settings, text, wire

if TYPE_CHECKING:
    from pathlib import Path

    import snapengine
    from snapengine.inventory import Struct, Volume
    from snapengine.preview import Preview

_VOLUME = re.compile(r"/vol-([0-9a-f]{32})(?:/|$)")
SCREENS = 2  # a longer answer goes out as plain columns: nobody looks at it as a picture


def one(answer: "Struct", **more: object) -> None:
    """Print one object; for people with more fields, which the contract's JSON has no place for."""
    if in_json():
        raw(wire.document(answer))
    else:
        line(text.fields(answer, **more))


def volume(engine: "snapengine.Engine", found: "Volume") -> None:
    """Print a volume; for people with the name of its VM, which the contract's JSON has no place for."""
    if in_json() or found.vm_instance_uuid is None:
        one(found)
    else:
        one(found, vm_name=engine.vm_names().get(found.vm_instance_uuid))


def many(
    answers: Sequence["Struct"],
    names: Sequence[str],
    known: Callable[[], Mapping[str, str]] = dict,
    key: str = "inventories",
) -> None:
    """
    Print objects: in JSON under key, in text the fields called names as a table.

    known is asked, for a table only, what the uuids of other objects are called. A list that had to leave something out
    ends with exit code 6.
    """
    if in_json():
        raw(wire.document({key: answers}))
    else:
        table([text.label(name) for name in names], text.rows(answers, names, known()))
    if click.get_current_context().info_name == "list":
        left_out()


def left_out() -> None:
    """Tell, on stderr, what had to be left out of the answer, and exit with code 6 if anything was."""
    if settings.current().left_out:
        click.echo("\n".join(settings.current().left_out), err=True)
        raise click.exceptions.Exit(errors.Corrupt.exit_code)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their head: drawn where it is looked at and fits, uuids shortened for that, else as columns."""
    wide = [head, *rows]
    short = [
        head,
        *([cell[:8] if name == "uuid" else cell for name, cell in zip(head, row, strict=True)] for row in rows),
    ]
    fitting = next((cells for cells in (wide, short) if is_drawn(len(rows), text.width(cells))), None)
    if fitting is not None:
        drawing().table(fitting)
    else:
        line(text.columns([[name.upper() for name in head], *rows]))


def tree(headline: str, rows: Sequence[forest.Row]) -> None:
    """Print a tree's rows under its headline."""
    if is_drawn(len(rows)):
        drawing().tree(headline, rows)
    else:
        line("\n".join([headline, *forest.plain(rows)]))


def plan(engine: "snapengine.Engine", preview: "Preview") -> None:
    """Print what would be done; for people with the names of what the images belong to."""
    if in_json():
        raw(wire.document(preview))
        return
    names = _names(engine, preview)
    for step in preview.plan:
        onto = f" onto {_image(step.onto, names)}" if step.onto else ""
        line(text.plain(f"{step.verb} {_image(step.image, names)}{onto}"))
    moved, freed = text.value("bytes", preview.bytes), text.value("frees", preview.frees)
    line(f"moves {moved}, frees up to {freed}; nothing was done")


def _names(engine: "snapengine.Engine", preview: "Preview") -> dict[str, str]:
    """Return the names of the volumes that a plan is about, and of their snapshots, by the uuids."""
    volumes = {volume for step in preview.plan for volume in _VOLUME.findall(step.image)}
    found = {v.uuid: v.name for v in (*engine.list_volumes(deleted=True), *engine.list_volumes()) if v.uuid in volumes}
    for volume in volumes:
        with suppress(errors.NotFound, errors.Corrupt):
            found |= {snapshot.uuid: snapshot.name for snapshot in engine.list_snapshots(volume)}
    return found


def _image(path: str, names: Mapping[str, str]) -> str:
    """Return an image's, or a volume's, last name in its path, with what the volume or snapshot is called."""
    name = os.path.basename(path)
    called = names.get(name.removeprefix("vol-").removesuffix(".qcow2"))
    return name if called is None else f"{name} ({called})"


def path(key: str, found: "Path") -> None:
    """Print the path of an image: in JSON under key, in text bare."""
    raw(wire.document({key: str(found)}) if in_json() else os.fsencode(found))


def number(key: str, found: int | None) -> None:
    """Print a number, or that there is none: in JSON under key, in text bare."""
    shown = "none" if found is None else str(found)
    raw(wire.document({key: found}) if in_json() else shown.encode())


def setting(key: str, is_on: bool, said: str) -> None:
    """Print what is in force of a setting and what was set: in JSON under key, in text in words."""
    if in_json():
        raw(wire.document({key: is_on, "setting": said}))
    else:
        line(said if said != "auto" else f"{'on' if is_on else 'off'} (auto)")


def word(key: str, found: str) -> None:
    """Print a setting that is a word: in JSON under key, in text bare."""
    raw(wire.document({key: found}) if in_json() else found.encode())


def nothing() -> None:
    """Print that all is well: nothing in text."""
    if in_json():
        raw(b"{}")


def in_json() -> bool:
    """Tell whether the answer is wanted in JSON."""
    return settings.current().output == "json"


def line(shown: str) -> None:
    """Print text; what the terminal's character set lacks is escaped."""
    raw(shown.encode(getattr(sys.stdout, "encoding", None) or "utf-8", "backslashreplace"))


def raw(data: bytes) -> None:
    """Print bytes and a line break in one write."""
    failure.printed(lambda: click.echo(data))


def is_drawn(lines: int, width: int = 0) -> bool:
    """Tell whether an answer of so many lines and characters is drawn: on a terminal into which it fits."""
    if sys.stdout is None or not sys.stdout.isatty():
        return False
    screen = os.get_terminal_size(sys.stdout.fileno())
    return lines <= SCREENS * (screen.lines or 24) and width <= (screen.columns or 80)


def drawing() -> ModuleType:
    """Return the module that draws on terminals."""
    from snapengine.cli import drawing  # late: rich costs more than all the rest of the command line

    return drawing
