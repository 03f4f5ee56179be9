"""A sample of schemathesis over the API; `make fuzz-api` tries thousands of requests."""

from pathlib import Path

from tests.fuzz_api.run import run


def test_made_up_requests_are_answered_as_the_description_says(tmp_path: Path) -> None:
    told = run(tmp_path, seed=1, examples=2, phases="examples,fuzzing")

    assert told.code == 0, told.text
    assert told.cases > 100
