"""How far a deep verify is: told after each image, by what the images take."""

from pathlib import Path

import pytest

from tests import prepared
from tests.prepared import Prepared


@pytest.fixture
def store(tmp_path: Path) -> Prepared:
    return prepared.make(tmp_path / "storage")


def told(store: Prepared, *volumes: str) -> list[float]:
    found: list[float] = []
    store.engine.verify(volumes, deep=True, progress=found.append)
    assert found == sorted(found)
    return found


def test_it_is_told_after_each_image_and_ends_near_the_whole(store: Prepared) -> None:
    found = told(store)
    assert len(found) == len(list(store.root.rglob("*.qcow2"))) == 5
    assert 0 < found[0] < 0.5 and 0.95 < found[-1] <= 1  # records take some room too

    assert len(told(store, store.volume)) == 4 and 0.95 < told(store, store.volume)[-1] <= 1


def test_what_is_missing_or_can_not_be_read_is_in_nobody_s_way(store: Prepared) -> None:
    store.image(store.second).unlink()
    store.image(store.first).write_text("no image")

    kinds = {problem.kind for problem in store.engine.verify(deep=True, progress=lambda fraction: None)}
    assert kinds == {"image-missing", "image-foreign"} and 0 < told(store)[-1] <= 1
