"""What a tool prints while it runs: its progress, and its errors, of which a hostile image causes any number."""

from collections.abc import Callable
from typing import Protocol

MAX_ERRORS = 2**20  # characters; more says nothing new

Progress = Callable[[float], None]


def part(progress: Progress | None, number: int, count: int) -> Progress | None:
    """Return what tells progress of one part of so many, the first being 0."""
    return None if progress is None else lambda fraction: progress((number + fraction) / count)


def counted(progress: Progress | None, total: int) -> Callable[[int], None]:
    """Return what tells progress that so many more of total bytes are done."""
    done = 0

    def told(length: int) -> None:
        nonlocal done
        done += length
        if progress:
            progress(min(done / total, 1.0))

    return told


class Tool(Protocol):
    """A tool that runs."""

    def kill(self) -> None:
        """End it."""


class Reporter:
    """Hands the figures of `(12.34/100%)` on as fractions; sh gives an unbuffered output letter by letter."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._seen = ""

    def __call__(self, piece: str) -> None:
        *lines, self._seen = (self._seen + piece).split("\r")
        for line in lines:
            figure = line.strip().removeprefix("(").removesuffix("/100%)")
            self._progress(min(float(figure) / 100, 1.0))


class Errors:
    """
    Keeps what a tool says on stderr, and ends a tool that says more than MAX_ERRORS: is_flooded then.

    qemu-img tells of each bad entry of a table by a line of its own: millions of them in an image of a few bytes.
    """

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._room = MAX_ERRORS

    @property
    def text(self) -> str:
        """What was said, cut off where it was too much."""
        return "".join(self._pieces)

    @property
    def is_flooded(self) -> bool:
        """Whether the tool said too much, and was ended."""
        return self._room < 0

    def __call__(self, piece: str, stdin: object, process: Tool) -> None:
        if self.is_flooded:
            return
        self._pieces.append(piece[: self._room])
        self._room -= len(piece)
        if self.is_flooded:
            process.kill()
