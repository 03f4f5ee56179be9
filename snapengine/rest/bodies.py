"""
What clients send, as typed structs: one for each action of the contract (section 3), and its query parameters.

Unknown keys are ignored, absent and null are the same. What a value may be is the engine's to say; here is its type,
with what the API's description tells of the engine's rules.
"""

from typing import Annotated, Literal

import msgspec

from snapengine import layout


def _told(said: str, **more: object) -> msgspec.Meta:
    """Return what is told of a field, with rules of JSON Schema that the engine holds and msgspec is not to check."""
    return msgspec.Meta(description=said, extra_json_schema=dict(more))


MAX_BATCH = 1000  # snapshots

_UUID = f"^{layout.GIVEN_UUID.pattern}$"
Name = Annotated[str, _told("1 to 255 characters after trimming.", minLength=1, maxLength=255)]
Description = Annotated[str, _told("Up to 2048 characters.", maxLength=2048)]
NewUuid = Annotated[str, _told("The uuid of what is made; one that is not in use.", pattern=_UUID)]
Uuid = Annotated[str, _told("32 hexadecimal digits.", minLength=1)]
Bytes = Annotated[int, _told("Bytes.", minimum=1)]
Tags = tuple[Annotated[str, _told("A tag; a system tag has the form `name::value`.", minLength=1)], ...]


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an action says beside the path; of most actions nothing."""


class Described(Body, frozen=True, kw_only=True):
    """Changes of a name and a description; absent is unchanged."""

    name: Name | None = None
    description: Description | None = None


class Tagged(Body, frozen=True, kw_only=True):
    """What makes a new object; clients send the tags beside it or inside it, and both are read."""

    name: Name
    description: Description | None = None
    resource_uuid: NewUuid | None = None
    system_tags: Tags | None = None
    user_tags: Tags | None = None
    tag_uuids: tuple[str, ...] | None = None


class CreateDataVolume(Tagged, frozen=True, kw_only=True):
    """A new, empty data volume; disk_size is in bytes."""

    disk_size: Bytes


class CreateGroup(Tagged, frozen=True, kw_only=True):
    """A snapshot of every volume of the VM that the root volume is attached to."""

    root_volume_uuid: Uuid


class DeleteSnapshot(Body, frozen=True, kw_only=True):
    """How to delete a snapshot: chain takes its descendants too; direction says how layers are joined."""

    scope: Literal["chain", "single", ""] = "chain"
    direction: Literal["auto", "pull", "commit", ""] = "auto"


class BatchDelete(Body, frozen=True, kw_only=True):
    """Which snapshots to delete, each alone."""

    uuids: Annotated[
        tuple[Annotated[str, _told("One that is unknown counts as deleted.")], ...], msgspec.Meta(max_length=MAX_BATCH)
    ]


class Undo(Body, frozen=True, kw_only=True):
    """Which snapshot to take back; it must be the latest."""

    snapshot_uuid: Uuid = msgspec.field(name="snapShotUuid")


class Flatten(Body, frozen=True, kw_only=True):
    """Whether only to tell what it would cost."""

    dry_run: bool | None = None


class Resize(Body, frozen=True, kw_only=True):
    """The new virtual size in bytes."""

    size: Bytes


class ChangeState(Body, frozen=True, kw_only=True):
    """What to change the volume's state to."""

    state_event: Literal["enable", "disable"]


class CreateTag(Body, frozen=True, kw_only=True):
    """A tag, and the object that gets it."""

    resource_type: Literal["VolumeVO", "VolumeSnapshotVO"]
    resource_uuid: Uuid
    tag: Annotated[str, _told("A system tag has the form `name::value`.", minLength=1)]


class LogIn(Body, frozen=True, kw_only=True):
    """Who wants a session; password is the hex of the SHA-512 of the real one."""

    account_name: Annotated[str, _told("`admin`, or as `snapengine account create` made it.")]
    password: Annotated[str, _told("The SHA-512 of the password: 128 hexadecimal digits.")]
