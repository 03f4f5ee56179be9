"""Actions: what the robot does, as a list that can be drawn from a seed, written to a file, and read again."""

import random
from collections.abc import Iterable, Mapping
from typing import NamedTuple

LARGEST = 2**16


class Action(NamedTuple):
    """
    A verb with three numbers, of which it takes what it needs.

    They name objects by their place among those that there are, so that the action means something in any store.
    """

    verb: str
    a: int
    b: int
    c: int


def draw(seed: int, steps: int, weights: Mapping[str, int], first: tuple[str, ...] = ()) -> list[Action]:
    """Draw steps actions that begin with first; weights says how often each verb comes. A seed gives one list."""
    choice = random.Random(seed)
    verbs = [*first, *choice.choices([*weights], [*weights.values()], k=max(0, steps - len(first)))]
    return [Action(verb, *(choice.randrange(LARGEST) for _ in range(3))) for verb in verbs]


def write(actions: Iterable[Action], remarks: Iterable[str] = ()) -> str:
    """Return actions as text, one on a line, under remarks."""
    lines = [f"# {line}".rstrip() for remark in remarks for line in remark.splitlines()]
    return "\n".join([*lines, *(" ".join(map(str, action)) for action in actions)]) + "\n"


def read(text: str) -> list[Action]:
    """Return the actions that write made text of; ValueError for anything else."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if words and (len(words) != 4 or not all(map(str.isdigit, words[1:]))):
            raise ValueError(f"line {number} is no action: a verb and three numbers were expected, not {line!r}")
        if words:
            found.append(Action(words[0], *map(int, words[1:])))
    return found
