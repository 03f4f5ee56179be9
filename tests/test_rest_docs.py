"""docs/rest.md: its requests are sent in their order to a real server, and its replies are what comes back."""

import importlib.util
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from snapengine.rest import examples as recorded
from snapengine.rest.options import Options
from tests import test_errors, test_rest_faults
from tests.serving import PASSWORD, Client, Server

PAGE = Path(__file__).parents[1] / "docs" / "rest.md"

spec = importlib.util.spec_from_file_location("make_rest", PAGE.with_name("make_rest.py"))
assert spec is not None and spec.loader is not None
make_rest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_rest)

# What differs from run to run; the page shows one run's.
CHANGING = (
    (r"\b[0-9a-f]{32}\b", "UUID"),
    (r"[A-Z][a-z]{2} \d{1,2}, \d{4} \d{1,2}:\d\d:\d\d [AP]M", "DATE"),
    (r'"(size|actualSize|oldSize|deltaSize)": ?\d+', r'"\1": 0'),
    (r"http://[^/\"]+", "http://HOST"),
    (r'"(installPath|primaryStorageInstallPath|volumeSnapshotInstallPath)": ?"[^"]*/', r'"\1": "/'),
)


class Example(NamedTuple):
    """A request of the page and the reply that it shows."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]
    status: int
    reply: Any


def examples() -> Iterator[Example]:
    """Give the examples of the page in their order."""
    for block in re.findall(r"```http\n(.*?)```", PAGE.read_text(), re.DOTALL):
        request, _, reply = block.partition("\n\nHTTP ")
        first, *rest = request.splitlines()
        headers = dict(line.split(": ", 1) for line in rest if re.match(r"[A-Z][A-Za-z-]+: ", line))
        body = "\n".join(line for line in rest if not re.match(r"[A-Z][A-Za-z-]+: ", line))
        method, path = first.split(" ", 1)
        status, _, answer = reply.partition("\n")
        yield Example(method, path, json.loads(body) if body else None, headers, int(status), json.loads(answer))


def generalized(reply: Any) -> str:
    text = json.dumps(reply, indent=1)
    for pattern, shown in CHANGING:
        text = re.sub(pattern, shown, text)
    return text


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Client]:
    """Return a client of a server of its own, since some replies count all that there is."""
    running = Server(tmp_path / "storage")
    yield running.client()
    assert running.stop() == 0


def test_the_requests_of_the_page_get_its_replies(fresh: Client) -> None:
    known: dict[str, str] = {}

    for example in examples():
        said = json.dumps([example.path, example.body, example.headers])
        for old, new in known.items():
            said = said.replace(old, new)
        path, body, headers = json.loads(said)
        reply = fresh.call(example.method, path, body, **{key.replace("-", "_"): headers[key] for key in headers})
        found = reply.json()
        if "location" in found:
            fresh.job(found["location"])
        assert (reply.status_code, generalized(found)) == (example.status, generalized(example.reply)), example.path
        olds, news = (re.findall(r"\b[0-9a-f]{32}\b", json.dumps(each)) for each in (example.reply, found))
        known |= dict(zip(olds, news, strict=True))


def test_the_pages_lines_for_a_shell_log_in_and_sign(server: Server) -> None:
    key = server.engine.create_access_key("admin")
    lines = [text for text in re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL) if "curl" in text]
    said = "\n".join(lines).replace("http://127.0.0.1:8080", server.address).replace("a long password", PASSWORD)
    env = {**os.environ, "key": key.uuid, "secret": key.secret}

    ended = subprocess.run(["bash", "-euc", said], capture_output=True, text=True, env=env)

    server.engine.delete_access_key(key.uuid)
    opened, listed = map(json.loads, re.findall(r"{.*?}(?=$|{)", ended.stdout))
    assert len(lines) == 2 and set(opened) == {"inventory"} and set(listed) == {"inventories", "schema"}, ended


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == make_rest.page(recorded.recorded()), "run 'python docs/make_rest.py'"


def test_every_code_that_a_client_may_be_told_is_on_the_page() -> None:
    text = PAGE.read_text()

    for code in {*test_errors.CODES, *test_rest_faults.CODES}:
        assert f"| `{code}` |" in text


def test_every_setting_is_on_the_page() -> None:
    text = PAGE.read_text()

    for name in Options.__struct_fields__:
        assert f"| `{name}` |" in text
