"""The API as OpenAPI 3.1 describes it, made from the table of calls and the structs that parse and print."""

import functools
import re

import msgspec

from snapengine.rest import described, examples, routes, shapes, target
from snapengine.rest.bodies import Body
from snapengine.rest.faults import Envelope
from snapengine.rest.routes import Call
from snapengine.rest.shapes import Json
from snapengine.version import __version__

_INTRODUCTION = """The same engine as the command line's. In the page `/docs`, log in above: calls are then sent in your
session.

Replies: 200 with what was asked for, or `{}`; 202 with the `location` of a job, which is polled without a session; 503
for every refusal and failure, with `{"error": {"code", "description", "details", "cause"?}}`; plain text for a request
that is malformed. Keys that are not known are ignored.

A condition of a query, `q`, is `<field><operator><value>` with one of `!=` `>=` `<=` `!?=` `!~=` `~=` `?=` `=` `>` `<`
`is null` `not null`; `?=` takes a list with commas, `~=` a pattern with `%` and `_`. Fields of other objects are named
with a dot, such as `volume.name`; tags are `__systemTag__` and `__userTag__`.
"""
_SCHEMES = {
    "session": {
        "type": "apiKey", "in": "header", "name": "Authorization",
        "description": "`OAuth <session>`: the uuid that logInByAccount answers.",
    },
    "signature": {
        "type": "apiKey", "in": "header", "name": "Authorization",
        "description": "`ZStack <key>:<signature>`, where the signature is base64(HMAC-SHA1(secret, "
        "\"METHOD\\nDATE\\nPATH\")): DATE is the header Date as it is sent, PATH the path without /zstack and query.",
    },
}  # fmt: skip
_PAGES = (
    ("/healthz", "health", "Tell whether the server is well.", "text/plain", (200, 503)),
    ("/metrics", "metrics", "Tell the metrics, as Prometheus reads them.", "text/plain", (200,)),
    ("/openapi.json", "description", "Describe the API.", "application/json", (200,)),
    ("/docs", "reference", "Show the API in a browser, to try it out.", "text/html", (200,)),
)  # fmt: skip


@functools.cache
def document() -> bytes:
    """Return the description as JSON."""
    paths: dict[str, Json] = {}
    for path, method, calls in _operations():
        paths.setdefault(f"/{path}", {})[method] = described.operation(path, calls)
    bodies = {call.body for call in routes.CALLS if call.body is not Body and call.key is not None}
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "snapengine",
                "summary": "Volume snapshots of a KVM host",
                "description": _INTRODUCTION,
                "version": __version__,
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": target.PREFIX}],
            "security": [{"session": []}, {"signature": []}],
            "tags": [{"name": name} for name in _chapters(paths)],
            "paths": {**paths, **_pages()},
            "components": {
                "schemas": shapes.components(bodies),
                "responses": _responses(),
                "headers": {"X-Request-Id": {
                    "description": "The request in the access log and the journal.",
                    "required": True, "schema": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
                }},
                "securitySchemes": _SCHEMES,
            },
        }
    )  # fmt: skip


def _operations() -> list[tuple[str, str, tuple[Call, ...]]]:
    """
    Return the calls by path and method: those that share both are one operation there.

    Paths that differ in what is in their braces only are one, and named as the first of them.
    """
    paths: dict[str, str] = {}
    grouped: dict[tuple[str, str], list[Call]] = {}
    for call in routes.CALLS:
        path = paths.setdefault(re.sub(r"{\w+}", "{}", call.path), call.path)
        grouped.setdefault((path, call.method.lower()), []).append(call)
    return [(path, method, tuple(calls)) for (path, method), calls in grouped.items()]


def _chapters(paths: dict[str, Json]) -> list[str]:
    """Return the chapters in the order in which their calls come, what is not supported at the end."""
    found = [operation["tags"][0] for path in paths.values() for operation in path.values()]
    return sorted(dict.fromkeys([*found, "Server"]), key=lambda name: name == "Not supported")


def _pages() -> dict[str, Json]:
    """Return the pages beside the API, which no session is needed for."""
    found: dict[str, Json] = {}
    for path, name, said, kind, statuses in _PAGES:
        content = {"schema": {"type": "object" if kind.endswith("json") else "string"}}
        replies = {str(status): described.reply("Well." if status == 200 else "Not well.", kind, content)
                   for status in statuses}  # fmt: skip
        operation = {"operationId": name, "tags": ["Server"], "summary": said, "security": [], "responses": replies}
        found[path] = {"servers": [{"url": "/"}], "get": operation}
    return found


def _responses() -> Json:
    plain = {"schema": {"type": "string"}}
    refused = [each for each in examples.recorded() if each.status == 503]
    accepted = [each for each in examples.recorded() if each.status == 202]
    location = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}
    running = {"type": "object", "maxProperties": 0}
    texts = {
        "Malformed": "The request is malformed: its JSON, query or headers, or its Authorization is missing.",
        "Late": "The header Date of a signed request is more than 15 minutes off.",
        "Unknown": "The job is unknown, or older than three hours.",
        "Slow": "The body did not come in time.",
        "Large": "The body has more than 1 MiB.",
        "Crowded": "There are too many logins at once.",
        "Broken": "An internal error; the server's log says more.",
    }
    return {name: described.reply(said, "text/plain", plain) for name, said in texts.items()} | {
        "Refused": described.reply(
            "Refused, or failed.", "application/json",
            {"schema": shapes.ref(Envelope), "examples": {
                f"{each.call}-{each.reply['error']['code']}": {"value": each.reply}
                for each in refused
            }},
        ),
        "Accepted": described.reply(
            "It goes on as a job.", "application/json",
            {"schema": location, "examples": {each.call: {"value": each.reply} for each in accepted}},
        ),
        "Running": described.reply("The job runs.", "application/json", {"schema": running}),
    }  # fmt: skip
