"""Import against strangers: who owns a source can rewrite it at any moment, and name files that are not his."""

import fcntl
import mmap
import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from snapengine import custody, errors, sources
from snapengine.driver import Format
from snapengine.engine import Engine
from tests import privileged
from tests.oracle import MIB, Oracle, poke

COPIES = 8  # so often an import must get as far as its copy, and not meet what is evil at its first look
FLIP = """
import mmap, sys, time
source, good, evil = sys.argv[1:]
good, evil = open(good, "rb").read(), open(evil, "rb").read()
with open(source, "r+b") as f:
    pages = mmap.mmap(f.fileno(), len(good))
pages[:] = evil
pages[:] = good
print("ready", flush=True)
while True:
    pages[:] = evil
    time.sleep(0.003)
    pages[:] = good
    time.sleep(0.003)
"""
IMPORT = f"""
import sys
from snapengine import Engine, durable, errors
engine, unnamed, copies, number = Engine.open(sys.argv[1]), durable.unnamed, [], 0
durable.unnamed = lambda *where: copies.append(1) or unnamed(*where)
while len(copies) < {COPIES}:
    number += 1
    try:
        engine.{{verb}}(sys.argv[2], f"n{{{{number}}}}")
    except errors.Error as e:
        print(type(e).__name__, e, file=sys.stderr)
print(number)
"""
VERBS = {verb: IMPORT.format(verb=verb) for verb in ("import_volume", "import_chain")}


def qcow2(path: Path, *options: str, size: int = MIB) -> Path:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, path, str(size)], check=True)
    return path


def with_data_file(path: Path, secret: Path) -> bytes:
    """Return a qcow2 image whose clusters lie in secret."""
    data = path.with_name("data")
    qcow2(path, "-o", f"data_file={data},data_file_raw=off")
    poke(path, 0, 0)
    made = bytearray(path.read_bytes())
    at = made.find(struct.pack(">I", 0x44415441))
    length, name = int.from_bytes(made[at + 4 : at + 8], "big"), os.fsencode(secret)
    rounded = -(-length // 8) * 8
    assert len(name) <= rounded and -(-len(name) // 8) * 8 == rounded, "the names must be as long"
    made[at + 4 : at + 8 + rounded] = struct.pack(">I", len(name)) + name.ljust(rounded, b"\0")
    return bytes(made)


def flat_vmdk(secret: Path) -> bytes:
    """Return a VMDK descriptor whose content lies in secret."""
    text = '# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
    return f'{text}RW 128 FLAT "{secret}" 0\n'.encode()


def images(directory: Path, fmt: str, secret: Path) -> tuple[Path, bytes]:
    """Return a sound image of fmt, and what its owner makes of it between two looks."""
    source = directory / f"source.{fmt}"
    if fmt == "vmdk":
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, source, "1M"], check=True)
        return source, flat_vmdk(secret)
    return qcow2(source), with_data_file(directory / "evil.qcow2", secret)


@contextmanager
def flipping(source: Path, evil: bytes) -> Iterator[None]:
    """Have the source's content exchanged all the time for the block, by its mapped pages: no time stamp moves."""
    size = max(os.path.getsize(source), len(evil))
    os.truncate(source, size)
    good, bad = source.with_name("good bytes"), source.with_name("evil bytes")
    good.write_bytes(source.read_bytes())
    bad.write_bytes(evil.ljust(size, b"\0"))
    with subprocess.Popen([sys.executable, "-c", FLIP, source, good, bad], stdout=-1) as flipper:
        assert flipper.stdout is not None and flipper.stdout.readline()
        time.sleep(0.1)
        try:
            yield
        finally:
            flipper.kill()


@pytest.mark.parametrize(
    ("fmt", "verb"), [("qcow2", "import_volume"), ("qcow2", "import_chain"), ("vmdk", "import_volume")]
)
def test_an_owner_who_rewrites_the_source_meanwhile_gets_no_file_of_the_host(
    engine: Engine, tmp_path: Path, fmt: str, verb: str
) -> None:
    secret, log = tmp_path / "secr", tmp_path / "log"
    secret.write_bytes(b"secret" * 20000)
    source, evil = images(tmp_path, fmt, secret)
    call = [sys.executable, "-c", VERBS[verb], str(engine.root), str(source)]
    with flipping(source, evil):
        line = ["strace", "-f", "-qq", "-e", "trace=openat,execve", "-o", str(log), *call]
        done = subprocess.run(line, check=True, capture_output=True, text=True)

    said, opened = done.stderr.splitlines(), log.read_text()
    assert all(line.split()[0] in ("Refused", "Busy") for line in said), said
    assert len(said) + len(engine.list_volumes()) == int(done.stdout)
    assert str(secret) not in opened and opened.count("O_TMPFILE") >= COPIES
    assert b"secret" not in b"".join(path.read_bytes() for path in engine.root.rglob("*.qcow2"))
    assert engine.verify() == ()


def is_copied(engine: Engine, file: Path, fmt: Format | None = None) -> bool:
    """Tell whether an import reads a copy of file that has no name; it must have the same content."""
    with sources.open_source(engine._store, file, fmt) as source:
        read, named = os.fstat(source.layers[0].fd), os.stat(file)
        if read.st_ino == named.st_ino:
            return False
        assert (read.st_nlink, read.st_mode & 0o777, read.st_uid) == (0, 0o600, os.geteuid())
        assert source.layers[0].path.read_bytes() == file.read_bytes()
        return True


@pytest.mark.parametrize(
    ("mode", "copied"), [(0o600, False), (0o644, False), (0o664, True), (0o646, True), (0o666, True)]
)
def test_only_what_others_may_write_to_is_copied_first(engine: Engine, tmp_path: Path, mode: int, copied: bool) -> None:
    path = qcow2(tmp_path / "source")
    os.chmod(path, mode)
    assert is_copied(engine, path) is copied


def test_a_raw_source_has_no_header_and_is_read_where_it_lies(engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(bytes(MIB))
    os.chmod(path, 0o666)
    assert not is_copied(engine, path) and not is_copied(engine, path, "raw")


@pytest.mark.parametrize("how", ["open", "mapped", "only read"])
def test_a_source_that_a_process_still_can_write_to_is_copied(engine: Engine, tmp_path: Path, how: str) -> None:
    """Whoever opened it before it became ours: its mode and owner tell nothing."""
    path = qcow2(tmp_path / "source")
    with ExitStack() as stack:
        f = stack.enter_context(open(path, "rb" if how == "only read" else "r+b"))
        if how == "mapped":
            stack.enter_context(mmap.mmap(f.fileno(), os.path.getsize(path)))
            f.close()
        assert is_copied(engine, path) is (how != "only read")


def test_a_lease_that_was_asked_for_is_given_back(engine: Engine, tmp_path: Path) -> None:
    path = qcow2(tmp_path / "source")
    with open(path, "rb") as f:
        assert custody.is_ours(f.fileno())
        assert fcntl.fcntl(f, fcntl.F_GETLEASE) == fcntl.F_UNLCK


@pytest.mark.root
@privileged.needs_root
def test_the_file_of_another_user_is_copied(engine: Engine, tmp_path: Path) -> None:
    path = qcow2(tmp_path / "source")
    os.chown(path, privileged.NOBODY, privileged.NOBODY)
    assert is_copied(engine, path)


@pytest.mark.root
@privileged.needs_root
def test_a_chain_of_several_owners_comes_in_whole_either_way(oracle: Oracle) -> None:
    with privileged.open_directory() as directory:
        top = chain(directory, privileged.NOBODY, 0, 0o644)
        poke(directory / "base", 1, 0)
        poke(top, 2, 65536)
        volume = oracle.engine.import_volume(top)
        oracle.expected[volume.uuid] = bytes([1]) * 65536 + bytes([2]) * 65536 + bytes(MIB - 2 * 65536)
        oracle.import_chain(top, "as a chain", move=True)
        oracle.check()
        assert os.listdir(directory) == []


@pytest.mark.root
@privileged.needs_root
def test_the_copy_shares_its_extents_where_the_file_system_can(tmp_path: Path) -> None:
    with privileged.xfs(tmp_path) as disk:
        engine = Engine.init(disk / "store")
        path = qcow2(disk / "source", size=64 * MIB)
        poke(path, 1, 0, 64 * MIB)
        subprocess.run(["sync", path], check=True)
        os.chmod(path, 0o666)
        before = os.statvfs(disk).f_bfree
        with sources.open_source(engine._store, path, None) as source:
            taken = (before - os.statvfs(disk).f_bfree) * os.statvfs(disk).f_frsize
            assert source.layers[0].path.read_bytes() == path.read_bytes()
        assert taken < MIB


@pytest.mark.root
@privileged.needs_root
@pytest.mark.parametrize("verb", ["import_volume", "import_chain"])
def test_room_for_the_copy_is_asked_for_first(tmp_path: Path, verb: str) -> None:
    path = qcow2(tmp_path / "source", size=8 * MIB)
    poke(path, 1, 0, 8 * MIB)
    os.chmod(path, 0o666)
    with privileged.small_disk(tmp_path / "small", 6 * 1024) as disk:
        engine = Engine.init(disk / "store")
        before = os.statvfs(disk).f_bfree
        with pytest.raises(errors.NoSpace, match="make room first"):
            getattr(engine, verb)(path)
        assert os.statvfs(disk).f_bfree == before and engine.list_volumes() == ()


@pytest.mark.root
@privileged.needs_root
@pytest.mark.parametrize(
    ("top", "base", "mode", "taken"),
    [
        (privileged.NOBODY, 0, 0o600, False),
        (privileged.NOBODY, 0, 0o640, False),
        (privileged.NOBODY, 0, 0o644, True),
        (privileged.NOBODY, privileged.NOBODY, 0o600, True),
        (0, privileged.NOBODY, 0o600, True),
    ],
)
@pytest.mark.parametrize("verb", ["import_volume", "import_chain"])
def test_an_image_that_the_owner_above_it_can_not_read_is_refused(
    tmp_path: Path, engine: Engine, verb: str, top: int, base: int, mode: int, taken: bool
) -> None:
    with privileged.open_directory() as directory:
        path = chain(directory, top, base, mode)
        if taken:
            assert getattr(engine, verb)(path).size == MIB
            return
        with pytest.raises(errors.Refused, match="another user than top.*give both the same owner"):
            getattr(engine, verb)(path)
    assert engine.list_volumes() == ()


@pytest.mark.root
@privileged.needs_root
def test_a_directory_closed_to_the_owner_above_closes_what_lies_in_it(engine: Engine) -> None:
    with privileged.open_directory() as directory:
        os.chmod(directory, 0o700)
        with pytest.raises(errors.Refused, match="can't read it"):
            engine.import_volume(chain(directory, privileged.NOBODY, 0, 0o644))


@pytest.mark.root
@privileged.needs_root
def test_an_owner_in_the_middle_of_a_chain_counts_too(engine: Engine) -> None:
    with privileged.open_directory() as directory:
        chain(directory, privileged.NOBODY, 0, 0o600)
        with pytest.raises(errors.Refused, match="another user than top"):
            engine.import_volume(qcow2(directory / "upper", "-u", "-F", "qcow2", "-b", "top"))


def chain(directory: Path, top: int, base: int, mode: int) -> Path:
    """Make an image of the user top over one of the user base, which has this mode."""
    qcow2(directory / "base")
    qcow2(directory / "top", "-F", "qcow2", "-b", "base")
    os.chmod(directory / "base", mode)
    os.chown(directory / "base", base, base)
    os.chown(directory / "top", top, top)
    return directory / "top"
