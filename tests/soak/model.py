"""What one process must find in its own volumes: pure, and small enough to be written to a log before each verb."""

from collections import Counter
from typing import NamedTuple

import msgspec

CLUSTERS = 8  # of each volume

Content = tuple[int, ...]  # the byte of which each cluster is full

EMPTY: Content = (0,) * CLUSTERS


class Volume(msgspec.Struct, frozen=True):
    """A volume: its active content, that of its snapshots by name, those in its trash, and whether it is deleted."""

    active: Content
    snapshots: dict[str, Content] = {}
    trash: tuple[Content, ...] = ()
    deleted: bool = False


Model = dict[str, Volume]  # by the volume's name


class Step(NamedTuple):
    """What a verb makes of one volume; None where it makes or removes the volume."""

    name: str
    volume: Volume | None


def stepped(model: Model, *steps: Step) -> Model:
    """Return the model after these steps."""
    new = {name: volume for name, volume in model.items() if name not in {step.name for step in steps}}
    return new | {step.name: step.volume for step in steps if step.volume is not None}


def replaced(volume: Volume, content: Content, taken: Content | None = None) -> Volume:
    """Return the volume with another active content; the present one goes to the trash, out of which one is taken."""
    trash = list(volume.trash)
    if taken is not None:
        trash.remove(taken)
    return msgspec.structs.replace(volume, active=content, trash=(*trash, volume.active))


def differences(model: Model, found: Model) -> list[str]:
    """
    Return how what was found differs from the model.

    In the trash counts only what is nowhere else: whether an active image that holds nothing of its own goes there is
    not the model's business.
    """
    if set(model) != set(found):
        return [f"volumes {sorted(found)} instead of {sorted(model)}"]
    told = []
    for name, volume in model.items():
        other = found[name]
        if volume.deleted or other.deleted:
            pairs = [("deleted", volume.deleted, other.deleted), ("active", volume.active, other.active)]
        else:
            pairs = [
                ("active", volume.active, other.active),
                ("snapshots", volume.snapshots, other.snapshots),
                ("trash", _only(volume, other), _only(other, volume)),
            ]
        told += [f"{name}: {what} is {is_} instead of {due}" for what, due, is_ in pairs if due != is_]
    return told


def _only(volume: Volume, other: Volume) -> Counter[Content]:
    """Return the contents that only the trash keeps."""
    elsewhere = {EMPTY, volume.active, *volume.snapshots.values(), other.active, *other.snapshots.values()}
    return Counter(set(volume.trash) - elsewhere)
