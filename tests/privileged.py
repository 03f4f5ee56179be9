"""What only root can arrange for a test: a small disk, a full one, another user."""

import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TypeVar

import pytest

NOBODY = 65534
_PIECE = 16 * 2**20  # bytes of a full disk, as long as they can be had without writing them
FileSystem = Literal["ext4", "xfs"]
MAKE = {"ext4": ("mkfs.ext4", "-q", "-F", "-m", "0"), "xfs": ("mkfs.xfs", "-q", "-m", "reflink=1")}
Answer = TypeVar("Answer")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, or becomes another user")


def small_disk(path: Path, kib: int) -> AbstractContextManager[Path]:
    """Have a file system of kib KiB at path, a new directory, for the block."""
    return _mount(path, "-t", "tmpfs", "-o", f"size={kib}k,mode=0755", "small")


def ramfs(path: Path) -> AbstractContextManager[Path]:
    """Have a file system at path, a new directory, for the block, where no file can be opened with O_DIRECT."""
    return _mount(path, "-t", "ramfs", "none")


def shown_at(path: Path, directory: Path) -> AbstractContextManager[Path]:
    """Have a directory at path, a new one, too, for the block: a bind mount."""
    return _mount(path, "--bind", str(directory))


@contextmanager
def _mount(path: Path, *what: str) -> Iterator[Path]:
    """Have this mounted at path, a new directory, for the block."""
    path.mkdir()
    done = subprocess.run(["mount", *what, path], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this machine lets nobody mount: {done.stderr}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def xfs(directory: Path, mib: int = 512) -> AbstractContextManager[Path]:
    """Have an XFS file system, on which files can share extents, at directory/xfs for the block."""
    return mounted(directory, "xfs", mib)


@contextmanager
def mounted(directory: Path, kind: FileSystem, mib: int = 512) -> Iterator[Path]:
    """Have a file system of this kind at directory/kind for the block."""
    image = directory / f"{kind}.img"
    image.touch()
    os.truncate(image, mib * 2**20)
    subprocess.run([*MAKE[kind], image], check=True)
    try:
        with _mount(directory / kind, "-o", "loop", str(image)) as disk:
            yield disk
    finally:
        image.unlink()


@contextmanager
def filled(disk: Path, leave: int = 0) -> Iterator[None]:
    """Have no more than leave bytes free on disk for the block."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as f:
        with suppress(OSError):
            while True:
                os.posix_fallocate(f.fileno(), f.tell(), _PIECE)
                f.seek(_PIECE, os.SEEK_CUR)
        with suppress(OSError):
            while True:
                f.write(bytes(2**20))
    os.truncate(ballast, ballast.stat().st_size - leave)
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def open_directory() -> Iterator[Path]:
    """Have a directory that everybody may enter and write to; what pytest gives is root's alone."""
    with TemporaryDirectory() as path:
        os.chmod(path, 0o777)
        yield Path(path)


def as_nobody(verb: Callable[[], Answer]) -> Answer:
    """Return what verb returns, or raise what it raises, in a process of a user who owns nothing."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        with open(writing, "wb") as answers:
            try:
                answers.write(pickle.dumps((verb(), None)))
            except BaseException as e:
                answers.write(pickle.dumps((None, e)))
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as answers:
        told = answers.read()
    os.waitpid(child, 0)
    answer: Answer
    answer, error = pickle.loads(told)
    if error is not None:
        raise error
    return answer
