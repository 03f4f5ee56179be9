"""
Repair: put right what can be put right without losing anything, and tell why the rest is left.

Records follow the headers (remaking), images get a mended copy in their place (renewal); each is an operation of its
own, with the crash table of that module. Of what lies there only what a verb left half-made is removed, as by tidy.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from snapengine import errors, health, hold, layout, remaking, renewal, store, verify
from snapengine.health import Kind, Problem
from snapengine.inventory import Struct
from snapengine.remaking import Made
from snapengine.store import Store

_RECORDS: set[Kind] = {
    "wrong-latest", "wrong-distance", "torn-tree", "wrong-current", "wrong-backing", "wrong-size", "wrong-group",
}  # fmt: skip
_WHY: dict[Kind, str] = {
    "stray-file": "nobody knows whether it holds data that nothing else does",
    "record-missing": "a record has to be made for it: 'snapengine rebuild' does that",
    "record-damaged": "what it said would be lost",
    "duplicate-uuid": "nobody can tell which of both is meant",
    "image-shared": "only you know who else uses the other name",
    "image-missing": "what it held is nowhere else",
    "image-truncated": "what it held is nowhere else",
    "image-foreign": "what it held is nowhere else",
    "image-corrupt": "a repair of it would guess, and may drop data",
    "base-missing": "what it held is nowhere else",
    "content-changed": "what it held is nowhere else",
    "unreadable": "it can't even be read",
    "unfinished": "recovery does that as soon as it can",
    "journal-damaged": "it may be all that tells of an operation that was cut off",
    "image-leaks": "it could not be done now",
}
_CHANGED = (
    "its checksum tells that the image was changed, not the record: 'qemu-img rebase -u -F qcow2 -b' with the name "
    "that the record says puts its header back"
)
_ROUNDS = 3  # what lies under a bad header shows in the second
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

    What only shows once something else was put right is put right too; dry_run can't tell of that. Raises NotFound for
    an unknown volume, Locked where a volume is busy for longer than wait seconds. What a tool or the file system
    refuses is left, with that as the reason.
    """
    why: dict[Problem, str] = {}
    made: list[Made] = []
    left = verify.verify(opened, volumes, True, wait)
    for _ in range(_ROUNDS):
        done = [each for at in _concerned(opened, left) for each in _mended(opened, at, left, wait, dry_run, why)]
        made += [each for each, _ in done]
        if dry_run or not done:
            fixed = {problem for _, ended in done for problem in ended}
            left = tuple(problem for problem in left if problem not in fixed)
            break
        left = verify.verify(opened, volumes, True, wait)
    return Repaired(repaired=tuple(made), left=tuple(_left(each, why) for each in left))


def _concerned(opened: Store, problems: tuple[Problem, ...]) -> Iterator[Path]:
    """Give the directories in which something may be put right."""
    kinds = _RECORDS | health.NAMES | {"image-leaks"}
    at = {Path(each.path).parent for each in problems if each.kind in kinds or health.is_half_made(Path(each.path))}
    yield from (directory for directory in store.all_directories(opened.root) if directory in at)


def _mended(
    opened: Store, directory: Path, problems: tuple[Problem, ...], wait: float, dry_run: bool, why: dict[Problem, str]
) -> Iterator[tuple[Made, tuple[Problem, ...]]]:  # fmt: skip
    """
    Put right what can be in a directory; gives each thing that was, with the problems that this ends.

    The active image comes first, since the others are held under it. why takes what stood in the way.
    """
    here = [problem for problem in problems if Path(problem.path).parent == directory]
    wrong = [problem for problem in here if problem.kind in _RECORDS]
    changed = {problem.object for problem in here if problem.kind == "content-changed"}
    if any(problem.kind == "wrong-backing" and problem.object in changed for problem in wrong):
        why |= dict.fromkeys(wrong, _CHANGED)
        wrong = []
    for made in remaking.correct(opened, directory, wait, dry_run) if wrong else ():
        yield made, tuple(problem for problem in wrong if problem.object == made.object)
    active = layout.volume_of(directory)
    for problem in sorted(here, key=lambda problem: problem.object != active):
        try:
            how = _mend(opened, directory, problem, wait, dry_run)
        except (errors.Error, OSError) as e:
            why[problem] = str(e)
            continue
        if how is not None:
            kind = "volume" if problem.object == active else "snapshot"
            message = f"{how}: {problem.message}"
            yield Made(kind=kind, object=problem.object, path=problem.path, message=message), (problem,)


def _mend(opened: Store, directory: Path, problem: Problem, wait: float, dry_run: bool) -> str | None:
    """Put one thing right but for records, and return the word for that; None where it is not for us."""
    path = Path(problem.path)
    if problem.kind == "stray-file" and health.is_half_made(path):
        with hold.volume(opened, directory, "repair", wait) if not dry_run else nullcontext():  # which tidies
            return "removed"
    if layout.is_trash(path.name):
        return None
    if problem.kind in health.NAMES:
        renewal.backing(opened, directory, problem.object, wait, dry_run)
        return "mended"
    if problem.kind == "image-leaks":
        renewal.leaks(opened, directory, problem.object, wait, dry_run)
        return "mended"
    return None


def _left(problem: Problem, why: dict[Problem, str]) -> Left:
    reason = why.get(problem) or _WHY.get(problem.kind, _OTHER)
    return Left(**{name: getattr(problem, name) for name in problem.__struct_fields__}, why=reason)
