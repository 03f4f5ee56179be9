"""
Try cases one after the other, each in a process of its own: what strace sees of this process and its children counts.

    python -m tests.hostile.worker DIRECTORY MUTANT <cases >answers

A case is a line of JSON, [image, door]; its answer is another. A mark in strace's output, an access to
`/hostile/<number>/begin` or `end`, tells which calls belong to which case.
"""

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import stat
import sys
import tempfile
import time
from pathlib import Path

import msgspec

import snapengine
from fixtures.hostile import corpus
from snapengine import cli
from tests.hostile import doors, mutants, served

MEMORY = 2 * 2**30  # bytes of address space that the command itself may have


class Answer(msgspec.Struct, frozen=True):
    """How a case ended: what the command said, what it cost, and whether anything but the image's fate changed."""

    image: str
    door: str
    code: int
    stdout: str
    stderr: str
    seconds: float
    cpu: float
    memory: int
    path: str
    special: bool
    changed: tuple[str, ...]


def main(words: list[str]) -> None:
    """Answer each case that comes on the standard input."""
    directory, mutant = Path(words[0]), words[1]
    kept = doors.template(directory)
    images = {image.name: image for image in [*corpus.images(), mutants.SOUND]}
    known = {door.name: door for door in doors.DOORS}
    mutants.apply(mutant)
    _load_all()
    tempfile.tempdir = str(directory)  # where a broken build tells of its bugs
    for number, line in enumerate(sys.stdin):
        image, door = json.loads(line)
        answer = _tried(number, images[image], known[door], directory, kept)
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.flush()


def _load_all() -> None:
    """Load all modules that a command may load late, so that not each case has to."""
    for module in pkgutil.walk_packages(snapengine.__path__, "snapengine."):
        if module.name != "snapengine.__main__":
            importlib.import_module(module.name)
    for name in ("sh", "ctypes", "rich.table", "logging", "tempfile", "traceback"):
        importlib.import_module(name)


def _tried(number: int, image: corpus.Image, door: doors.Door, directory: Path, kept: Path) -> Answer:
    at = doors.scene(directory, kept)
    path, words = doors.place(image, door, at)
    before = _tree(at.root)
    special = not stat.S_ISREG(os.lstat(path).st_mode)
    said = [directory / "stdout", directory / "stderr"]
    started = time.monotonic()
    os.access(f"/hostile/{number}/begin", os.F_OK)
    child = os.fork()
    if child == 0:
        _become(said, at.root, words)
    _, status, used = os.wait4(child, 0)
    os.access(f"/hostile/{number}/end", os.F_OK)
    after = _tree(at.root)
    return Answer(
        image=image.name, door=door.name, code=os.waitstatus_to_exitcode(status),
        stdout=_start(said[0], 2000), stderr=_start(said[1], 4000),
        seconds=time.monotonic() - started, cpu=used.ru_utime + used.ru_stime, memory=used.ru_maxrss * 1024,
        path=str(path), special=special,
        changed=tuple(sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))),
    )  # fmt: skip


def _become(said: list[Path], root: Path, words: list[str]) -> None:
    """In the child: run the command on the store at root with its output in the files said, then end."""
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        for fd, path in enumerate(said, 1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), fd)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        with contextlib.suppress(SystemExit):
            code = served.answered(root, words[1]) if words[0] == "serve" else cli.main(["--root", str(root), *words])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _start(path: Path, length: int) -> str:
    with path.open("rb") as f:
        return f.read(length).decode("utf-8", "replace")


def _tree(root: Path) -> dict[str, tuple[object, ...]]:
    """Return what lies below root: of each file its inode and length and when it was written to, but of locks."""
    found: dict[str, tuple[object, ...]] = {}
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            facts = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
            if name != ".lock":
                found[os.path.relpath(path, root)] = facts if not stat.S_ISDIR(status.st_mode) else ()
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
