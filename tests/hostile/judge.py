"""Decide how a case went: refused for its reason, let in or passed by without harm, or a loss."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from fixtures.hostile.corpus import Image
from tests.hostile.doors import ALONE, LINE, SNAPSHOT, UNDER, WORN, Door
from tests.hostile.watch import Seen

SECONDS, MEMORY = 150.0, 400 * 2**20  # what a case may cost: processor time, and bytes of memory

_CORRUPT, _FAILED = 6, 8
_MENDING = ("repair", "rebuild")  # they tell what they left on stdout, and may write records
_CODE = (sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/usr/local/lib", str(Path(__file__).parents[2]))
_LOOPED = re.compile(r"/sys/devices/virtual/block/loop\d+/(\.\./)?loop/backing_file")  # asked what such a device shows
STRAY = re.compile("^(left: )?(stray-file|record-missing): ", re.MULTILINE)  # what verify and repair call one
_NUMBERS = re.compile(r"\d+")
_NONE, _RECORDS = re.compile(r"(?!)"), re.compile(r"\.json$")
_SERVERS = re.compile("^accounts.json$|^server")  # what a server's first start writes
_RANDOM = re.compile(r"(pymp|listener)-\w+")  # names that multiprocessing makes up


class Verdict(NamedTuple):
    """
    How a case went: refused, failed (a tool says what is wrong), harmless, unopened; loss says what must not be.

    why is the reason for what is neither refused nor failed.
    """

    outcome: str
    why: str
    loss: str | None


def normal(path: str) -> str:
    """Return path with all numbers alike: those of processes, descriptors, temporary names."""
    return _NUMBERS.sub("0", _RANDOM.sub(r"\1", path))


def usual(seen: Iterable[Seen]) -> frozenset[tuple[str, str]]:
    """Return what the processes of sound images ask for."""
    return frozenset((kind, normal(path)) for each in seen for kind, path in each.calls)


def judge(image: Image, door: Door, seen: Seen, usual: frozenset[tuple[str, str]], scene: Path) -> Verdict:
    """Return how a case went; usual is what sound images make the engine ask for, scene where the cases play."""
    outcome, why, fault = _outcome(image, door, seen)
    is_emptied = (image.name, door.name) == ("directory", "trash: purge")  # and is opened for that
    fault = fault or (None if is_emptied else _opened(seen, usual, scene))
    return Verdict(outcome, why, fault or _cost(seen))


def _outcome(image: Image, door: Door, seen: Seen) -> tuple[str, str, str | None]:
    """Return outcome, reason and what is wrong with how the command answered."""
    answer = seen.answer
    looks, mends = door.words.split()[0] in ("verify", *_MENDING), door.words.split()[0] in _MENDING
    said = answer.stderr + (answer.stdout if looks else "")
    if answer.code == 0:
        outcome, why, fault = _accepted(image, door)
        return outcome, why, fault or _spread(door, answer.changed)
    own = _RECORDS if mends else _SERVERS if door.name.startswith("serve") else _NONE
    if changed := [name for name in answer.changed if not own.search(name)]:
        return "refused", "", f"it was refused, yet the store changed: {', '.join(changed[:5])}"
    if answer.stderr.count("\n") > 1:
        return "refused", "", f"the refusal has more than one line: {answer.stderr!r}"
    if answer.code == _FAILED and image.deep:
        return "failed", "", None
    if answer.code != _CORRUPT and not (answer.code in (2, 7) and image.deep):
        return "refused", "", f"exit code {answer.code}: {said.strip()[:300]}"
    pattern = image.why if door.place == "outside" and "--chain" not in door.name else f"{image.inside}|{image.why}"
    if door.unopened or re.search(pattern, said) or (door.place == "stray" and STRAY.search(said)):
        return "refused", "", None
    return "refused", "", f"refused for another reason: {said.strip()[:300]}"


def _accepted(image: Image, door: Door) -> tuple[str, str, str | None]:
    if door.unopened:
        return "unopened", door.unopened, None
    if image.harmless and re.fullmatch(image.harmless[0], door.name):
        return "harmless", image.harmless[1], None
    return "harmless", "", "it was let in"


def _spread(door: Door, changed: Iterable[str]) -> str | None:
    """Return what changed of images that are nobody's concern at this door: they hold what they did."""
    own = {"active": ALONE, "snapshot": LINE, "trash": WORN, "stray": LINE}.get(door.place)
    others = [f"vol-{uuid}/" for uuid in (ALONE, LINE, WORN) if uuid != own and uuid not in door.words]
    frozen = [SNAPSHOT, UNDER] if door.place == "stray" else []
    for name in changed:
        if name.endswith(".qcow2") and any(part in name for part in (*others, *(f"/{u}.qcow2" for u in frozen))):
            return f"it was let in, and another image changed: {name}"
    return None


def _opened(seen: Seen, usual: frozenset[tuple[str, str]], scene: Path) -> str | None:
    """Return what was opened or asked for that no sound image makes the engine ask for, but for the store itself."""
    own = (str(scene / "store"), str(scene / "outside"), str(scene / "stdout"), str(scene / "stderr"))
    for kind, path in sorted(seen.calls):
        if kind == "open" and path == seen.answer.path and seen.answer.special:
            return "it was opened, though it is no regular file"
        inside = kind == "open" and path.startswith((*own, *_CODE)) and "/../" not in path
        inside = inside or (kind == "open" and _LOOPED.fullmatch(path) is not None)
        if not inside and (kind, normal(path)) not in usual:
            return f"{kind} of {path}"
    return None


def _cost(seen: Seen) -> str | None:
    if seen.answer.cpu > SECONDS:
        return f"it took {seen.answer.cpu:.0f} s of processor time"
    return f"it took {seen.answer.memory >> 20} MiB of memory" if seen.answer.memory > MEMORY else None
