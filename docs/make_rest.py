"""
Record real requests and replies of a server that it starts, and write docs/rest.md: rest.head.md, tables, the records.

The records are kept in the package, rest/examples.json, of which the server's own description of the API takes them.
"""

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import msgspec  # noqa: E402

from snapengine import errors  # noqa: E402
from snapengine.rest import examples, faults, routes, unsupported  # noqa: E402
from snapengine.rest.examples import Example  # noqa: E402
from tests.serving import MIB, PASSWORD, Client, Server  # noqa: E402

PAGE = Path(__file__).with_name("rest.md")
RECORDS = Path(examples.__file__).with_name("examples.json")
UNKNOWN = "0123456789ab4cde8f0123456789abcd"

_INTRODUCTION = """## Examples

Paths are below `/zstack/v1`; the header `Authorization: OAuth <session>` is left out. A test sends these requests again
and compares the replies. The page `/docs` of a running server shows them too, and sends them."""


class Recorder:
    """Sends requests and keeps what was said and answered."""

    def __init__(self, server: Server, client: Client) -> None:
        self._server = server
        self._client = client
        self._chapter = ""
        self.found: list[Example] = []

    def chapter(self, name: str) -> None:
        """Begin a chapter of the page."""
        self._chapter = name

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> dict[str, object]:
        """Send a request, record it and its reply, and return the reply."""
        reply = self._client.call(method, path, body, **headers)
        if "location" in reply.json():
            self._client.job(reply.json()["location"])
        said = json.loads(self._elsewhere(json.dumps([path, body])))
        self.found.append(
            Example(
                call=_name(method, path, body),
                chapter=self._chapter,
                method=method,
                path=said[0],
                headers={name.replace("_", "-"): value for name, value in headers.items()},
                body=said[1],
                status=reply.status_code,
                reply=json.loads(self._elsewhere(reply.text)),
            )
        )
        found: dict[str, object] = reply.json()
        return found

    def made(self, path: str, body: object) -> str:
        """Send a request that makes something, and return its uuid."""
        return str(self("POST", path, body)["inventory"]["uuid"])  # type: ignore[index]

    def act(self, path: str, action: str, **said: object) -> dict[str, object]:
        """Send an action."""
        return self("PUT", f"{path}/actions", {action: said})

    def _elsewhere(self, text: str) -> str:
        """Return a text with the address and the store of the manual's own server."""
        text = text.replace(self._server.address, "http://127.0.0.1:8080")
        return text.replace(str(self._server.root), "/srv/volumes")


def _name(method: str, path: str, body: object) -> str:
    match = routes.match(method, path.partition("?")[0].strip("/").split("/"))
    assert match is not None, path
    said = body if isinstance(body, dict) else {}
    return next(call.name for call in match.calls if call.key is None or call.key in said)


def record(do: Recorder) -> None:
    """Send the requests."""
    do.chapter("Sessions")
    digest = hashlib.sha512(PASSWORD.encode()).hexdigest()
    opened = do("PUT", "/accounts/login", {"logInByAccount": {"accountName": "admin", "password": digest}})
    session = opened["inventory"]["uuid"]  # type: ignore[index]
    do("GET", f"/accounts/sessions/{session}/valid")
    do("DELETE", f"/accounts/sessions/{session}")
    do.chapter("Volumes and snapshots")
    volume = do.made("/volumes/data", {"params": {"name": "db", "diskSize": MIB}})
    said = {"params": {"name": "Snapshot-1", "description": "before the upgrade"}, "systemTags": ["kind::daily"]}
    first = do.made(f"/volumes/{volume}/volume-snapshots", said)
    second = do.made(f"/volumes/{volume}/volume-snapshots", {"params": {"name": "Snapshot-2"}})
    _queries(do, volume, first)
    do.act(f"/volume-snapshots/{first}", "updateVolumeSnapshot", name="before")
    do.act(f"/volume-snapshots/{first}", "getVolumeSnapshotSize")
    do.act(f"/volume-snapshots/{first}", "revertVolumeFromSnapshot")
    do.act(f"/volume-snapshots/shrink/{first}", "shrinkVolumeSnapshot")
    _tags(do, volume, first)
    _volumes(do, volume, first)
    do.chapter("A job")
    do("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "later"}}, Prefer="respond-async")
    do("GET", f"/api-jobs/{_job(do)}")
    do.act(f"/volumes/{volume}", "undoSnapshotCreation", snapShotUuid=_last(do))
    _groups(do, volume)
    _ends(do, volume, first, second)


def _queries(do: Recorder, volume: str, first: str) -> None:
    do("GET", f"/volume-snapshots/{first}")
    query = f"q=volumeUuid={volume}&q=name~=snap%25&sort=-name&fields=name,latest&replyWithCount=true"
    do("GET", f"/volume-snapshots?{query}")
    do("GET", f"/volume-snapshots?q=volumeUuid={volume}&count=true")
    trees = do("GET", f"/volume-snapshots/trees?q=volumeUuid={volume}")
    do("GET", f"/volume-snapshots/trees/{trees['inventories'][0]['uuid']}?fields=uuid,current")  # type: ignore[index]
    do("GET", "/zones")


def _tags(do: Recorder, volume: str, snapshot: str) -> None:
    do("GET", f"/system-tags?q=resourceUuid={snapshot}")
    limit = {"resourceType": "VolumeVO", "resourceUuid": volume, "tag": "volumeMaxIncrementalSnapshotNum::8"}
    tag = do.made("/system-tags", {"params": limit})
    do("GET", f"/system-tags/{tag}")
    do("DELETE", f"/system-tags/{tag}")
    mine = {"resourceType": "VolumeSnapshotVO", "resourceUuid": snapshot, "tag": "keep"}
    tag = do.made("/user-tags", {"params": mine})
    do("GET", f"/user-tags?q=resourceUuid={snapshot}")
    do("GET", f"/user-tags/{tag}")
    do("DELETE", f"/user-tags/{tag}")
    do("DELETE", f"/tags/{tag}")


def _volumes(do: Recorder, volume: str, snapshot: str) -> None:
    do("GET", f"/volumes?q=uuid={volume}")
    do.act(f"/volumes/{volume}", "updateVolume", name="database")
    do.act(f"/volumes/{volume}", "changeVolumeState", stateEvent="disable")
    do.act(f"/volumes/{volume}", "changeVolumeState", stateEvent="enable")
    do.act(f"/volumes/data/resize/{volume}", "resizeDataVolume", size=2 * MIB)
    do.act(f"/volumes/resize/{volume}", "resizeRootVolume", size=3 * MIB)
    do.act(f"/volumes/{volume}", "syncVolumeSize")
    do("POST", f"/volumes/{volume}/vm-instances/{UNKNOWN}")
    do("DELETE", f"/volumes/{volume}/vm-instances/{UNKNOWN}")
    do("DELETE", f"/volumes/{volume}/vm-instances")
    linked = {"params": {"name": "to look around in"}, "systemTags": ["volume::fastCreate"]}
    clone = do.made(f"/volumes/data/from/volume-snapshots/{snapshot}", linked)
    do.act(f"/volumes/{clone}", "flattenVolume", dryRun=True)
    do.act(f"/volumes/{clone}", "flattenVolume")
    do("DELETE", f"/volumes/{clone}")
    do("GET", f"/volumes/{clone}?fields=name,status")
    do.act(f"/volumes/{clone}", "recoverDataVolume")


def _job(do: Recorder) -> str:
    return str(do.found[-1].reply["location"]).rpartition("/")[2]


def _last(do: Recorder) -> str:
    return str(do.found[-1].reply["inventory"]["uuid"])


def _groups(do: Recorder, volume: str) -> None:
    do.chapter("Groups")
    group = do.made("/volume-snapshots/group", {"params": {"name": "all", "rootVolumeUuid": volume}})
    do("GET", "/volume-snapshots/group?count=true")
    do("GET", f"/volume-snapshots/group/{group}?fields=name,snapshotCount")
    do("GET", f"/volume-snapshots/groups/availabilities?uuids={group}")
    do.act(f"/volume-snapshots/group/{group}", "updateVolumeSnapshotGroup", description="all disks")
    do.act(f"/volume-snapshots/group/{group}", "revertVmFromSnapshotGroup")
    do("DELETE", f"/volume-snapshots/ungroup/{group}")
    other = do.made("/volume-snapshots/group", {"params": {"name": "again", "rootVolumeUuid": volume}})
    do("DELETE", f"/volume-snapshots/group/{other}")


def _ends(do: Recorder, volume: str, first: str, second: str) -> None:
    do.chapter("Deleting")
    do("PUT", "/volume-snapshots/batch-delete", {"batchDeleteVolumeSnapshot": {"uuids": [second]}})
    do("DELETE", f"/volume-snapshots/{first}")
    do("DELETE", f"/volumes/{volume}")
    do.act(f"/volumes/{volume}", "expungeDataVolume")
    do.chapter("Errors, and what is not there")
    do("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "too late"}})
    do("GET", "/volume-snapshots?q=colour=red&fields=name")
    for _, method, path, _ in unsupported.ROWS:
        do(method, "/" + re.sub(r"{\w+}", UNKNOWN, path))


def tables() -> str:
    """Return the table of all calls, and of those that are not supported."""
    rows = [f"| `{c.name}` | `{c.method}` | `/{c.path}` | {f'`{c.key}`' if c.key else ''} |" for c in routes.CALLS]
    refused = [f"| `{name}` | {why} |" for name, why in unsupported.WHY.items()]
    head = ["| call | method | path | the body's key |", "|---|---|---|---|"]
    why = ["## Not supported", "", "These answer `SYS.1013` with the reason.", "", "| call | why |", "|---|---|"]
    return "\n".join(["## Calls", "", *head, *rows, "", *why, *refused])


def codes() -> str:
    """Return the table of the codes that errors have."""
    told: dict[str, dict[str, None]] = {}
    for kind in (*vars(errors).values(), *vars(faults).values()):
        if isinstance(kind, type) and issubclass(kind, errors.Error) and kind is not errors.Unprinted:
            told.setdefault(kind.code, {})[kind.description] = None
    rows = [f"| `{code}` | {'; '.join(told[code])} |" for code in sorted(told)]
    return "\n".join(["## Codes of errors", "", "| code | description |", "|---|---|", *rows])


def shown(found: Sequence[Example]) -> str:
    """Return the records as the page shows them."""
    parts, chapter = [_INTRODUCTION], ""
    for each in found:
        if each.chapter != chapter:
            chapter = each.chapter
            parts.append(f"### {chapter}")
        lines = [f"{each.method} {each.path}", *(f"{name}: {value}" for name, value in each.headers.items())]
        lines += [json.dumps(each.body)] if each.body is not None else []
        said = "\n".join(lines)
        parts.append(f"```http\n{said}\n\nHTTP {each.status}\n{json.dumps(each.reply, indent=1)}\n```")
    return "\n\n".join(parts)


def page(found: Sequence[Example]) -> str:
    """Return the whole page."""
    head = PAGE.with_name("rest.head.md").read_text().rstrip("\n")
    return "\n\n".join([head, codes(), tables(), shown(found)]) + "\n"


def main() -> None:
    """Write the records and the page."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "storage")
        try:
            recorder = Recorder(server, server.client())
            record(recorder)
        finally:
            server.stop()
    RECORDS.write_bytes(msgspec.json.format(msgspec.json.encode(recorder.found), indent=1) + b"\n")
    PAGE.write_text(page(recorder.found))


if __name__ == "__main__":
    main()
