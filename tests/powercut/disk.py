"""Small disks of a file each: made, mounted, and watched while something works on them."""

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.crash import strace
from tests.powercut import log
from tests.powercut.cuts import Cut, Told, written

_PATIENCE = 20.0  # seconds
_PAUSE = 0.002  # seconds between what the weather does
WEATHERS = ("calm", "commits", "writeback")


class Kind(NamedTuple):
    """A file system: how it is made and mounted, and what of it is never torn, as cuts.Told has it."""

    size: int
    make: tuple[str, ...]
    options: str
    joined: Callable[[int], bool]


def _ext4_joined(sector: int) -> bool:
    """Keep the superblock whole: it has a checksum, and is read before the journal could mend it."""
    return sector == 3


def _xfs_joined(sector: int) -> bool:
    """Keep blocks of 4 KiB whole: one whose first sector is the newer one is not mended, and then not believed."""
    return sector % 8 != 0


KINDS = {
    # without what ext4 does, by default, for programs that rename or truncate what they have not synced
    "ext4": Kind(
        256 * 2**20,
        ("mkfs.ext4", "-q", "-b", "4096", "-E", "lazy_itable_init=0,lazy_journal_init=0"),
        "noauto_da_alloc",
        _ext4_joined,
    ),
    "xfs": Kind(
        320 * 2**20, ("mkfs.xfs", "-q", "-s", "size=4096", "-m", "reflink=1"), "nouuid", _xfs_joined
    ),
}


class Recording(NamedTuple):
    """
    What the disk was told while it was mounted and a verb ran on it, in the weather.

    base and image are the disk before and after it; said as in strace.Run.
    """

    base: Path
    image: Path
    told: Told
    said: str
    weather: str


def make(image: Path, kind: Kind) -> None:
    """Make a file system of this kind in the new file image, which takes as little room as it can."""
    image.touch()
    os.truncate(image, kind.size)
    _run(*kind.make, str(image))
    _run("fallocate", "--dig-holes", str(image))


def copy(image: Path, target: Path) -> Path:
    """Copy an image, its holes too, and return the target."""
    _run("cp", "--sparse=always", str(image), str(target))
    return target


@contextmanager
def mounted(image: Path, place: Path, kind: Kind) -> Iterator[None]:
    """Have the file system in image mounted at the directory place for the block."""
    _run("mount", "-o", f"loop,{kind.options}", str(image), str(place))
    try:
        yield
    finally:
        _unmount(place)


def cut(recording: Recording, at: Cut, target: Path) -> Path:
    """Make target the disk as a cut leaves it, and return it."""
    copy(recording.base, target)
    with open(target, "r+b") as f:
        for offset, data in written(recording.told.entries, at):
            f.seek(offset)
            f.write(data)
    return target


def recorded(base: Path, place: Path, kind: Kind, verb: Callable[[], object], weather: str) -> Recording:
    """
    Run verb in a process of its own, on the file system in base mounted at place, and record what its disk is told.

    base is left as it is. Meanwhile the weather, one of WEATHERS, lets the kernel write of its own accord: never, its
    journal only, as when another program syncs something, or all that is dirty.
    """
    image, seen, export = (base.with_name(f"{base.name}.{name}") for name in ("run", "log", "export"))
    seen.write_bytes(b"")
    export.touch()
    with _exported(copy(base, image), seen, export), mounted(export, place, kind):
        started = seen.stat().st_size
        with _weather(place, weather):
            said = strace.untraced(verb)
        ended = seen.stat().st_size
    whole = seen.read_bytes()
    seen.unlink()
    told = Told(log.read(whole), log.ending_by(whole, started), log.ending_by(whole, ended), kind.joined)
    return Recording(base, image, told, said, weather)


@contextmanager
def _exported(image: Path, seen: Path, export: Path) -> Iterator[None]:
    """Have image at export too, a file; all that is written there is logged in the file seen."""
    nodes = [f"file,node-name=image,filename={image}", f"file,node-name=log,filename={seen}"]
    nodes.append("blklogwrites,node-name=watched,file=image,log=log")
    command = ["qemu-storage-daemon", *(word for node in nodes for word in ("--blockdev", node))]
    command += ["--export", f"fuse,id=export,node-name=watched,mountpoint={export},writable=on"]
    with subprocess.Popen(command) as daemon:
        try:
            _until(lambda: export.stat().st_size == image.stat().st_size, daemon)
            yield
        finally:
            daemon.terminate()
            daemon.wait(_PATIENCE)
    assert daemon.returncode == 0


def _until(true: Callable[[], bool], daemon: "subprocess.Popen[bytes]") -> None:
    end = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > end or daemon.poll() is not None:
            raise RuntimeError("qemu-storage-daemon does not export the disk")
        time.sleep(0.005)


@contextmanager
def _weather(place: Path, weather: str) -> Iterator[None]:
    if weather == "calm":
        yield
        return
    noise = os.open(place / "noise", os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _blow(noise, weather)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(noise)


def _blow(noise: int, weather: str) -> None:
    syncfs = ctypes.CDLL(None).syncfs
    while True:
        os.utime(noise)
        if weather == "commits":
            os.fsync(noise)
        else:
            syncfs(noise)
        time.sleep(_PAUSE)


def _unmount(place: Path) -> None:
    for _ in range(100):
        if subprocess.run(["umount", place], capture_output=True).returncode == 0:
            return
        time.sleep(0.02)
    _run("umount", "--lazy", str(place))
    raise RuntimeError(f"something still works in {place}")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def fits(kind: str) -> bool:
    """Tell whether this machine has what it takes."""
    tools = ("qemu-storage-daemon", KINDS[kind].make[0])
    return os.geteuid() == 0 and os.path.exists("/dev/fuse") and all(map(shutil.which, tools))
