"""
What clients send, as typed structs: one for each action of the contract (section 3), and its query parameters.

Unknown keys are ignored, absent and null are the same. What a value may be is the engine's to say; here is its type.
"""

from typing import Literal

import msgspec


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an action says beside the path; of most actions nothing."""


class Described(Body, frozen=True, kw_only=True):
    """Changes of a name and a description; absent is unchanged."""

    name: str | None = None
    description: str | None = None


class Tagged(Body, frozen=True, kw_only=True):
    """What makes a new object; clients send the tags beside it or inside it, and both are read."""

    name: str
    description: str | None = None
    resource_uuid: str | None = None
    system_tags: tuple[str, ...] | None = None
    user_tags: tuple[str, ...] | None = None
    tag_uuids: tuple[str, ...] | None = None


class CreateDataVolume(Tagged, frozen=True, kw_only=True):
    """A new, empty data volume; disk_size is in bytes."""

    disk_size: int


class CreateGroup(Tagged, frozen=True, kw_only=True):
    """A snapshot of every volume of the VM that the root volume is attached to."""

    root_volume_uuid: str


class DeleteSnapshot(Body, frozen=True, kw_only=True):
    """How to delete a snapshot: chain takes its descendants too; direction says how layers are joined."""

    scope: Literal["chain", "single", ""] = "chain"
    direction: Literal["auto", "pull", "commit", ""] = "auto"


class BatchDelete(Body, frozen=True, kw_only=True):
    """Which snapshots to delete, each alone."""

    uuids: tuple[str, ...]


class Undo(Body, frozen=True, kw_only=True):
    """Which snapshot to take back; it must be the latest."""

    snapshot_uuid: str = msgspec.field(name="snapShotUuid")


class Flatten(Body, frozen=True, kw_only=True):
    """Whether only to tell what it would cost."""

    dry_run: bool | None = None


class Resize(Body, frozen=True, kw_only=True):
    """The new virtual size in bytes."""

    size: int


class ChangeState(Body, frozen=True, kw_only=True):
    """What to change the volume's state to."""

    state_event: Literal["enable", "disable"]


class CreateTag(Body, frozen=True, kw_only=True):
    """A tag, and the object that gets it."""

    resource_type: Literal["VolumeVO", "VolumeSnapshotVO"]
    resource_uuid: str
    tag: str


class LogIn(Body, frozen=True, kw_only=True):
    """Who wants a session; password is the hex of the SHA-512 of the real one."""

    account_name: str
    password: str
