"""The bench of the crash tests as a fixture."""

from collections.abc import Iterator

import pytest

from tests.crash import bench as benches
from tests.crash.bench import Bench

ALONE, BESIDE_OTHERS = 4, 2  # workers; each sleeps most of the time, while a call is held


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The bench, and its workers; where tests run in several processes, what it prepares is there for all of them."""
    own = tmp_path_factory.mktemp("crash")
    worker = getattr(request.config, "workerinput", {}).get("workerid", "")
    shared = own.parent.parent / "crash" if worker else own
    shared.mkdir(exist_ok=True)
    with benches.opened(worker, BESIDE_OTHERS if worker else ALONE, shared, own) as opened:
        yield opened
