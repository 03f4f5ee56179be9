"""File systems of their own for benchmarks: an image file, mounted by a loop device."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import Missing

MAKE = {"xfs": ("mkfs.xfs", "-q", "-m", "reflink=1"), "ext4": ("mkfs.ext4", "-q", "-F")}


@contextmanager
def mounted(kind: str, directory: Path, size: int) -> Iterator[Path]:
    """Have a file system of this kind, size bytes large, below directory for the block; Missing where nobody may."""
    disk, image = directory / kind, directory / f"{kind}.img"
    disk.mkdir()
    image.touch()
    os.truncate(image, size)
    subprocess.run([*MAKE[kind], image], check=True)
    done = subprocess.run(["mount", "-o", "loop", image, disk], capture_output=True, text=True)
    if done.returncode:
        raise Missing(f"no {kind} can be mounted here: {done.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)
        image.unlink()
