"""What is built of the project holds all of the package, its data too."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
SETUPTOOLS = TOP / ".venv" / "packaging"  # scripts/setup puts it there, out of the way of each start of Python
BUILD = "import sys; from setuptools import build_meta as b; to = sys.argv[1]; b.build_sdist(to); b.build_wheel(to)"


@pytest.mark.skipif(not SETUPTOOLS.exists(), reason="no setuptools to build with: run scripts/setup test")
def test_the_wheel_and_the_sdist_hold_every_file_of_the_package(tmp_path: Path) -> None:
    source, built = tmp_path / "source", tmp_path / "built"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TOP / name, source)
    shutil.copytree(TOP / "snapengine", source / "snapengine", ignore=shutil.ignore_patterns("__pycache__"))
    wanted = {str(path.relative_to(source)) for path in (source / "snapengine").rglob("*") if path.is_file()}

    subprocess.run(
        [sys.executable, "-c", BUILD, built], cwd=source, env={"PYTHONPATH": str(SETUPTOOLS)}, check=True,
        capture_output=True,
    )  # fmt: skip

    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        assert wanted - set(wheel.namelist()) == set()
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        assert wanted - {name.partition("/")[2] for name in sdist.getnames()} == set()
