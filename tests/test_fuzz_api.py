"""A sample of schemathesis over the API; `make fuzz-api` tries thousands of requests."""

from pathlib import Path

from tests.command_line import START
from tests.fuzz_api.run import run

# A server that leaves a key out of its lists, and fails at queries for snapshots.
BROKEN = """
from snapengine.rest import answers, page
whole = answers.paced
answers.paced = lambda reply, *more: whole({key: reply[key] for key in reply if key != "inventories"}, *more)
page.require = lambda query, kind: kind.__name__ == "Volume" or 1 / 0
"""


def test_made_up_requests_are_answered_as_the_description_says(tmp_path: Path) -> None:
    told = run(tmp_path, seed=1, examples=2, phases="examples,fuzzing")

    assert told.code == 0, told.text
    assert told.cases > 100


def test_a_server_that_is_broken_on_purpose_is_noticed(tmp_path: Path) -> None:
    told = run(tmp_path, 1, 1, "fuzzing", ("queryVolume", "getVolumeSnapshot"), BROKEN + START)

    assert told.code != 0
    assert "Response violates schema" in told.text and "[500] Internal Server Error" in told.text
