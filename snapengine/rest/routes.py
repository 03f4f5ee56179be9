"""
Every call of the contract as data: method, path, the body's key, and what answers it (contract, sections 1 to 3).

Paths lie below target.PREFIX. A literal segment wins over one in braces. Several rows may share a method and a path,
and the body's key tells them apart.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from snapengine.engine import Engine
from snapengine.rest import bodies, group_calls, reads, snapshot_calls, tag_calls, things, unsupported, volume_calls
from snapengine.rest.answers import Reply
from snapengine.rest.bodies import Body
from snapengine.rest.page import Query
from snapengine.rest.reads import Reader
from snapengine.rest.things import At, Touches, in_body, in_path

Verb = Callable[[Engine, At, Any], Reply]
Read = Callable[[Reader, Query], Awaitable[Reply]]


class Call(NamedTuple):
    """
    One call. name is the API's; exactly one of verb, read and special says how it is answered.

    key is the body's; where there is none, body is made of the query's parameters. touches says which objects it is
    about, to see whose they are and which other operations to wait for. special ones the server answers itself.
    """

    name: str
    method: str
    path: str
    key: str | None = None
    body: type[Body] = Body
    verb: Verb | None = None
    read: Read | None = None
    special: str | None = None
    touches: Touches = things.nothing
    open: bool = False  # needs no authorization


def _get(name: str, path: str, read: Read) -> Call:
    return Call(name, "GET", path, read=read)


def _action(name: str, path: str, body: type[Body], verb: Verb, touches: Touches) -> Call:
    return Call(name, "PUT", path, name, body, verb, touches=touches)


def _make(name: str, path: str, body: type[Body], verb: Verb, touches: Touches) -> Call:
    return Call(name, "POST", path, "params", body, verb, touches=touches)


_SNAPSHOT = in_path("VolumeSnapshotVO")
_VOLUME = in_path("VolumeVO")
_DELETED = in_path("DeletedVolumeVO")
_GROUP = in_path("VolumeSnapshotGroupVO")

_ON_SNAPSHOTS = (
    _make("createVolumeSnapshot", "volumes/{volumeUuid}/volume-snapshots", bodies.Tagged, snapshot_calls.create,
          in_path("VolumeVO", "volumeUuid")),
    _get("queryVolumeSnapshot", "volume-snapshots", reads.snapshots),
    _get("getVolumeSnapshot", "volume-snapshots/{uuid}", reads.snapshots),
    _get("queryVolumeSnapshotTree", "volume-snapshots/trees", reads.trees),
    _get("getVolumeSnapshotTree", "volume-snapshots/trees/{uuid}", reads.trees),
    _action("updateVolumeSnapshot", "volume-snapshots/{uuid}/actions", bodies.Described, snapshot_calls.update,
            _SNAPSHOT),
    _action("revertVolumeFromSnapshot", "volume-snapshots/{uuid}/actions", Body, snapshot_calls.revert, _SNAPSHOT),
    _action("getVolumeSnapshotSize", "volume-snapshots/{uuid}/actions", Body, snapshot_calls.size, _SNAPSHOT),
    _action("shrinkVolumeSnapshot", "volume-snapshots/shrink/{uuid}/actions", Body, snapshot_calls.shrink, _SNAPSHOT),
    Call("deleteVolumeSnapshot", "DELETE", "volume-snapshots/{uuid}", None, bodies.DeleteSnapshot,
         snapshot_calls.remove, touches=in_path("VolumeSnapshotVO", optional=True)),
    _action("batchDeleteVolumeSnapshot", "volume-snapshots/batch-delete", bodies.BatchDelete,
            snapshot_calls.remove_several, in_body("VolumeSnapshotVO", "uuids", "uuids", optional=True)),
    _make("createDataVolumeFromVolumeSnapshot", "volumes/data/from/volume-snapshots/{volumeSnapshotUuid}",
          bodies.Tagged, volume_calls.create_from_snapshot, in_path("VolumeSnapshotVO", "volumeSnapshotUuid")),
)  # fmt: skip

_ON_GROUPS = (
    _make("createVolumeSnapshotGroup", "volume-snapshots/group", bodies.CreateGroup, group_calls.create,
          in_body("VolumeVO", "root_volume_uuid", "rootVolumeUuid")),
    _get("queryVolumeSnapshotGroup", "volume-snapshots/group", reads.groups),
    _get("getVolumeSnapshotGroup", "volume-snapshots/group/{uuid}", reads.groups),
    _action("updateVolumeSnapshotGroup", "volume-snapshots/group/{uuid}/actions", bodies.Described,
            group_calls.update, _GROUP),
    _action("revertVmFromSnapshotGroup", "volume-snapshots/group/{uuid}/actions", Body, group_calls.revert, _GROUP),
    Call("deleteVolumeSnapshotGroup", "DELETE", "volume-snapshots/group/{uuid}", None, bodies.DeleteSnapshot,
         group_calls.remove, touches=in_path("VolumeSnapshotGroupVO", optional=True)),
    Call("ungroupVolumeSnapshotGroup", "DELETE", "volume-snapshots/ungroup/{uuid}", None, Body, group_calls.ungroup,
         touches=_GROUP),
    Call("checkVolumeSnapshotGroupAvailability", "GET", "volume-snapshots/groups/availabilities",
         special="availability"),
)  # fmt: skip

_ON_VOLUMES = (
    _get("queryVolume", "volumes", reads.volumes),
    _get("getVolume", "volumes/{uuid}", reads.volumes),
    _make("createDataVolume", "volumes/data", bodies.CreateDataVolume, volume_calls.create_data, things.nothing),
    Call("deleteDataVolume", "DELETE", "volumes/{uuid}", None, Body, volume_calls.remove,
         touches=in_path("VolumeVO", optional=True)),
    _action("undoSnapshotCreation", "volumes/{uuid}/actions", bodies.Undo, volume_calls.undo, _VOLUME),
    _action("flattenVolume", "volumes/{uuid}/actions", bodies.Flatten, volume_calls.flatten, _VOLUME),
    _action("updateVolume", "volumes/{uuid}/actions", bodies.Described, volume_calls.update, _VOLUME),
    _action("changeVolumeState", "volumes/{uuid}/actions", bodies.ChangeState, volume_calls.change_state, _VOLUME),
    _action("syncVolumeSize", "volumes/{uuid}/actions", Body, volume_calls.sync_size, _VOLUME),
    _action("recoverDataVolume", "volumes/{uuid}/actions", Body, volume_calls.recover, _DELETED),
    _action("expungeDataVolume", "volumes/{uuid}/actions", Body, volume_calls.expunge, _DELETED),
    _action("resizeRootVolume", "volumes/resize/{uuid}/actions", bodies.Resize, volume_calls.resize_root, _VOLUME),
    _action("resizeDataVolume", "volumes/data/resize/{uuid}/actions", bodies.Resize, volume_calls.resize_data, _VOLUME),
    Call("attachDataVolumeToVm", "POST", "volumes/{volumeUuid}/vm-instances/{vmInstanceUuid}", None, Body,
         volume_calls.attach, touches=in_path("VolumeVO", "volumeUuid")),
    Call("detachDataVolumeFromVm", "DELETE", "volumes/{uuid}/vm-instances", None, Body, volume_calls.detach,
         touches=_VOLUME),
    Call("detachDataVolumeFromNamedVm", "DELETE", "volumes/{uuid}/vm-instances/{vmInstanceUuid}", None, Body,
         volume_calls.detach, touches=_VOLUME),
)  # fmt: skip

_TAG = in_path("TagVO", optional=True)

_ON_TAGS = (
    _get("querySystemTag", "system-tags", reads.system_tags),
    _get("getSystemTag", "system-tags/{uuid}", reads.system_tags),
    _get("queryUserTag", "user-tags", reads.user_tags),
    _get("getUserTag", "user-tags/{uuid}", reads.user_tags),
    _make("createSystemTag", "system-tags", bodies.CreateTag, tag_calls.create_system, things.tagged),
    _make("createUserTag", "user-tags", bodies.CreateTag, tag_calls.create_user, things.tagged),
    Call("deleteTag", "DELETE", "tags/{uuid}", None, Body, tag_calls.remove, touches=_TAG),
    Call("deleteSystemTag", "DELETE", "system-tags/{uuid}", None, Body, tag_calls.remove, touches=_TAG),
    Call("deleteUserTag", "DELETE", "user-tags/{uuid}", None, Body, tag_calls.remove, touches=_TAG),
)

_ELSEWHERE = (
    _get("queryZone", "zones", reads.zones),
    Call("logInByAccount", "PUT", "accounts/login", "logInByAccount", bodies.LogIn, special="login", open=True),
    Call("logOut", "DELETE", "accounts/sessions/{uuid}", special="logout", open=True),
    Call("validateSession", "GET", "accounts/sessions/{uuid}/valid", special="valid", open=True),
    Call("getApiJob", "GET", "api-jobs/{uuid}", special="job", open=True),
    *(Call(name, method, path, special="unsupported") for name, method, path, _ in unsupported.ROWS),
)

CALLS = (*_ON_SNAPSHOTS, *_ON_GROUPS, *_ON_VOLUMES, *_ON_TAGS, *_ELSEWHERE)
BY_NAME: Mapping[str, Call] = {call.name: call for call in CALLS}


class Match(NamedTuple):
    """The calls at a path, all of one method, and what stands in the path's braces; allowed are all its methods."""

    calls: tuple[Call, ...]
    at: At
    allowed: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the name of the call, or of the first that it may be."""
        return self.calls[0].name if self.calls else "unknown"


def match(method: str, segments: Sequence[str]) -> Match | None:
    """Return the calls that a request may mean, none of them for a wrong method; None for a path of no call."""
    for pattern, calls in _PATHS.get(len(segments), ()):
        if all(part[0] == "{" or part == given for part, given in zip(pattern, segments, strict=True)):
            meant = tuple(call for call in calls if call.method == method)
            named = (meant or calls)[0].path.split("/")  # calls of other methods may have other names there
            at = {part[1:-1]: given for part, given in zip(named, segments, strict=True) if part[0] == "{"}
            return Match(meant, at, tuple(dict.fromkeys(call.method for call in calls)))
    return None


_Path = tuple[tuple[str, ...], tuple[Call, ...]]


def _paths() -> dict[int, list[_Path]]:
    """Return the paths by their length, those with a literal segment first, each with its calls."""
    grouped: dict[tuple[str, ...], list[Call]] = {}
    for call in CALLS:
        segments = tuple(call.path.split("/"))
        shape = tuple("{}" if part[0] == "{" else part for part in segments)
        grouped.setdefault(shape, []).append(call)
    found: dict[int, list[_Path]] = {}
    for shape in sorted(grouped, key=lambda shape: [part == "{}" for part in shape]):
        calls = grouped[shape]
        found.setdefault(len(shape), []).append((tuple(calls[0].path.split("/")), tuple(calls)))
    return found


_PATHS = _paths()
