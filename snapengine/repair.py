"""
Repair: put right what can be put right without losing anything, and tell why the rest is left.

Records follow the headers (remaking), images get a mended copy in their place (renewal); each is an operation of its
own, with the crash table of that module. No image and no stray file is ever removed.
"""

from collections.abc import Iterator
from pathlib import Path

from snapengine import errors, layout, remaking, renewal, store, verify
from snapengine.health import Problem
from snapengine.inventory import Struct
from snapengine.remaking import Made
from snapengine.store import Store

_RECORDS = {"wrong-latest", "wrong-distance", "torn-tree", "wrong-current", "wrong-backing", "wrong-size"} | {
    "wrong-group"
}
_NAMES = {"backing-outside", "backing-format"}
_WHY = {
    "stray-file": "nobody knows whether it holds data that nothing else does",
    "record-missing": "a record has to be made for it: 'snapengine rebuild' does that",
    "record-damaged": "what it said would be lost: 'snapengine rebuild' makes it again as far as the images tell",
    "duplicate-uuid": "nobody can tell which of both is meant",
    "image-shared": "only you know who else uses the other name",
    "image-missing": "what it held is nowhere else",
    "image-corrupt": "a repair of it would guess, and may drop data",
    "base-missing": "what it held is nowhere else",
    "content-changed": "what it held is nowhere else",
    "unreadable": "it can't even be read",
    "unfinished": "recovery does that as soon as it can",
    "journal-damaged": "it may be all that tells of an operation that was cut off",
    "image-leaks": "it could not be done now",
}
_OTHER = "nothing says for certain what is right"


class Left(Problem, frozen=True, kw_only=True):
    """A problem that was left as it is, and why."""

    why: str


class Repaired(Struct, frozen=True, kw_only=True):
    """What a repair put right, and what it left."""

    repaired: tuple[Made, ...]
    left: tuple[Left, ...]


def repair(opened: Store, volumes: tuple[str, ...], wait: float, dry_run: bool) -> Repaired:
    """
    Put right what is wrong with these volumes, or with the whole store, unless dry_run; all or some of it.

    Raises NotFound for an unknown volume, Locked where a volume is busy for longer than wait seconds. What a tool or
    the file system refuses is left, with that as the reason.
    """
    before = verify.verify(opened, volumes, True, wait)
    why: dict[tuple[str, str], str] = {}
    made: list[Made] = []
    for directory in _concerned(opened, before):
        made += _records(opened, directory, before, wait, dry_run)
        made += _images(opened, directory, before, wait, dry_run, why)
    fixed = {each.object for each in made}
    after = tuple(each for each in before if each.object not in fixed)
    if not dry_run:
        after = verify.verify(opened, volumes, True, wait)
    return Repaired(repaired=tuple(made), left=tuple(_left(each, why) for each in after))


def _concerned(opened: Store, problems: tuple[Problem, ...]) -> Iterator[Path]:
    """Give the directories in which something may be put right."""
    at = {Path(problem.path).parent for problem in problems if problem.kind in _RECORDS | _NAMES | {"image-leaks"}}
    yield from (directory for directory in store.all_directories(opened.root) if directory in at)


def _records(
    opened: Store, directory: Path, problems: tuple[Problem, ...], wait: float, dry_run: bool
) -> tuple[Made, ...]:  # fmt: skip
    if any(problem.kind in _RECORDS and Path(problem.path).parent == directory for problem in problems):
        return remaking.correct(opened, directory, wait, dry_run)
    return ()


def _images(
    opened: Store, directory: Path, problems: tuple[Problem, ...], wait: float, dry_run: bool,
    why: dict[tuple[str, str], str],
) -> Iterator[Made]:  # fmt: skip
    """Mend images, the active one first, since the others are held under it; why takes what stood in the way."""
    volume = layout.volume_of(directory)
    for problem in sorted(problems, key=lambda problem: problem.object != volume):
        if Path(problem.path).parent != directory or layout.is_trash(Path(problem.path).name):
            continue
        try:
            if problem.kind in _NAMES:
                renewal.backing(opened, directory, problem.object, wait, dry_run)
            elif problem.kind == "image-leaks":
                renewal.leaks(opened, directory, problem.object, wait, dry_run)
            else:
                continue
        except (errors.Error, OSError) as e:
            why[problem.kind, problem.object] = str(e)
            continue
        kind = "volume" if problem.object == volume else "snapshot"
        yield Made(kind=kind, object=problem.object, path=problem.path, message=f"mended: {problem.message}")


def _left(problem: Problem, why: dict[tuple[str, str], str]) -> Left:
    reason = why.get((problem.kind, problem.object)) or _WHY.get(problem.kind, _OTHER)
    return Left(**{name: getattr(problem, name) for name in problem.__struct_fields__}, why=reason)
