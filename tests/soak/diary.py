"""What one process has done: a line before each verb and one after it, both on the disk before it goes on."""

import os
from pathlib import Path

import msgspec

from tests.soak.model import Model


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """
    A line: what is "begun", "done", "refused" or "fault".

    model is what the process's volumes hold once the verb is done; of "refused" and "done", what they hold now. told
    names what the verb made or removed on the shared volume, or says why. took and waited are seconds, the latter for
    a lock that held had.
    """

    what: str
    verb: str
    model: Model | None = None
    told: str = ""
    took: float = 0.0
    waited: float = 0.0
    held: str = ""


class Diary:
    """The diary of one process, at a path; its successor goes on with it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, line: Line) -> None:
        """Add a line, durably."""
        with open(self._path, "ab") as f:
            f.write(msgspec.json.encode(line) + b"\n")
            f.flush()
            os.fsync(f.fileno())

    def read(self) -> list[Line]:
        """Return all lines; one that a kill has cut off was never written."""
        data = self._path.read_bytes() if self._path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data:
            os.truncate(self._path, len(whole))
        return [msgspec.json.decode(line, type=Line) for line in whole.splitlines()]


def models(lines: list[Line]) -> list[Model]:
    """Return what the process's volumes may hold: one model, or where it was killed in a verb that before and after."""
    known: list[Model] = [{}]
    for line in lines:
        if line.model is not None:
            known = [known[0], line.model] if line.what == "begun" else [line.model]
    return known
