"""Images as qemu-img shows them, asked once for each content of the files: headers, health, what a guest sees."""

import hashlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import msgspec

Content = bytes | str  # what a guest sees, whole, or the sha256 of it


class Bitmap(msgspec.Struct, frozen=True):
    """A dirty bitmap; an active one has the flag auto and no other."""

    name: str
    granularity: int
    flags: list[str]


class _Data(msgspec.Struct, frozen=True):
    bitmaps: list[Bitmap] = []


class _Specific(msgspec.Struct, frozen=True):
    data: _Data


class Info(msgspec.Struct, frozen=True, rename="kebab"):
    """What `qemu-img info` says of one image."""

    format: str
    virtual_size: int
    format_specific: _Specific
    backing_filename: str | None = None
    backing_filename_format: str | None = None

    @property
    def bitmaps(self) -> list[Bitmap]:
        """Return the image's dirty bitmaps."""
        return self.format_specific.data.bitmaps


class Facts(msgspec.Struct, frozen=True):
    """What qemu-img says of one image file; problem is empty when `qemu-img check` finds none, leaks count."""

    info: Info
    problem: str


_facts: dict[str, Facts] = {}
_contents: dict[tuple[str, ...], str] = {}
_shared: list[Path] = []  # where other processes look as well; at most one directory


def share(directory: Path) -> None:
    """Keep in directory, for other processes too, what is found out of images: it depends on their bytes alone."""
    _shared[:] = [directory]


def once(key: str, find: Callable[[], bytes]) -> bytes:
    """Return what find returns, unless this or another process that shares what it knows has found it out before."""
    if not _shared:
        return find()
    path = _shared[0] / key
    if not path.exists():
        new = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        new.write_bytes(find())
        new.rename(path)
    return path.read_bytes()


class Images:
    """Images as they are now: each file is read once, and shown to qemu-img once for each content that it ever had."""

    def __init__(self) -> None:
        self._shas: dict[Path, str] = {}

    def facts(self, path: Path) -> Facts:
        """Return what qemu-img says of the image file at path, apart from what it stands on."""
        key = self._sha(path)
        if key not in _facts:
            found = once(f"facts-{key}", lambda: msgspec.json.encode(Facts(_info(path), _problem(path))))
            _facts[key] = msgspec.json.decode(found, type=Facts)
        return _facts[key]

    def chain(self, path: Path) -> list[Path]:
        """Return the image at path and all that it stands on, by the names in the headers."""
        layers = [path]
        while (name := self.facts(layers[-1]).info.backing_filename) is not None:
            layers.append(Path(os.path.normpath(layers[-1].parent / name)))
            assert len(set(layers)) == len(layers), f"{path} stands on itself"
        return layers

    def digest(self, path: Path) -> str:
        """Return the sha256 of what a guest sees of the image at path."""
        key = self._key(path)
        if key not in _contents:
            name = hashlib.sha256(" ".join(key).encode()).hexdigest()
            _contents[key] = once(f"content-{name}", lambda: sha(read(path)).encode()).decode()
        return _contents[key]

    def digests(self, paths: Collection[Path]) -> dict[Path, str]:
        """Return the digests of several images, two read at a time."""
        new = [path for path in paths if self._key(path) not in _contents]
        if len(new) > 1:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(self.digest, new))
        return {path: self.digest(path) for path in paths}

    def _key(self, path: Path) -> tuple[str, ...]:
        return tuple(self._sha(layer) for layer in self.chain(path))

    def _sha(self, path: Path) -> str:
        if path not in self._shas:
            with open(path, "rb") as f:
                self._shas[path] = hashlib.file_digest(f, "sha256").hexdigest()
        return self._shas[path]


def _info(path: Path) -> Info:
    result = _run("qemu-img", "info", "-U", "-f", "qcow2", "--output", "json", str(path))
    assert result.returncode == 0, result.stderr
    return msgspec.json.decode(result.stdout, type=Info)


def _problem(path: Path) -> str:
    """Return what `qemu-img check` finds in one image, its backing file left closed; empty when it is clean."""
    alone = {"driver": "qcow2", "backing": None, "file": {"driver": "file", "filename": str(path)}}
    result = _run("qemu-img", "check", "-U", "-q", "json:" + json.dumps(alone))
    return "" if result.returncode == 0 else f"exit {result.returncode}: {result.stdout}{result.stderr}"


def read(path: Path) -> bytes:
    """Return what a guest sees of the image at path."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch, "raw")
        result = _run("qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", str(path), str(raw))
        assert result.returncode == 0, result.stderr
        return raw.read_bytes()


@lru_cache(maxsize=32)  # contents are a MiB each, and a fork takes the longer the more memory there is
def sha(content: Content) -> str:
    """Return the sha256 of content, unless it is one."""
    return content if isinstance(content, str) else hashlib.sha256(content).hexdigest()


def _run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def settle(path: Path) -> None:
    """Have the file system place what was written to the image at path: what it takes changes once more by that."""
    with open(path, "rb") as f:
        os.fsync(f.fileno())


def leave_bitmaps_in_use(path: Path) -> None:
    """Let a QEMU die that has the image open for writing: its dirty bitmaps stay marked as in use."""
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "abort", str(path)], capture_output=True)
    assert all("in-use" in bitmap.flags for bitmap in Images().facts(path).info.bitmaps)
