"""What a tool left that was cut off while it wrote, on a disk that was full, is put right before one writes again."""

from pathlib import Path

import pytest

from snapengine import driver, sound
from tests import images, prepared
from tests.test_contradictions import counts_as_free


@pytest.fixture
def image(tmp_path: Path) -> Path:
    store = prepared.make(tmp_path / "storage")
    return store.image(store.first)


def test_a_cluster_that_counts_as_free_is_counted_anew_and_keeps_what_it_holds(image: Path) -> None:
    content = images.read(image)
    counts_as_free(image)
    assert driver.check(image).corruptions

    sound.recount(image)

    assert driver.check(image) == driver.Check()
    assert images.read(image) == content
