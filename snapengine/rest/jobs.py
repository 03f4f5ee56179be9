"""
Jobs: calls whose result is asked for later. One file each, `server/jobs/<job>.json`, mode 0600, kept for three hours.

The file is there, durable, before the client is told of the job, and is replaced by one with the result. Whoever works
on a job, server and worker, shares a lock on a byte of `server/jobs.lock` that follows from its uuid, so that a job
whose file says that it runs while nobody holds the lock was cut off. A call has its uuid from the start, and its lock:
one that takes too long becomes a job while it runs.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import msgspec

from snapengine import bytelock, durable, errors, inventory, layout, records
from snapengine.inventory import Struct

DIRECTORY = f"{layout.SERVER}/jobs"
KEPT = 3 * 3600  # seconds
MAX_BODY = 4096  # bytes that a job which has ended keeps of what its client sent; more would only fill the disk
LOCKS = "jobs.lock"  # in the server's directory
UUID = re.compile(r"[0-9A-Za-z_-]{32}", re.ASCII)


class Job(Struct, frozen=True, kw_only=True):
    """
    A job: the call that it is, as JSON, and, once it has ended, the answer that a poll gets.

    hook is the URL that its result still has to be sent to.
    """

    schema_version: int
    uuid: str
    name: str
    at: dict[str, str]
    body: msgspec.Raw
    request: str
    fresh: str
    created: int
    status: Literal["running", "done", "failed"] = "running"
    answer: msgspec.Raw = msgspec.Raw()
    hook: str | None = None


def shut(root: Path) -> None:
    """Let nobody else list the server's directory, as earlier ones could be: names of jobs are what a poll needs."""
    with suppress(OSError):
        os.chmod(root / layout.SERVER, layout.PRIVATE)


def is_uuid(text: str) -> bool:
    """Tell whether text can be a job's uuid: it becomes part of a file's name."""
    return UUID.fullmatch(text) is not None


def begin(root: Path, job: Job) -> None:
    """Write a new job down, durably; FileExistsError where there is one of this uuid."""
    directory = root / DIRECTORY
    durable.make_directory(directory, layout.PRIVATE)
    durable.prepare(_path(root, job.uuid), inventory.encode(job), 0o600)
    durable.sync_directory(directory)


def end(root: Path, uuid: str, done: bool, answer: bytes) -> None:
    """Write down how a job ended, whole and durably, unless that was done; one that is forgotten stays so."""
    job = read(root, uuid)
    if job is not None and job.status == "running":
        # Where that fails it counts as cut off, which tells the same.
        status, body = "done" if done else "failed", job.body if len(job.body) <= MAX_BODY else msgspec.Raw(b"{}")
        _rewrite(root, msgspec.structs.replace(job, status=status, answer=msgspec.Raw(answer), body=body))


def _rewrite(root: Path, job: Job) -> None:
    with suppress(errors.NoSpace, errors.Invalid, OSError):
        durable.write(_path(root, job.uuid), inventory.encode(job), 0o600)


def told(root: Path, uuid: str) -> None:
    """Write down that nothing is owed to a job's hook any more; where that fails it may be told again."""
    job = read(root, uuid)
    if job is not None and job.hook is not None:
        _rewrite(root, msgspec.structs.replace(job, hook=None))


def owing(root: Path) -> Iterator[Job]:
    """Give the jobs whose result a hook still has to be told."""
    with suppress(FileNotFoundError):
        for name in os.listdir(root / DIRECTORY):
            if (job := read(root, name.removesuffix(".json"))) is not None and job.hook is not None:
                yield job


def read(root: Path, uuid: str) -> Job | None:
    """Return a job; None for one that is unknown, damaged or forgotten."""
    if not is_uuid(uuid):
        return None
    try:
        job = records.read(_path(root, uuid), Job)
    except (FileNotFoundError, errors.Corrupt):
        return None
    return None if job.created + KEPT < time.time() else job


@contextmanager
def working(root: Path, uuid: str) -> Iterator[None]:
    """Let others know, for the block, that somebody works on a job, or on a call that may become it."""
    fd = _locks(root)
    try:
        bytelock.share(fd, _place(uuid))
        yield
    finally:
        os.close(fd)


def is_worked_on(root: Path, uuid: str) -> bool:
    """Tell whether somebody works on a job."""
    fd = _locks(root)
    try:
        return bytelock.is_locked(fd, _place(uuid))
    finally:
        os.close(fd)


def _locks(root: Path) -> int:
    """Return a descriptor of the file whose bytes are locked; a lock ends with it."""
    durable.make_directory(root / layout.SERVER, layout.PRIVATE)  # who only signs requests has opened no session
    return os.open(root / layout.SERVER / LOCKS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _place(uuid: str) -> int:
    """Return the byte of a job; that two jobs have the same is as good as impossible."""
    return int.from_bytes(hashlib.sha256(uuid.encode()).digest()[:8]) >> 2


def sweep(root: Path) -> None:
    """Remove the jobs that are older than three hours and that nobody works on, and what cut-off writes left."""
    with suppress(FileNotFoundError):
        for entry in os.scandir(root / DIRECTORY):
            uuid = entry.name.removesuffix(".json")
            with suppress(FileNotFoundError):
                old = entry.stat(follow_symlinks=False).st_mtime + KEPT < time.time()
                if old and (layout.is_new(entry.name) or not is_worked_on(root, uuid)):
                    durable.unlink(Path(entry.path))


def _path(root: Path, uuid: str) -> Path:
    return root / DIRECTORY / layout.record(uuid)
