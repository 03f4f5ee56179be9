"""The schema map of a reply (contract, section 2): from each path in it to the server's class name. Pure."""

import functools
from collections import deque
from collections.abc import Iterator, Mapping

import msgspec
import msgspec.inspect

from snapengine.inventory import BackupStorageRef, Snapshot, Volume
from snapengine.roster import Group, Ref
from snapengine.tree import DrawnTree, Node

_SNAPSHOT = "org.zstack.header.storage.snapshot"
CLASSES: Mapping[type, str] = {
    Snapshot: f"{_SNAPSHOT}.VolumeSnapshotInventory",
    BackupStorageRef: f"{_SNAPSHOT}.VolumeSnapshotBackupStorageRefInventory",
    DrawnTree: f"{_SNAPSHOT}.VolumeSnapshotTreeInventory",
    Node: f"{_SNAPSHOT}.VolumeSnapshotTree$SnapshotLeafInventory",
    Group: f"{_SNAPSHOT}.group.VolumeSnapshotGroupInventory",
    Ref: f"{_SNAPSHOT}.group.VolumeSnapshotGroupRefInventory",
    Volume: "org.zstack.header.volume.VolumeInventory",
}


class Part:
    """
    Some fields of an inventory, as a query with `fields=` shows them; of is the inventory's own kind.

    No struct, so that the encoder asks shown() what to make of it.
    """

    def __init__(self, of: type, fields: dict[str, object]) -> None:
        self.of = of
        self.fields = fields


def of(reply: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Give the map of a reply, outer paths first; nothing where nothing in it has a class."""
    left: deque[tuple[str, object]] = deque(reply.items())
    while left:
        path, value = left.popleft()
        if (name := _class_of(value)) is not None:
            yield path, name
        left.extend(_inside(path, value))


def _class_of(value: object) -> str | None:
    return CLASSES.get(value.of if isinstance(value, Part) else type(value))


def _inside(path: str, value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Part):
        yield from ((f"{path}.{name}", each) for name, each in value.fields.items())
    elif isinstance(value, msgspec.Struct):
        for attribute, name in _holders(type(value)):
            if (each := getattr(value, attribute)) is not None:
                yield f"{path}.{name}", each
    elif isinstance(value, list | tuple):
        yield from ((f"{path}[{number}]", each) for number, each in enumerate(value))


@functools.cache
def _holders(kind: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """Return attribute and name of the fields that may hold more than a plain value: few, and asked for often."""
    fields = msgspec.inspect.type_info(kind).fields  # type: ignore[attr-defined]
    return tuple((field.name, field.encode_name) for field in fields if not _is_plain(field.type))


def _is_plain(of: msgspec.inspect.Type) -> bool:
    if isinstance(of, msgspec.inspect.UnionType):
        return all(map(_is_plain, of.types))
    return isinstance(of, _PLAIN)


_PLAIN = (
    msgspec.inspect.StrType,
    msgspec.inspect.IntType,
    msgspec.inspect.BoolType,
    msgspec.inspect.NoneType,
    msgspec.inspect.LiteralType,
)


def shown(value: object) -> object:
    """Return what JSON is made of: a part as its fields."""
    if isinstance(value, Part):
        return value.fields
    raise NotImplementedError(f"{type(value)} is nothing that a reply holds")
