"""Walk: do actions one after the other in a new store, and check all of it; a failure is found and shortened."""

import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.robot import shorten
from tests.robot.actions import Action
from tests.robot.verbs import VERBS
from tests.robot.world import Nothing, World

DEEP = 10  # every so many steps the engine's own `verify --deep` runs

Told = Callable[[int, Action, str], None]


class Failure(NamedTuple):
    """
    The action, counted from 0, after which not all was well; sign tells failures apart, text is for people.

    needed are the actions until then, without those that did nothing.
    """

    at: int
    sign: str
    text: str
    needed: list[Action]


class Walk(NamedTuple):
    """How a walk ended: what was done how often, what did nothing, and the failure that ended it."""

    done: Counter[str]
    nothing: Counter[str]
    failure: Failure | None


def walk(actions: Sequence[Action], directory: Path, *, each: bool = True, told: Told | None = None) -> Walk:
    """
    Do actions in a new store below directory, and check it after each of them, or only after the last one.

    told is called after each action with what became of it. Whatever is raised is a failure.
    """
    done, nothing, needed = Counter[str](), Counter[str](), list[Action]()
    with tempfile.TemporaryDirectory(dir=directory, prefix="store-") as place:
        world = World(Path(place))
        for at, action in enumerate(actions):
            is_last = at == len(actions) - 1
            try:
                outcome = _do(world, action)
                world.look()
                if each or is_last:
                    world.check(deep=is_last or at % DEEP == 0)
            except Exception as e:  # whatever it is, the robot has found it
                text = "".join(traceback.format_exception(e))
                return Walk(done, nothing, Failure(at, _sign(e), text, [*needed, action]))
            (nothing if outcome else done)[action.verb] += 1
            needed += [] if outcome else [action]
            if told is not None:
                told(at, action, outcome)
    return Walk(done, nothing, None)


def _do(world: World, action: Action) -> str:
    """Do an action; returns why it did nothing, if so."""
    try:
        VERBS[action.verb].do(world, action.a, action.b, action.c)
    except Nothing as e:
        return str(e)
    return ""


def _sign(e: Exception) -> str:
    """Return what failures of one cause have in common: the kind of the error, and the function that raised it."""
    frames = traceback.extract_tb(e.__traceback__)
    return f"{type(e).__name__} in {frames[-1].name}"


def shortest(actions: Sequence[Action], failure: Failure, directory: Path, seconds: float) -> list[Action]:
    """
    Return the fewest of actions that end in the same failure, each in a new store; after seconds what there is by then.

    Only the last state is checked meanwhile: what follows the failure counts for nothing.
    """
    deadline = time.monotonic() + seconds

    def fails(some: Sequence[Action]) -> bool:
        if time.monotonic() > deadline:
            return False
        found = walk(some, directory, each=False).failure
        return found is not None and found.sign == failure.sign

    todo = failure.needed if fails(failure.needed) else actions[: failure.at + 1]
    return shorten.shortest(todo, fails)
