"""What the server counts and measures, in Prometheus form; what describes the store is looked up when asked."""

import os
import time
from collections.abc import Iterator

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from snapengine.engine import Engine
from snapengine.rest.index import Index
from snapengine.rest.lines import Lines
from snapengine.rest.operations import Operations
from snapengine.rest.registry import Registry
from snapengine.rest.replies import Coded
from snapengine.rest.said import Said

CONTENT_TYPE = CONTENT_TYPE_LATEST
_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)


class Metrics:
    """The metrics of one server: those in registry already, and its own."""

    def __init__(
        self, registry: CollectorRegistry, engine: Engine, index: Index, operations: Operations, lines: Lines,
        jobs: Registry,
    ) -> None:  # fmt: skip
        self._registry = registry
        self._calls = Counter(
            "snapengine_calls", "Calls answered, by the API's name, status and the contract's code.",
            ("api", "status", "code"), registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "snapengine_call_seconds", "How long calls took, until their reply.", ("api",), buckets=_BUCKETS,
            registry=self._registry,
        )  # fmt: skip
        self._registry.register(_Store(engine, index, operations, lines, jobs))

    def note(self, said: Said, reply: Coded) -> None:
        """Count a request and its reply."""
        self._calls.labels(said.name, str(reply.status_code), reply.code or "").inc()
        self._seconds.labels(said.name).observe(time.monotonic() - said.since)

    def page(self) -> bytes:
        """Return all as text."""
        return generate_latest(self._registry)


class _Store(Collector):
    """What is there now."""

    def __init__(self, engine: Engine, index: Index, operations: Operations, lines: Lines, jobs: Registry) -> None:
        self._engine, self._index, self._operations, self._lines, self._jobs = engine, index, operations, lines, jobs

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give the gauges."""
        room = os.statvfs(self._engine.root)
        known = [*self._index.volumes()]
        depths = (snapshot.distance for each in known for snapshot in each.snapshots)
        for name, text, value in (
            ("volumes", "Volumes that are there.", len(known)),
            ("snapshots", "Snapshots that are there.", sum(len(each.snapshots) for each in known)),
            ("chain_depth_max", "Layers in the deepest chain of snapshots.", max(depths, default=0)),
            ("free_bytes", "Free room in the primary storage.", room.f_bavail * room.f_frsize),
            ("size_bytes", "Room in the primary storage.", room.f_blocks * room.f_frsize),
            ("operations_running", "Operations that workers carry out.", self._operations.running),
            ("operations_waiting", "Operations that wait for others on their volume.", self._lines.waiting),
            ("jobs_running", "Jobs that have not ended.", self._jobs.count),
        ):
            yield GaugeMetricFamily(f"snapengine_{name}", text, value=value)
