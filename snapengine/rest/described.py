"""One operation of the API as OpenAPI describes it: what may be sent to a path, and what comes back. Pure."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from snapengine.rest import examples, jobs, shapes
from snapengine.rest.bodies import Body, Tagged, Tags
from snapengine.rest.examples import Example
from snapengine.rest.routes import Call
from snapengine.rest.shapes import Json

_TEXT, _FLAG = {"type": "string"}, {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_CONDITION = {
    **_TEXT, "pattern": r"^$|^[A-Za-z_][A-Za-z_.]*(!=|>=|<=|!\?=|!~=|~=|\?=|=|>|<| is null$| not null$)",
}  # fmt: skip
_QUERY: tuple[tuple[str, Json, str], ...] = (
    ("q", {"type": "array", "items": _CONDITION}, "A condition, `<field><operator><value>`; all of them must hold."),
    ("limit", {**_COUNT, "default": 1000}, "How many to show."),
    ("start", {**_COUNT, "default": 0}, "How many to leave out first."),
    ("count", _FLAG, "Tell only how many there are."),
    ("replyWithCount", _FLAG, "Tell also how many there are."),
    ("sort", _TEXT, "A field, after `-` for the other way round."),
    ("fields", _TEXT, "The fields to show, with commas; all without it."),
    ("groupBy", _TEXT, "Show one of each that have this field in common."),
    ("filterName", _TEXT, "Accepted, and ignored."),
)
_JOB = (
    "X-Job-UUID", {**_TEXT, "pattern": f"^{jobs.UUID.pattern}$"}, "Make it a job of this uuid, one never used before."
)  # fmt: skip
_HOOK = (
    "X-Web-Hook", {**_TEXT, "format": "uri"}, "Make it a job whose result is POSTed there, on a host that is allowed."
)  # fmt: skip
_ASYNC = ("Prefer", _TEXT, "`respond-async` makes it a job.")
_SCHEMA = ("X-JSON-Schema", _TEXT, "`true` adds the map `schema` to the reply, of its parts' classes.")


_SEVERAL = {
    "Snapshots": "actOnVolumeSnapshot",
    "Groups": "actOnVolumeSnapshotGroup",
    "Volumes": "actOnVolume",
}


def operation(path: str, calls: Sequence[Call]) -> Json:
    """Return the description of the calls that share a path and a method: the body's key tells them apart."""
    first = calls[0]
    names = [call.name for call in calls]
    found: Json = {
        "operationId": names[0] if len(names) == 1 else _SEVERAL[_chapter(first)],
        "tags": [_chapter(first)],
        "summary": _summary(first) if len(calls) == 1 else ", ".join(names),
        "responses": _responses(calls),
    }
    if len(calls) > 1:
        found["description"] = "\n".join(f"- `{call.name}`: {_summary(call)}" for call in calls)
    if parameters := _parameters(path, first):
        found["parameters"] = parameters
    if first.key is not None:
        found["requestBody"] = _request(calls)
    if first.open:
        found["security"] = []
    return found


def _chapter(call: Call) -> str:
    first, *more = call.path.split("/")
    if call.special == "unsupported":
        return "Not supported"
    if "group" in more or "groups" in more or "ungroup" in more:
        return "Groups"
    if more and more[-1] == "volume-snapshots":
        return "Snapshots"
    named = {"volumes": "Volumes", "volume-snapshots": "Snapshots", "accounts": "Sessions", "api-jobs": "Jobs"}
    return named.get(first, "Tags and zones")


_SPECIAL = {
    "logInByAccount": "Open a session, for two hours.",
    "logOut": "End a session.",
    "validateSession": "Tell whether a session has not ended.",
    "getApiJob": "Ask whether a job has ended, and how.",
    "checkVolumeSnapshotGroupAvailability": "Tell of each group whether the volumes can be taken back to it.",
}


def _summary(call: Call) -> str:
    if call.special == "unsupported":
        return f"{call.name}: always refused, with the reason."
    source = call.verb or call.read
    said = (source.__doc__ or "").strip().split("\n")[0] if source is not None else _SPECIAL[call.name]
    return f"{said[:-1]}, the one of this uuid." if call.name.startswith("get") and call.read is not None else said


def _parameters(path: str, call: Call) -> list[Json]:
    found = [
        {"name": part[1:-1], "in": "path", "required": True, "schema": {**_TEXT, "minLength": 1}}
        for part in path.split("/") if part[0] == "{"
    ]  # fmt: skip
    if call.read is not None:
        found += [_parameter("query", *row) for row in _QUERY]
    elif call.special == "availability":
        uuids = {"type": "array", "items": _TEXT}
        found.append(_parameter("query", "uuids", uuids, "Groups, each by itself or with commas."))
    elif call.key is None and call.body is not Body:
        for field in msgspec.structs.fields(call.body):
            found.append(_parameter("query", field.encode_name, msgspec.json.schema(field.type), ""))
        found.append(_parameter("query", "deleteMode", _TEXT, "Accepted, and ignored."))
    if call.verb is not None:
        found += [_parameter("header", *row) for row in (_JOB, _ASYNC, _HOOK, _SCHEMA)]
    return found


def _parameter(where: str, name: str, schema: Json, said: str) -> Json:
    return {"name": name, "in": where, "schema": schema, **({"description": said} if said else {})}


def _request(calls: Sequence[Call]) -> Json:
    choices = [_body(call) for call in calls]
    content: Json = {"schema": choices[0] if len(choices) == 1 else {"anyOf": choices}}
    if shown := [each for each in _recorded(calls) if each.body is not None]:
        content["examples"] = _examples(shown, "body")
    return {"required": True, "content": {"application/json": content}}


def _body(call: Call) -> Json:
    inner: Json = shapes.ref(call.body) if call.body is not Body else {"type": "object"}
    beside = msgspec.json.schema(Tags)
    tags = {"systemTags": beside, "userTags": beside} if issubclass(call.body, Tagged) else {}
    return {"title": call.name, "type": "object", "required": [call.key], "properties": {str(call.key): inner, **tags}}


def _recorded(calls: Sequence[Call]) -> list[Example]:
    names = {call.name for call in calls}
    return [each for each in examples.recorded() if each.call in names]


def _examples(shown: Sequence[Example], part: str) -> Json:
    found: Json = {}
    for each in shown:
        number = sum(name.partition("-")[0] == each.call for name in found)
        name = f"{each.call}-{number + 1}" if number else each.call
        path = re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24}\b", "\\1\u2026", each.path)
        found[name] = {"summary": f"{each.method} {path}", "value": getattr(each, part)}
    return found


def _responses(calls: Sequence[Call]) -> Json:
    first = calls[0]
    found: Json = {}
    if first.special != "unsupported":
        found["200"] = _done(calls)
    if first.verb is not None:
        found["202"] = {"$ref": "#/components/responses/Accepted"}
    elif first.special == "job":
        found["202"] = {"$ref": "#/components/responses/Running"}
    shared = {"400": "Malformed", "500": "Broken", "503": "Refused"}
    if not first.open:
        shared["403"] = "Late"
    if first.special == "job":
        shared["404"] = "Unknown"
    if first.verb is not None or first.key is not None or first.open:
        shared |= {"408": "Slow", "413": "Large"}
    if first.special == "login":
        shared["429"] = "Crowded"
    return found | {code: {"$ref": f"#/components/responses/{shared[code]}"} for code in sorted(shared)}


def _done(calls: Sequence[Call]) -> Json:
    answers = [shapes.answer(call) for call in calls]
    kinds = [answer for number, answer in enumerate(answers) if answer not in answers[:number]]
    content: Json = {"schema": kinds[0] if len(kinds) == 1 else {"anyOf": kinds}}
    if shown := [each for each in _recorded(calls) if each.status == 200]:
        content["examples"] = _examples(shown, "reply")
    found = reply("Done.", "application/json", content)
    return {**found, "links": links} if (links := _links(calls[0])) else found


def reply(said: str, kind: str, content: dict[str, Any]) -> Json:
    """Return the description of a reply, with the header that all replies have."""
    header = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
    return {"description": said, "headers": header, "content": {kind: content}}


_LINKS: dict[str, tuple[tuple[str, str], ...]] = {
    "createVolumeSnapshot": (
        ("getVolumeSnapshot", "uuid"),
        ("deleteVolumeSnapshot", "uuid"),
        ("actOnVolumeSnapshot", "uuid"),
        ("shrinkVolumeSnapshot", "uuid"),
        ("createDataVolumeFromVolumeSnapshot", "volumeSnapshotUuid"),
    ),
    "createDataVolume": (
        ("createVolumeSnapshot", "volumeUuid"),
        ("getVolume", "uuid"),
        ("actOnVolume", "uuid"),
        ("resizeDataVolume", "uuid"),
        ("deleteDataVolume", "uuid"),
    ),
    "createVolumeSnapshotGroup": (
        ("getVolumeSnapshotGroup", "uuid"),
        ("actOnVolumeSnapshotGroup", "uuid"),
        ("ungroupVolumeSnapshotGroup", "uuid"),
    ),
}


def _links(call: Call) -> Json:
    """Return which operations take the uuid of what a call has made."""
    made = "$response.body#/inventory/uuid"
    return {
        operation: {"operationId": operation, "parameters": {name: made}}
        for operation, name in _LINKS.get(call.name, ())
    }
