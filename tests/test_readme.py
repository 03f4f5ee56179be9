"""The README is true: the demo's output is what the demo prints, and its commands and its library example run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text()

# What differs from run to run: uuids, dates, times of day; sizes differ from file system to file system.
VARYING = (
    (r"\b[0-9a-f]{32}\b", "UUID"),
    (r"\b[0-9a-f]{8}\b", "UUID"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"\b\d+(\.\d)? [KM]iB", "SIZE"),
    (r"/\S*/snapengine-demo\.\w+", "WORK"),
    (r" {2,}", "  "),
)


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """Return an environment with the command on its PATH and no settings of the caller's."""
    directory = tmp_path / "bin"
    directory.mkdir()
    script = directory / "snapengine"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m snapengine "$@"\n')
    script.chmod(0o755)
    (directory / "python3").symlink_to(sys.executable)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SNAPENGINE")}
    path = f"{directory}:{os.environ['PATH']}:/usr/sbin:/sbin"
    return {**kept, "PATH": path, "PYTHONPATH": str(TOP), "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}


def normal(text: str) -> str:
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text.strip()


def block(start: str) -> str:
    """Return the first fenced block after start."""
    match = re.search(re.escape(start) + r".*?```\w*\n(.*?)```", README, re.DOTALL)
    assert match is not None, start
    return match[1]


def test_the_demo_prints_what_the_readme_shows_and_leaves_nothing(home: dict[str, str], tmp_path: Path) -> None:
    before = set(os.listdir(tmp_path))
    shown = subprocess.run(
        ["bash", TOP / "fixtures" / "demo.sh"], env=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    assert shown.returncode == 0, shown.stdout
    assert normal(shown.stdout) == normal(block("<!-- demo -->"))
    assert set(os.listdir(tmp_path)) == before


def test_the_first_steps_of_the_readme_run(home: dict[str, str], tmp_path: Path) -> None:
    lines = [line for line in block("## First steps").splitlines() if line.startswith("snapengine")]
    script = "set -e\n" + "\n".join(lines).replace("/var/tmp/", f"{tmp_path}/")
    run = subprocess.run(["bash", "-c", script], env={**home, "SNAPENGINE_ROOT": str(tmp_path / "snaps")}, check=False)

    assert len(lines) >= 6 and run.returncode == 0


def test_the_library_example_of_the_readme_runs(home: dict[str, str], tmp_path: Path) -> None:
    example = block("From Python").replace("/var/tmp/snaps-from-python", str(tmp_path / "snaps"))
    assert subprocess.run([sys.executable, "-c", example], env=home, check=False).returncode == 0


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (TOP / target).exists(), target
