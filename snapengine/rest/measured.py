"""What is measured of operations, each time one has ended."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from snapengine.rest.worker import Outcome

_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)


class Measured:
    """The measures of operations, shown with all others of a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "snapengine_operation_seconds", "How long operations took, by their name and how they ended.",
            ("api", "result"), buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self._waited = Histogram(
            "snapengine_wait_seconds", "How long operations waited for others and for a worker.",
            buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self._locks = Histogram(
            "snapengine_lock_wait_seconds", "How long operations waited for locks of other processes.",
            buckets=_BUCKETS, registry=registry,
        )  # fmt: skip
        self._written = Counter(
            "snapengine_written_bytes", "Bytes that operations and their tools wrote, by the operation's name.",
            ("api",), registry=registry,
        )  # fmt: skip

    def note(self, name: str, outcome: Outcome, waited: float, seconds: float) -> None:
        """Measure an operation: its outcome, and how long (seconds) it waited for its turn and then took."""
        self._waited.observe(waited)
        self._seconds.labels(name, outcome.code or "done").observe(seconds)
        self._written.labels(name).inc(max(outcome.written, 0))
        for wait in outcome.waits:
            self._locks.observe(wait)
