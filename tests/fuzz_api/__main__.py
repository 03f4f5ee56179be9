"""The command line: `python -m tests.fuzz_api --examples 100 --seed 1`; ends in totals."""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz_api.run import run


def main(words: list[str]) -> int:
    """Fuzz a server and tell how it went; returns the exit code, 0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_api", description=__doc__)
    parser.add_argument("--examples", type=int, default=100, help="requests an operation and phase (default: 100)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="what requests are drawn from")
    options = parser.parse_args(words)
    print(f"fuzz-api: seed {options.seed}, {options.examples} examples", flush=True)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="snapengine-fuzz-") as place:
        told = run(Path(place), options.seed, options.examples, "examples,coverage,fuzzing,stateful")
    print(told.text)
    print(f"fuzz-api: {told.cases} requests in {time.monotonic() - begun:.0f} s, exit code {told.code}")
    return told.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
