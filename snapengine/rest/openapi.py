"""The API as OpenAPI 3.1 describes it, made from the table of calls and the structs that parse and print."""

import functools
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from snapengine.delete import Deleted
from snapengine.group import Availability
from snapengine.inventory import Snapshot, Volume
from snapengine.rest import routes
from snapengine.rest.bodies import Body
from snapengine.rest.doors import Session
from snapengine.rest.faults import Envelope
from snapengine.rest.group_calls import Reverted
from snapengine.rest.routes import Call
from snapengine.roster import Group
from snapengine.shrinking import Shrunk
from snapengine.tag import Tag
from snapengine.tree import DrawnTree
from snapengine.version import __version__

Json = dict[str, Any]
_REF = "#/components/schemas/{name}"
_STRUCTS = (Snapshot, Volume, Group, DrawnTree, Tag, Deleted, Reverted, Availability, Shrunk, Session, Envelope)

# What calls answer: one struct or several, under which key; all others answer an empty object.
_ANSWERS: Mapping[str, tuple[str, type, bool]] = {
    **dict.fromkeys(("createVolumeSnapshot", "updateVolumeSnapshot"), ("inventory", Snapshot, False)),
    **dict.fromkeys(("queryVolumeSnapshot", "getVolumeSnapshot"), ("inventories", Snapshot, True)),
    **dict.fromkeys(("queryVolumeSnapshotTree", "getVolumeSnapshotTree"), ("inventories", DrawnTree, True)),
    **dict.fromkeys(("queryVolumeSnapshotGroup", "getVolumeSnapshotGroup"), ("inventories", Group, True)),
    **dict.fromkeys(("createVolumeSnapshotGroup", "updateVolumeSnapshotGroup"), ("inventory", Group, False)),
    **dict.fromkeys(("batchDeleteVolumeSnapshot", "deleteVolumeSnapshotGroup"), ("results", Deleted, True)),
    "revertVmFromSnapshotGroup": ("results", Reverted, True),
    "checkVolumeSnapshotGroupAvailability": ("results", Availability, True),
    "shrinkVolumeSnapshot": ("shrinkResult", Shrunk, False),
    **dict.fromkeys(("queryVolume", "getVolume"), ("inventories", Volume, True)),
    **dict.fromkeys(
        ("createDataVolume", "createDataVolumeFromVolumeSnapshot", "undoSnapshotCreation", "updateVolume",
         "changeVolumeState", "syncVolumeSize", "recoverDataVolume", "resizeRootVolume", "resizeDataVolume",
         "attachDataVolumeToVm", "detachDataVolumeFromVm", "detachDataVolumeFromNamedVm"),
        ("inventory", Volume, False),
    ),
    **dict.fromkeys(("querySystemTag", "getSystemTag", "queryUserTag", "getUserTag"), ("inventories", Tag, True)),
    **dict.fromkeys(("createSystemTag", "createUserTag"), ("inventory", Tag, False)),
    "logInByAccount": ("inventory", Session, False),
}  # fmt: skip
_QUERY: Mapping[str, Literal["string", "integer", "boolean"]] = {
    "q": "string", "limit": "integer", "start": "integer", "count": "boolean", "replyWithCount": "boolean",
    "sort": "string", "fields": "string", "groupBy": "string",
}  # fmt: skip


@functools.cache
def document() -> bytes:
    """Return the description as JSON."""
    schemas: Json = {}
    bodies = {call.body for call in routes.CALLS if call.body is not Body}
    _, found = msgspec.json.schema_components((*_STRUCTS, *bodies), ref_template=_REF)
    schemas |= {name: found[name] for name in sorted(found)}
    paths: dict[str, Json] = {}
    for path, method, calls in _operations():
        paths.setdefault(f"/{path}", {})[method] = _operation(calls)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "snapengine: volume snapshots of a KVM host", "version": __version__},
            "servers": [{"url": routes.PREFIX}],
            "security": [{"session": []}],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "session": {
                        "type": "apiKey", "in": "header", "name": "Authorization",
                        "description": "`OAuth <session>`, the uuid that logInByAccount answers; or `ZStack "
                        "<key>:<signature>`, see docs/rest.md.",
                    },
                },
            },
        }
    )  # fmt: skip


def _operations() -> list[tuple[str, str, tuple[Call, ...]]]:
    """Return the calls by path and method: those that share both are one operation there."""
    grouped: dict[tuple[str, str], list[Call]] = {}
    for call in routes.CALLS:
        grouped.setdefault((call.path, call.method.lower()), []).append(call)
    return [(path, method, tuple(calls)) for (path, method), calls in grouped.items()]


def _operation(calls: tuple[Call, ...]) -> Json:
    first = calls[0]
    found: Json = {
        "operationId": "_or_".join(call.name for call in calls) if len(calls) < 4 else f"actionsOf_{first.name}",
        "summary": "; ".join(_summary(call) for call in calls),
        "responses": _responses(calls),
    }
    if parameters := _parameters(first):
        found["parameters"] = parameters
    if first.key is not None:
        choices = [_body(call) for call in calls]
        schema = choices[0] if len(choices) == 1 else {"oneOf": choices}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if first.open:
        found["security"] = []
    return found


def _summary(call: Call) -> str:
    source = call.verb or call.read
    said = (source.__doc__ or "").strip().split("\n")[0] if source is not None else ""
    return f"{call.name}: {said}" if said else call.name


def _parameters(call: Call) -> list[Json]:
    names = [part[1:-1] for part in call.path.split("/") if part[0] == "{"]
    found: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
    ]
    if call.read is not None:
        found += [{"name": name, "in": "query", "schema": {"type": kind}} for name, kind in _QUERY.items()]
    elif call.special == "availability":
        found.append({"name": "uuids", "in": "query", "schema": {"type": "string"}})
    elif call.key is None and call.body is not Body:
        for field in msgspec.structs.fields(call.body):
            found.append({"name": field.encode_name, "in": "query", "schema": msgspec.json.schema(field.type)})
    if call.verb is not None:
        found.append({"name": "X-Job-UUID", "in": "header", "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"}})
        found.append({"name": "X-Web-Hook", "in": "header", "schema": {"type": "string", "format": "uri"}})
    return found


def _body(call: Call) -> Json:
    inner = _ref(call.body) if call.body is not Body else {"type": "object"}
    tags = {"type": "array", "items": {"type": "string"}}
    beside = {"systemTags": tags, "userTags": tags} if call.key == "params" else {}
    return {"type": "object", "required": [call.key], "properties": {call.key: inner, **beside}}


def _responses(calls: tuple[Call, ...]) -> Json:
    answers = [_answer(call) for call in calls]
    kinds = [answer for number, answer in enumerate(answers) if answer not in answers[:number]]
    done = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    plain = {"text/plain": {"schema": {"type": "string"}}}
    found = {
        "200": {"description": "Done.", "content": {"application/json": {"schema": done}}},
        "400": {"description": "Malformed.", "content": plain},
        "503": {"description": "Refused or failed.", "content": {"application/json": {"schema": _ref(Envelope)}}},
    }
    if calls[0].verb is not None or calls[0].special == "job":
        schema = {"type": "object", "properties": {"location": {"type": "string"}}}
        found["202"] = {"description": "It goes on as a job.", "content": {"application/json": {"schema": schema}}}
    for code, why in (("403", "Signed too long ago."), ("404", "Unknown."), ("413", "Too large."),
                      ("429", "Too many logins at once.")):  # fmt: skip
        found[code] = {"description": why, "content": plain}
    return found


def _answer(call: Call) -> Json:
    if call.name not in _ANSWERS:
        return {"type": "object"}
    key, kind, several = _ANSWERS[call.name]
    inner = {"type": "array", "items": _shown(call, kind)} if several else _ref(kind)
    extra = {"total": {"type": "integer"}} if call.read is not None else {}
    return {"type": "object", "properties": {key: inner, **extra, "schema": {"type": "object"}}}


def _shown(call: Call, kind: type) -> Json:
    """Return the schema of what a query lists: whole inventories, or the fields that were asked for."""
    return {"anyOf": [_ref(kind), {"type": "object"}]} if call.read is not None else _ref(kind)


def _ref(kind: type) -> Json:
    return {"$ref": _REF.format(name=kind.__name__)}
