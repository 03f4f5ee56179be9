"""
What schemathesis can't know of this API: loaded by it (SCHEMATHESIS_HOOKS) in its own process.

Requests name objects that are there, or such as were, so that they get past the first look; and an error that is
internal is a failure though the contract gives it the status of all errors.
"""

import itertools
import json
import os
import secrets
from typing import Any

import schemathesis
from schemathesis import Case, CheckContext, HookContext, Response

# By the names that paths give them: what the run began with, and what calls have made since.
KNOWN: dict[str, list[str]] = json.loads(os.environ["SNAPENGINE_FUZZ_KNOWN"])
_KINDS = {"volumeUuid": "volume", "volumeSnapshotUuid": "snapshot"}
CONDITIONS = (
    "name~=%o_e%", "uuid?=a,b", "size>0", "createDate>=Jun 7, 2017 9:20:17 PM", "description is null",
    "volume.name!=one", "__systemTag__=a::b", "latest=true", "tree.current!=false", "group.name not null",
    "status!?=Ready,Creating",
)  # fmt: skip
_turn = itertools.count()


def kind_of(path: str, name: str) -> str:
    """Return which kind of object a parameter of a path names."""
    if name in _KINDS:
        return _KINDS[name]
    if "group" in path:
        return "group"
    return next((kind for word, kind in _WORDS if word in path), "other")


_WORDS = (("trees", "tree"), ("volume-snapshots", "snapshot"), ("volumes", "volume"), ("tags", "tag"))


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Let two of three requests name an object that was made."""
    assert context.operation is not None
    for name in path_parameters or {}:
        known = KNOWN.get(kind_of(context.operation.path, name), [])
        turn = next(_turn)
        if known and turn % 3:
            path_parameters[name] = known[turn % len(known)]  # type: ignore[index]
    return path_parameters


@schemathesis.hook
def map_query(context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Let two of three queries be about fields that there are."""
    turn = next(_turn)
    if query and turn % 3:
        condition = CONDITIONS[turn % len(CONDITIONS)]
        drawn = {"q": [condition], "sort": "-createDate", "fields": "uuid,name", "groupBy": "name"}
        return {**query, **{name: drawn[name] for name in query if name in drawn}}
    return query


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Give each job a uuid of its own; call no hooks, which nobody has allowed."""
    for name in [name for name in case.headers or {} if name.lower() == "x-web-hook"]:
        del case.headers[name]
    for name in [name for name in case.headers or {} if name.lower() == "x-job-uuid" and len(case.headers[name]) == 32]:
        case.headers[name] = secrets.token_hex(16)


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Remember what a call has made."""
    if case.method == "POST" and response.status_code == 200 and "vm-instances" not in case.path:
        uuid = response.json()["inventory"]["uuid"]
        kind = "volume" if "/data" in case.path else kind_of(f"{case.path}s", "uuid")
        KNOWN.setdefault(kind, []).append(uuid)
        del KNOWN[kind][:-20]


@schemathesis.check
def no_internal_error(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """An error says what is wrong: none is internal."""
    if response.status_code == 503 and "json" in response.headers["content-type"][0]:
        code = response.json()["error"]["code"]
        assert code != "SYS.1000", f"an internal error: {response.text}"
