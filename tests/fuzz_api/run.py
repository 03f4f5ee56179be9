"""One run of schemathesis against a server of its own on a fresh store."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.command_line import START
from tests.serving import Client, Server

HERE = Path(__file__).parent
VM = "0123456789ab4cde8f0123456789abcd"


class Told(NamedTuple):
    """How a run ended: its exit code, what schemathesis printed, how many cases it tried."""

    code: int
    text: str
    cases: int


def run(
    place: Path, seed: int, examples: int, phases: str, only: Sequence[str] = (), start: str = START
) -> Told:  # fmt: skip
    """
    Let schemathesis make up so many requests for each operation, or only for those; place is a new directory.

    start is the Python text that calls the command: a control has a server that is broken on purpose.
    """
    server = Server(place / "storage", start=start, SNAPENGINE_SERVE_ACCESS_LOG="0")
    try:
        client = server.client()
        env = {
            **os.environ,
            "PYTHONPATH": str(HERE.parents[1]),
            "SCHEMATHESIS_HOOKS": "tests.fuzz_api.hooks",
            "SNAPENGINE_FUZZ_KNOWN": json.dumps(_objects(client)),
        }
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run",
                f"{server.address}/openapi.json", "--header", f"Authorization: OAuth {client.session}",
                "--seed", str(seed), "--max-examples", str(examples), "--phases", phases, "--no-color",
                "--suppress-health-check", "all", "--generation-database", "none", "--continue-on-failure",
                "--exclude-operation-id", "logOut", *(f"--include-operation-id={each}" for each in only),
            ],
            env=env, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert client.done("GET", "/volumes?count=true")["total"] > 0
    finally:
        code = server.stop()
    found = re.search(r"(\d+) generated", done.stdout)
    text = done.stdout + (server.log.read_text() if code or "Traceback" in server.log.read_text() else "")
    return Told(done.returncode or code or int("Traceback" in text), text, int(found[1]) if found else 0)


def _objects(client: Client) -> dict[str, list[str]]:
    """Make what requests can be about, and return the uuids by their kinds."""
    volumes = [client.volume(name) for name in ("one", "two", "three")]
    for volume in volumes[:2]:
        client.done("POST", f"/volumes/{volume}/vm-instances/{VM}")
    snapshots = [client.snapshot(volume, "first") for volume in volumes for _ in range(2)]
    body = {"params": {"name": "both", "rootVolumeUuid": volumes[0]}}
    group = client.done("POST", "/volume-snapshots/group", body)["inventory"]["uuid"]
    trees = [each["treeUuid"] for each in snapshots]
    return {"volume": volumes, "snapshot": [each["uuid"] for each in snapshots], "group": [group], "tree": trees}
