"""A sample of `make hostile`: hostile images at the engine's doors under strace, and broken builds that are caught."""

from pathlib import Path

import pytest

from fixtures.hostile import corpus
from tests.hostile import __main__ as hostile
from tests.hostile import doors, mutants
from tests.privileged import needs_root

IMAGES = [image for image in corpus.images() if "bomb" not in image.name and "10000" not in image.name]

GATES = [door for door in doors.DOORS if not door.name.startswith("serve")]  # a server takes its time


def test_the_corpus_has_an_image_of_every_kind_and_no_name_twice() -> None:
    names = [image.name for image in corpus.images()]

    assert len(names) == len(set(names)) >= 200
    for kind in ("json:", "nbd:", "ssh:", "fat:", "/etc/passwd", "FIFO", "symbolic link", "data file", "loop of one",
                 "loop of two", "10000", "L1", "refcount-order", "cluster_bits 0", "cluster_bits 63", str(2**63),
                 "extension", "version 1", "version 99", "features", "AES", "LUKS", "compressed", "vmdk", "bomb"):
        assert any(kind in name for name in names), kind


@needs_root
def test_hostile_images_are_refused_at_a_door_and_nothing_else_is_opened(tmp_path: Path) -> None:
    """Each third image comes to one door, another one than its neighbours."""
    cases = [
        (image.name, door.name)
        for number, image in enumerate(IMAGES)
        for door in [GATES[number * 7 % len(GATES)]]
        if number % 3 == 0
    ]

    judged = hostile.tried(cases, tmp_path, mutants.NONE, 1)

    assert [(case, verdict.loss) for case, _, verdict in judged if verdict.loss] == []
    assert sum(verdict.outcome == "refused" for _, _, verdict in judged) > len(judged) // 2


@needs_root
@pytest.mark.parametrize("mutant", ["without backing-path", "guesses formats"])
def test_a_broken_build_is_caught(tmp_path: Path, mutant: str) -> None:
    assert hostile.caught(mutant, tmp_path, 1)
