"""Tables, trees and progress on a terminal: the only module that imports rich. All text is data, never markup."""

import os
import sys
from collections.abc import Sequence
from typing import Literal, TextIO

from rich import box, progress
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from rich.tree import Tree

from snapengine.cli import text
from snapengine.cli.forest import Row

_STYLES = ("bold", "dim", "", "", "green")


def _console(file: TextIO) -> Console:
    """Return the terminal behind file; NO_COLOR takes away bold and dim too."""
    colors: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    return Console(file=file, color_system=colors, markup=False, emoji=False, highlight=False)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Draw a table, its first row the head, on stdout."""
    head, *others = rows
    drawn = Table(*(Column(Text(name)) for name in head), box=box.ROUNDED, header_style="bold")
    for row in others:
        drawn.add_row(*(Text(cell) for cell in row))
    _console(sys.stdout).print(drawn)


def tree(headline: str, rows: Sequence[Row]) -> None:
    """Draw a tree's rows under its headline on stdout."""
    drawn = Tree(Text(headline, "bold"), guide_style="dim")
    runs = [drawn]
    for depth, begins, words in rows:
        if begins:
            runs[depth:] = [runs[depth - 1].add(_label(words))]
        else:
            del runs[depth + 1 :]
            label = runs[depth].label
            assert isinstance(label, Text)
            label.append("\n").append_text(_label(words))
    _console(sys.stdout).print(drawn)


def _label(words: Sequence[str]) -> Text:
    if len(words) == 1:
        return Text(words[0], "yellow")
    return Text("  ").join(Text(word, style) for word, style in zip(words, _STYLES, strict=False))


class _Rate(progress.ProgressColumn):
    """Bytes a second, in the units in which we tell all sizes."""

    def render(self, task: progress.Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("?" if speed is None else f"{text.value('size', int(speed))}/s", "progress.data.speed")


class Bar:
    """A progress bar on stderr, with bytes, rate and time left; gone when it is closed."""

    def __init__(self, label: str, total: int) -> None:
        self._total = total
        self._progress = progress.Progress(
            progress.TextColumn(label, markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(binary_units=True),
            _Rate(),
            progress.TimeRemainingColumn(),
            console=_console(sys.stderr),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task(label, total=total)
        self._progress.start()

    def advance(self, fraction: float) -> None:
        """Show that so much of the whole is done."""
        self._progress.update(self._task, completed=fraction * self._total)

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()
