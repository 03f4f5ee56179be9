"""Where to cut a verb off: at every call that changes files, or that looks at them too, or at a sample of them."""

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

from tests.crash.judge import Failure, Interrupt
from tests.crash.strace import Call, Kill
from tests.crash.syscalls import INTERRUPTIBLE, NAMES, OPENING

Cut = TypeVar("Cut", Failure, Interrupt)

ERRORS = ("ENOSPC", "EIO", "EINTR")
HOWS = ("kill", *ERRORS)
PAGE, FINE = 4096, 12  # bytes; how many steps there are of the last too little room to what is enough
NAMED, KILLS = 4, 2  # points of a sample, for each verb: at calls that change a name, at others


def kills(calls: Sequence[Call]) -> list[Kill]:
    """Return a kill of all processes at each call, and one of the engine alone at each call of its tools."""
    return [*(Kill(call, True) for call in calls), *(Kill(call, False) for call in calls if not call.own)]


def failures(calls: Sequence[Call], errors: Sequence[str] = ERRORS) -> list[Failure]:
    """Return a failure of each call with each of errors; EINTR where the call may return it."""
    return [Failure(call, error) for error in errors for call in distinct(calls) if may_return(call, error)]


def looks(calls: Sequence[Call]) -> list[Failure]:
    """Return a failure of each call that only looks: the disk can't be read, or there is no descriptor left to open."""
    found = [call for call in distinct(calls) if call.looks]
    return [*(Failure(c, "EIO") for c in found), *(Failure(c, "EMFILE") for c in found if c.point.name in OPENING)]


def interrupts(calls: Sequence[Call]) -> list[Interrupt]:
    """Return a Ctrl-C at each call of the engine itself, and while a tool is at each that changes something."""
    return [Interrupt(call) for call in distinct(calls) if call.own or not call.looks]


def one_in(every: int, points: Sequence[Cut], name: str) -> list[Cut]:
    """Return one in so many points, the same ones each time for a name, however a tool's threads take turns."""
    mixed = sorted(points, key=lambda at: zlib.crc32(f"{name} {at.call.point} {at[1:]}".encode()))
    return mixed[: -(-len(points) // every)]


def rooms() -> Iterator[int]:
    """Give numbers of bytes that may be all the room that a verb has: a page more at first, then in longer steps."""
    room = 0
    while True:
        yield room
        room += max(PAGE, room // 2 // PAGE * PAGE)


def between(little: int, enough: int) -> list[int]:
    """Return numbers of bytes between two, in pages; where a verb runs out of room late is close to what is enough."""
    return [*range(little + PAGE, enough, max(PAGE, (enough - little) // FINE // PAGE * PAGE))]


def may_return(call: Call, error: str) -> bool:
    """Tell whether a call may fail with this error."""
    return error != "EINTR" or call.point.name in INTERRUPTIBLE


def distinct(calls: Sequence[Call]) -> list[Call]:
    """Return calls without those that can't be told from another one; threads of a tool write side by side."""
    return list({call.place: call for call in calls}.values())


def some_kills(calls: Sequence[Call]) -> list[Kill]:
    """Return a sample of the kills, the same one each time, most of them at changes of names."""
    named = [call for call in calls if call.point.name in NAMES]
    others = [call for call in calls if call.point.name not in NAMES]
    chance = random.Random(_seed(calls))
    chosen = [*chance.sample(named, min(NAMED, len(named))), *chance.sample(others, min(KILLS, len(others)))]
    return [Kill(call, n % 2 == 0) for n, call in enumerate(chosen)]


def some_failures(calls: Sequence[Call]) -> list[Failure]:
    """Return a sample of the failures, the same one each time, one with each error."""
    chance = random.Random(_seed(calls))
    able = {error: [call for call in distinct(calls) if may_return(call, error)] for error in ERRORS}
    return [Failure(chance.choice(found), error) for error, found in able.items() if found]


def _seed(calls: Sequence[Call]) -> str:
    return str(sorted(call.point for call in calls))
