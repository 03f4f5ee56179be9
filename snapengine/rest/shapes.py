"""What each call answers, as JSON Schema made from the structs that are printed. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from snapengine.delete import Deleted
from snapengine.group import Availability
from snapengine.inventory import Snapshot, Volume
from snapengine.rest.doors import Session
from snapengine.rest.faults import Envelope
from snapengine.rest.group_calls import Reverted
from snapengine.rest.routes import Call
from snapengine.roster import Group
from snapengine.shrinking import Shrunk
from snapengine.tag import Tag
from snapengine.tree import DrawnTree

Json = dict[str, Any]
REF = "#/components/schemas/{name}"
STRUCTS = (Snapshot, Volume, Group, DrawnTree, Tag, Deleted, Reverted, Availability, Shrunk, Session, Envelope)
_INTEGER = {"type": "integer", "minimum": 0}

# What calls answer that make or change something: which struct, or several of it, under which key.
_ANSWERS: Mapping[str, tuple[str, type, bool]] = {
    **dict.fromkeys(("createVolumeSnapshot", "updateVolumeSnapshot"), ("inventory", Snapshot, False)),
    **dict.fromkeys(("createVolumeSnapshotGroup", "updateVolumeSnapshotGroup"), ("inventory", Group, False)),
    **dict.fromkeys(("batchDeleteVolumeSnapshot", "deleteVolumeSnapshotGroup"), ("results", Deleted, True)),
    "revertVmFromSnapshotGroup": ("results", Reverted, True),
    "checkVolumeSnapshotGroupAvailability": ("results", Availability, True),
    "shrinkVolumeSnapshot": ("shrinkResult", Shrunk, False),
    **dict.fromkeys(
        ("createDataVolume", "createDataVolumeFromVolumeSnapshot", "undoSnapshotCreation", "updateVolume",
         "changeVolumeState", "syncVolumeSize", "recoverDataVolume", "resizeRootVolume", "resizeDataVolume",
         "attachDataVolumeToVm", "detachDataVolumeFromVm", "detachDataVolumeFromNamedVm"),
        ("inventory", Volume, False),
    ),
    **dict.fromkeys(("createSystemTag", "createUserTag"), ("inventory", Tag, False)),
    "logInByAccount": ("inventory", Session, False),
}  # fmt: skip

# What queries list.
_LISTED: Mapping[str, type] = {
    **dict.fromkeys(("queryVolumeSnapshot", "getVolumeSnapshot"), Snapshot),
    **dict.fromkeys(("queryVolumeSnapshotTree", "getVolumeSnapshotTree"), DrawnTree),
    **dict.fromkeys(("queryVolumeSnapshotGroup", "getVolumeSnapshotGroup"), Group),
    **dict.fromkeys(("queryVolume", "getVolume"), Volume),
    **dict.fromkeys(("querySystemTag", "getSystemTag", "queryUserTag", "getUserTag"), Tag),
}

# Plain answers.
_PLAIN: Mapping[str, Json] = {
    "getVolumeSnapshotSize": {"size": _INTEGER, "actualSize": _INTEGER},
    "validateSession": {"valid": {"type": "boolean"}},
    "queryZone": {"inventories": {"type": "array", "maxItems": 0}, "total": {"type": "integer"}},
}


def components(bodies: set[type]) -> Json:
    """Return the schemas of all structs that stand in answers, and of these bodies, by their names."""
    _, found = msgspec.json.schema_components((*STRUCTS, *bodies), ref_template=REF)
    return {name: found[name] for name in sorted(found)}


def ref(kind: type) -> Json:
    """Return a reference to a struct's schema."""
    return {"$ref": REF.format(name=kind.__name__)}


def answer(call: Call) -> Json:
    """Return the schema of what a call answers when it is done."""
    if call.special == "job":
        return {"type": "object", "description": "What the call that became the job answers."}
    if call.name in _LISTED:
        return _listed(_LISTED[call.name])
    if call.name == "flattenVolume":
        return {"anyOf": [_object({"inventory": ref(Volume)}), _object({"size": _INTEGER})]}
    if call.name in _ANSWERS:
        key, kind, several = _ANSWERS[call.name]
        return _object({key: {"type": "array", "items": ref(kind)} if several else ref(kind)})
    found = _object(_PLAIN.get(call.name, {}))
    return {**found, "required": ["total"]} if call.name == "queryZone" else found


def _object(properties: Json) -> Json:
    """Return the schema of an answer with these keys and, where the client asks for it, the map of classes."""
    classes = {"type": "object", "additionalProperties": {"type": "string"}, "description": "With X-JSON-Schema."}
    found: Json = {"type": "object", "properties": {**properties, "schema": classes}, "additionalProperties": False}
    return {**found, "required": [*properties]} if properties else found


def _listed(kind: type) -> Json:
    """Return the schema of a query's answer: inventories, whole or the fields that were asked for; or their number."""
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    some = {
        "title": f"Fields of {kind.__name__}",
        "type": "object",
        "properties": {name: {"$ref": f"{REF.format(name=kind.__name__)}/properties/{name}"} for name in names},
        "additionalProperties": False,
    }
    shown = _object({"inventories": {"type": "array", "items": {"anyOf": [ref(kind), some]}}})
    shown["properties"]["total"] = {**_INTEGER, "description": "With replyWithCount."}
    return {"anyOf": [shown, {**_object({"total": _INTEGER}), "title": "With count"}]}
