"""Options of the whole suite, and the fixtures that many tests share."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("tests.check", "tests.crash.judge")

from snapengine.engine import Engine  # noqa: E402
from tests.oracle import Oracle  # noqa: E402
from tests.serving import PASSWORD, Client, Server  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it does not wait for
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.umask(0o022)

# What hypothesis makes up is the same in each run, and no example fails because the machine was busy; to let it make up
# others: --hypothesis-profile=default.
settings.register_profile("suite", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("suite")


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """Return the engine of a new, empty primary storage."""
    return Engine.init(tmp_path / "storage")


@pytest.fixture
def oracle(engine: Engine) -> Oracle:
    """Return an engine with a model of what its volumes hold."""
    return Oracle(engine)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a running server that tests share: each makes volumes of its own."""
    running = Server(tmp_path_factory.mktemp("served") / "storage")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


@pytest.fixture(scope="session")
def client(server: Server) -> Client:
    """Return a client of the shared server, logged in as admin."""
    return server.client()


@pytest.fixture(scope="session")
def other(server: Server) -> Client:
    """Return a client of an account of its own, `other`."""
    engine = server.engine
    engine.create_account("other")
    engine.set_password("other", PASSWORD)
    return server.client("other", PASSWORD)


@pytest.fixture(scope="session")
def spare(client: Client) -> str:
    """Return a volume that nothing is done to."""
    return client.volume("spare")
