"""/metrics: each number moves by what it counts, and all are named and written as Prometheus wants it."""

import re
import threading

from prometheus_client.parser import text_string_to_metric_families

from snapengine import lock
from tests import serving
from tests.oracle import poke
from tests.serving import MIB, Client, Server

UNITS = {"milliseconds", "minutes", "kilobytes", "megabytes", "bits", "percent", "ms", "kb", "mb"}


def page(server: Server) -> str:
    return serving.get(f"{server.address}/metrics").text


def value(server: Server, name: str, **labels: str) -> float:
    """Return a number; 0 before it was counted."""
    samples = (sample for family in text_string_to_metric_families(page(server)) for sample in family.samples)
    return sum(sample.value for sample in samples if sample.name == name and labels.items() <= sample.labels.items())


def test_bytes_are_counted_by_the_operation_that_wrote_them(server: Server, client: Client) -> None:
    volume, size = client.volume("large", 8 * MIB), 8 * MIB
    poke(server.engine.volume_path(volume), 5, 0, size)
    name = "snapengine_written_bytes_total"
    before = value(server, name, api="createVolumeSnapshot"), value(server, name, api="flattenVolume")

    client.snapshot(volume, "below")
    client.done("PUT", f"/volumes/{volume}/actions", {"flattenVolume": {}})

    created = value(server, name, api="createVolumeSnapshot") - before[0]
    flattened = value(server, name, api="flattenVolume") - before[1]
    assert 0 < created < MIB and size <= flattened < 2 * size


def test_waits_for_locks_are_counted_with_their_seconds(server: Server, client: Client) -> None:
    volume = client.volume()
    name = "snapengine_lock_wait_seconds"
    before = value(server, f"{name}_count"), value(server, f"{name}_sum")
    client.snapshot(volume, "free")
    assert value(server, f"{name}_count") == before[0]

    with lock.exclusive(server.engine.volume_path(volume).parent.parent, "a test"):
        waiting = threading.Thread(target=client.snapshot, args=(volume, "waits"))
        waiting.start()
        server.until_waiting(volume)
        waiting.join(0.5)
        assert waiting.is_alive()
    waiting.join()

    assert value(server, f"{name}_count") == before[0] + 1
    assert value(server, f"{name}_sum") - before[1] > 0.05


def test_names_and_lines_are_as_prometheus_wants_them(server: Server, client: Client) -> None:
    client.snapshot(client.volume(), "counted")
    for odd in ('/a"b', "/a\\b", "/a%0Ab{x=\"y\"}"):
        assert serving.get(f"{server.address}{odd}").status_code == 404

    text = page(server)

    assert text.endswith("\n") and "a%0Ab" not in text and 'a"b' not in text
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
    assert kinds and set(kinds) == set(helps)
    for name, kind in kinds.items():
        assert re.fullmatch(r"snapengine(_[a-z]+)+", name)
        assert not UNITS & set(name.split("_")) and not {"counter", "gauge", "histogram"} & set(name.split("_"))
        if not name.endswith("_created"):
            assert name.endswith("_total") == (kind == "counter")
        if kind == "histogram":
            assert name.endswith("_seconds")
    families = list(text_string_to_metric_families(text))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert sum(len(family.samples) for family in families) == len(lines)
    assert len({line.rpartition(" ")[0] for line in lines}) == len(lines)
