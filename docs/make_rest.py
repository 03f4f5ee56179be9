"""Write docs/rest.md: the text of rest.head.md, and real requests with the replies of a server that it starts."""

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from snapengine.rest import routes, unsupported  # noqa: E402
from tests.serving import MIB, Client, Server  # noqa: E402

PAGE = Path(__file__).with_name("rest.md")


_INTRODUCTION = """## Examples

Paths are below `/zstack/v1`; the header `Authorization: OAuth <session>` is left out. A test sends these requests again
and compares the replies."""


class Writer:
    """Sends requests and keeps what was said and answered, as the page shows it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.parts: list[str] = []

    def say(self, text: str) -> None:
        """Add a paragraph."""
        self.parts.append(text)

    def __call__(self, method: str, path: str, body: object = None, **headers: str) -> dict[str, object]:
        """Send a request, add it and its reply to the page, and return the reply."""
        reply = self._client.call(method, path, body, **headers)
        lines = [f"{method} {path}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
        lines += [json.dumps(body)] if body is not None else []
        said = "\n".join(lines)
        self.parts.append(f"```http\n{said}\n\nHTTP {reply.status_code}\n{_told(reply.json())}\n```")
        if "location" in reply.json():
            self._client.job(reply.json()["location"])
        found: dict[str, object] = reply.json()
        return found


def _told(reply: object) -> str:
    return json.dumps(reply, indent=1)


def record(do: Writer) -> None:
    """Send the page's requests."""
    do.say(_INTRODUCTION)
    do.say("### Volumes and snapshots")
    made = do("POST", "/volumes/data", {"params": {"name": "db", "diskSize": MIB}})
    volume = made["inventory"]["uuid"]  # type: ignore[index]
    said = {"params": {"name": "Snapshot-1", "description": "before the upgrade"}, "systemTags": ["kind::daily"]}
    first = do("POST", f"/volumes/{volume}/volume-snapshots", said)["inventory"]["uuid"]  # type: ignore[index]
    second = do("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "Snapshot-2"}})
    second = second["inventory"]["uuid"]  # type: ignore[index]
    do("GET", f"/volume-snapshots/{first}")
    query = f"q=volumeUuid={volume}&q=name~=snap%25&sort=-name&fields=name,latest&replyWithCount=true"
    do("GET", f"/volume-snapshots?{query}")
    do("GET", f"/volume-snapshots?q=volumeUuid={volume}&count=true")
    do("GET", f"/volume-snapshots/trees?q=volumeUuid={volume}")
    do("PUT", f"/volume-snapshots/{first}/actions", {"updateVolumeSnapshot": {"name": "before"}})
    do("PUT", f"/volume-snapshots/{first}/actions", {"getVolumeSnapshotSize": {}})
    do("PUT", f"/volume-snapshots/{first}/actions", {"revertVolumeFromSnapshot": {}})
    do("PUT", f"/volume-snapshots/shrink/{first}/actions", {"shrinkVolumeSnapshot": {}})
    do("GET", f"/system-tags?q=resourceUuid={first}")
    limit = {"resourceType": "VolumeVO", "resourceUuid": volume, "tag": "volumeMaxIncrementalSnapshotNum::8"}
    tag = do("POST", "/system-tags", {"params": limit})["inventory"]["uuid"]  # type: ignore[index]
    do("DELETE", f"/system-tags/{tag}")
    do.say("### A job")
    do("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "later"}}, Prefer="respond-async")
    do.say("### Groups")
    group = do("POST", "/volume-snapshots/group", {"params": {"name": "all", "rootVolumeUuid": volume}})
    group = group["inventory"]["uuid"]  # type: ignore[index]
    do("GET", f"/volume-snapshots/groups/availabilities?uuids={group}")
    do("DELETE", f"/volume-snapshots/ungroup/{group}")
    do.say("### Deleting")
    do("PUT", "/volume-snapshots/batch-delete", {"batchDeleteVolumeSnapshot": {"uuids": [second]}})
    do("DELETE", f"/volume-snapshots/{first}")
    do("PUT", f"/volumes/{volume}/actions", {"flattenVolume": {"dryRun": True}})
    do("DELETE", f"/volumes/{volume}")
    do("GET", f"/volumes/{volume}?fields=name,status")
    do("PUT", f"/volumes/{volume}/actions", {"expungeDataVolume": {}})
    do.say("### Errors, and what is not there")
    do("POST", f"/volumes/{volume}/volume-snapshots", {"params": {"name": "too late"}})
    do("GET", "/volume-snapshots?q=colour=red&fields=name")
    do("GET", "/zones")
    do("POST", f"/images/root-volume-templates/from/volume-snapshots/{first}")


def tables() -> str:
    """Return the table of all calls, and of those that are not supported."""
    rows = [f"| `{c.name}` | `{c.method}` | `/{c.path}` | {f'`{c.key}`' if c.key else ''} |" for c in routes.CALLS]
    refused = [f"| `{name}` | {why} |" for name, why in unsupported.WHY.items()]
    head = ["| call | method | path | the body's key |", "|---|---|---|---|"]
    why = ["## Not supported", "", "These answer `SYS.1013` with the reason.", "", "| call | why |", "|---|---|"]
    return "\n".join(["## Calls", "", *head, *rows, "", *why, *refused])


def main() -> None:
    """Write the page."""
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory) / "storage")
        try:
            writer = Writer(server.client())
            record(writer)
        finally:
            server.stop()
    head = PAGE.with_name("rest.head.md").read_text().rstrip("\n")
    PAGE.write_text("\n\n".join([head, tables(), *writer.parts]) + "\n")


if __name__ == "__main__":
    main()
