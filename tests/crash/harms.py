"""What is wrong with those stores of the crash tests whose verbs put it right."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.qcow2_forge import set_refcount

UNKNOWN = "9" * 32


def _overwrite_magic(active: Path, first: str, second: str) -> None:
    with open(active, "r+b") as f:
        f.write(bytes(4))


def _wear(active: Path, first: str, second: str) -> None:
    """
    Have leaks in two images, and records that disagree.

    A snapshot is in an unknown tree, its copies stale; the volume is of another size, and has no current tree.
    """
    _leak(active)
    _leak(active.with_name(f"{second}.qcow2"))
    _edit(active.with_name(f"{second}.json"), distance=7, latest=True, treeUuid=UNKNOWN)
    trees = json.loads(active.with_suffix(".json").read_bytes())["trees"]
    _edit(active.with_suffix(".json"), size=512, trees=[{**tree, "current": False} for tree in trees])


def _lose(active: Path, first: str, second: str) -> None:
    """Lose the records of a volume and of all groups."""
    for record in (*active.parent.glob("*.json"), *(active.parents[4] / "groups").glob("*.json")):
        record.unlink()


def _edit(record: Path, **changes: object) -> None:
    record.write_text(json.dumps(json.loads(record.read_bytes()) | changes))


def _name(image: Path, backing: str, kind: str) -> None:
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", kind, "-b", backing, str(image)], check=True)


def _backing(image: Path) -> str:
    told = subprocess.check_output(["qemu-img", "info", "-f", "qcow2", "--output", "json", str(image)])
    return str(json.loads(told)["backing-filename"])


def _absolute(image: Path) -> None:
    _name(image, str(image.with_name(_backing(image))), "qcow2")


def _raw(image: Path) -> None:
    _name(image, _backing(image), "raw")


def _leak(image: Path) -> None:
    set_refcount(image, 12, 1)


def _both(of_active: Callable[[Path], None], of_frozen: Callable[[Path], None]) -> Callable[[Path, str, str], None]:
    def harm(active: Path, first: str, second: str) -> None:
        of_active(active)
        of_frozen(active.with_name(f"{second}.qcow2"))

    return harm


HARMS: dict[str, Callable[[Path, str, str], object]] = {  # called with the active image and two snapshots
    "damaged": _overwrite_magic,
    "missing": lambda active, first, second: active.unlink(),
    "misnamed": _both(_raw, _absolute),
    "misnamed otherwise": _both(_absolute, _raw),
    "worn": _wear,
    "recordless": _lose,
}
