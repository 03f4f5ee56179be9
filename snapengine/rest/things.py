"""What a call touches: volumes, snapshots, groups, as its path and body name them. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple

from snapengine.rest.bodies import Body, CreateTag

Kind = Literal["VolumeVO", "DeletedVolumeVO", "VolumeSnapshotVO", "VolumeSnapshotGroupVO", "TagVO"]
At = Mapping[str, str]  # what stands in the path's braces; for a worker also the account that asks, as `account`


class Thing(NamedTuple):
    """One object: field is where the client named it; an optional one may be unknown, which the verb then answers."""

    kind: Kind
    uuid: str
    field: str
    optional: bool = False

    @property
    def type(self) -> str:
        """Return what clients call this kind."""
        return self.kind.removeprefix("Deleted")


Touches = Callable[[At, Any], Iterable[Thing]]


def nothing(at: At, body: Body) -> Iterable[Thing]:
    """Return the things of a call that touches none."""
    return ()


def in_path(kind: Kind, name: str = "uuid", *, optional: bool = False) -> Touches:
    """Return what finds the one thing that the path names."""
    return lambda at, body: (Thing(kind, at[name], name, optional),)


def tagged(at: At, body: CreateTag) -> Iterable[Thing]:
    """Return the object that gets a tag."""
    return (Thing(body.resource_type, body.resource_uuid, "resourceUuid"),)


def in_body(kind: Kind, attribute: str, field: str, *, optional: bool = False) -> Touches:
    """Return what finds the thing, or things, that an attribute of the body names."""

    def found(at: At, body: Body) -> Iterable[Thing]:
        said: str | tuple[str, ...] = getattr(body, attribute)
        return [Thing(kind, uuid, field, optional) for uuid in ((said,) if isinstance(said, str) else said)]

    return found
