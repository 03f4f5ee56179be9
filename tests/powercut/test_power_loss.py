"""A power cut leaves the state before or after a verb: a sample of what `make powercut` tries."""

import pytest

from tests.powercut import cuts, disk
from tests.powercut.stage import Outcome, Stage

pytestmark = pytest.mark.root

CUTS = 6
SAMPLE = {"create": 0, "update": 1, "delete by pull": 2}  # with the seed, which makes the weather


def wrong(outcomes: list[Outcome]) -> str:
    """Return why cuts ended wrong."""
    return "\n".join(f"{o.verb}, {o.weather}, {o.cut}: {o.why}" for o in outcomes if o.end == "wrong")


@pytest.mark.parametrize("verb", SAMPLE)
def test_a_power_cut_leaves_the_state_before_or_after(stage: Stage, verb: str) -> None:
    found = list(stage.tried(verb, SAMPLE[verb], CUTS))

    assert wrong(found) == ""
    assert len(found) == CUTS
    assert (found[0].acknowledged, found[0].end) == (True, "after")


def test_a_log_replayed_whole_is_the_disk_as_it_was_left(stage: Stage) -> None:
    recording = stage.recorded("create", "writeback")
    entries = recording.told.entries

    image = disk.cut(recording, cuts.flushed(entries, len(entries)), recording.base.with_suffix(".replayed"))

    assert entries[-1].flush, "unmounting flushes"
    assert 0 < recording.told.started < recording.told.ended < len(entries)
    assert image.read_bytes() == recording.image.read_bytes()
