"""
Bad input, line by line of what the project promises: one clear error of the right kind, nothing lost or left behind.

`refused` asserts that of every verb here. How the command line tells such an error stands in its own tests.
"""

import json
import os
import shutil
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from snapengine import command, errors, extents, qcow2
from snapengine.driver import Format
from snapengine.engine import Engine
from snapengine.inventory import VolumeType
from tests import images, prepared, privileged
from tests import qcow2_forge as forge
from tests.prepared import Prepared

MIB = 2**20
UNKNOWN = "9" * 32
NEW_UUID = "d1000000000040008000000000000000"
NO_UUIDS = ["", ".", "..", "../..", "a/b", f"../{UNKNOWN}", f"{UNKNOWN}/", f"{UNKNOWN}.", "*", UNKNOWN.upper() + "A"]
Verb = Callable[[Prepared], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("bad") / "storage")


@pytest.fixture
def store(template: Prepared, tmp_path: Path) -> Prepared:
    return template.copied(tmp_path / "storage")


@pytest.fixture(scope="module")
def deep(template: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Return a store in which the next snapshot of the volume is a full one."""
    store = template.copied(tmp_path_factory.mktemp("deep") / "storage")
    store.engine.set_depth_limit(2)
    store.oracle.create(store.volume, "third")
    return store


def state(root: Path) -> dict[Path, object]:
    """Return every name below root with what it stands for; the locks say who held them last, and may."""
    found: dict[Path, object] = {}
    for path in root.rglob("*"):
        if path.is_symlink() or not path.is_file():
            found[path] = path.lstat().st_ino if not path.is_dir() else "a directory"
        elif path.name != ".lock":
            found[path] = (path.stat().st_ino, path.read_bytes())
    return found


@contextmanager
def refused(store: Prepared, kind: type[errors.Error], why: str | None = None) -> Iterator[None]:
    """Expect that the block raises an error of just this kind, told in one line, and changes nothing in the store."""
    before = state(store.root)
    with pytest.raises(kind, match=why) as caught:
        yield
    assert type(caught.value) is kind
    assert str(caught.value).isprintable() and str(caught.value).strip()
    assert state(store.root) == before


def fixed(*pairs: tuple[str, Verb]) -> pytest.MarkDecorator:
    """Return the table of some verbs, by their names."""
    return pytest.mark.parametrize("verb", [verb for _, verb in pairs], ids=[name for name, _ in pairs])


# Snapshots that are not Ready


NOT_READY: tuple[tuple[str, Verb], ...] = (
    ("reverted to", lambda s: s.engine.revert(s.second)),
    ("cloned", lambda s: s.engine.clone_volume(s.second, "clone")),
    ("exported", lambda s: s.engine.export_snapshot(s.second, s.root.with_name("out.qcow2"))),
    ("shrunk", lambda s: s.engine.shrink_snapshot(s.second)),
    ("given a checksum", lambda s: s.engine.checksum_snapshot(s.second)),
)


@pytest.mark.parametrize(("key", "value"), [("status", "Deleting"), ("state", "Disabled")], ids=["status", "state"])
@pytest.mark.parametrize(("done", "verb"), NOT_READY, ids=[done for done, _ in NOT_READY])
def test_a_snapshot_that_is_not_enabled_and_ready_is_left_alone(
    store: Prepared, done: str, verb: Verb, key: str, value: str
) -> None:
    record = store.record(store.second)
    record.write_text(json.dumps(json.loads(record.read_text()) | {key: value}))
    told = rf"snapshot {store.second} \(second\) is .*{value}.*; only an Enabled, Ready one can be {done}$"
    with refused(store, errors.WrongStatus, told):
        verb(store)
    assert not store.root.with_name("out.qcow2").exists()


# Images that were cut off


@fixed(
    ("a full clone", lambda s: s.engine.clone_volume(s.first, "clone")),
    ("a flatten", lambda s: s.engine.flatten_volume(s.volume)),
    ("a trial of a flatten", lambda s: s.engine.preview_flatten(s.volume)),
    ("an export", lambda s: s.engine.export_snapshot(s.first, s.root.with_name("out.qcow2"))),
    ("a shrink", lambda s: s.engine.shrink_snapshot(s.first)),
    ("a delete", lambda s: s.engine.delete_snapshots((s.first,))),
)
def test_an_image_that_was_cut_off_behind_its_tables_is_not_taken_for_zeros(store: Prepared, verb: Verb) -> None:
    shortened(store.image(store.first))
    with refused(store, errors.Refused, "lies? outside the file; was it cut off"):
        verb(store)
    assert not store.root.with_name("out.qcow2").exists()
    assert [p.kind for p in store.engine.verify(deep=True)] == ["image-truncated"]


def test_a_full_snapshot_of_a_chain_that_was_cut_off_is_refused(deep: Prepared, tmp_path: Path) -> None:
    store = deep.copied(tmp_path / "storage")
    shortened(store.image(store.first))
    with refused(store, errors.Refused, "lies? outside the file; was it cut off"):
        store.engine.create_snapshot(store.volume, "full")


def shortened(image: Path) -> None:
    """Cut an image off right behind its tables: its first data cluster is the one that follows its last L2 table."""
    with open(image, "rb") as f:
        first = min(e.host for e in extents.read(f.fileno(), qcow2.read_header(f.fileno())) if e.host is not None)
    os.truncate(image, first)


# Roots


@pytest.mark.parametrize(
    "make",
    [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")],
    ids=["nothing", "an empty directory", "a file"],
)
def test_a_root_without_a_store_says_how_to_make_one_and_makes_none(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    root = tmp_path / "root"
    make(root)
    before = state(tmp_path)
    with pytest.raises(errors.NoStorage, match=f"no primary storage at {root}; create one with 'snapengine init'"):
        Engine.open(root)
    assert state(tmp_path) == before and errors.NoStorage.exit_code == 3


def test_a_root_that_everybody_may_write_to_is_denied(store: Prepared) -> None:
    store.root.chmod(0o777)
    with refused(store, errors.Denied, f"{store.root} can be written by everybody; mend it with 'chmod o-w"):
        Engine.open(store.root)


def test_a_root_that_is_lost_under_an_open_engine_is_no_storage(store: Prepared) -> None:
    away = store.root.rename(store.root.with_name("away"))
    with pytest.raises(errors.NoStorage):
        store.engine.create_snapshot(store.volume, "x")
    away.rename(store.root)
    store.oracle.check()


def test_a_store_is_made_once_and_only_where_nothing_else_is(store: Prepared, tmp_path: Path) -> None:
    with refused(store, errors.Conflict, "is a primary storage already"):
        Engine.init(store.root)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "notes").touch()
    with pytest.raises(errors.Conflict, match="is not empty: it holds notes; give an empty directory"):
        Engine.init(tmp_path / "home")
    with pytest.raises(errors.Invalid, match="not a directory: .*notes; give another path"):
        Engine.init(tmp_path / "home" / "notes")
    assert os.listdir(tmp_path / "home") == ["notes"]


@pytest.mark.parametrize("bad", [{"name": ""}, {"depth_limit": 1}, {"depth_limit": 120}], ids=str)
def test_a_store_with_bad_settings_is_not_made(tmp_path: Path, bad: dict[str, Any]) -> None:
    with pytest.raises(errors.Invalid):
        Engine.init(tmp_path / "root", **bad)
    assert os.listdir(tmp_path) == []


# Names of what is not there


def of_volume(uuid: str) -> list[tuple[str, Verb]]:
    """Return all verbs that take a volume, each with its name."""
    return [
        ("show", lambda s: s.engine.get_volume(uuid)),
        ("update", lambda s: s.engine.update_volume(uuid, name="x")),
        ("path", lambda s: s.engine.volume_path(uuid)),
        ("chain", lambda s: s.engine.volume_chain(uuid)),
        ("attach", lambda s: s.engine.attach_volume(uuid, "vm")),
        ("detach", lambda s: s.engine.detach_volume(uuid)),
        ("snapshot", lambda s: s.engine.create_snapshot(uuid, "x")),
        ("list", lambda s: s.engine.list_snapshots(uuid)),
        ("trees", lambda s: s.engine.snapshot_trees(uuid)),
        ("verify", lambda s: s.engine.verify((uuid,))),
        ("tag", lambda s: s.engine.add_tag(uuid, "x")),
        ("find", lambda s: s.engine.find_volume(uuid)),
    ]


def of_snapshot(uuid: str) -> list[tuple[str, Verb]]:
    """Return all verbs that take a snapshot, each with its name."""
    return [
        ("show", lambda s: s.engine.get_snapshot(uuid)),
        ("path", lambda s: s.engine.snapshot_path(uuid)),
        ("update", lambda s: s.engine.update_snapshot(uuid, name="x")),
        ("revert", lambda s: s.engine.revert(uuid)),
        ("preview", lambda s: s.engine.preview_revert(uuid)),
        ("untag", lambda s: s.engine.remove_tag(uuid, "x")),
        ("find", lambda s: s.engine.find_snapshot(uuid)),
        ("restore", lambda s: s.engine.restore_trash(uuid)),
        ("restore as", lambda s: s.engine.restore_trash_as_snapshot(uuid, "x")),
        ("purge", lambda s: s.engine.select_trash((uuid,))),
    ]


@pytest.mark.parametrize("uuid", [UNKNOWN, *NO_UUIDS], ids=ascii)
def test_an_unknown_uuid_and_what_is_none_are_not_found(template: Prepared, uuid: str) -> None:
    for _, verb in [*of_volume(uuid), *of_snapshot(uuid)]:
        with refused(template, errors.NotFound, "was not found; 'snapengine .* list.*' shows those that are"):
            verb(template)


def test_a_snapshot_is_no_volume_a_volume_no_snapshot_and_an_item_neither(template: Prepared) -> None:
    for _, verb in [*of_volume(template.first)[:-2], *of_volume(template.item), *of_snapshot(template.volume)]:
        with refused(template, errors.NotFound):
            verb(template)


def test_an_ambiguous_name_is_told_with_all_that_it_could_be(store: Prepared) -> None:
    store.engine.update_volume(store.other, name="db")
    with refused(store, errors.Ambiguous, "could be (.* [(]db[)], ){1}.* [(]db[)]; give a uuid$"):
        store.engine.find_volume("db")


# Arguments


def named(name: str) -> list[tuple[str, Verb]]:
    """Return all verbs that take a new name, each with its own name."""
    return [
        ("volume", lambda s: s.engine.create_volume(name, MIB)),
        ("import", lambda s: s.engine.import_volume(s.image(s.second), name)),
        ("update", lambda s: s.engine.update_volume(s.volume, name=name)),
        ("snapshot", lambda s: s.engine.create_snapshot(s.volume, name)),
        ("update snapshot", lambda s: s.engine.update_snapshot(s.first, name=name)),
        ("restore as snapshot", lambda s: s.engine.restore_trash_as_snapshot(s.item, name)),
    ]


@pytest.mark.parametrize(
    "name", ["", "  ", "x" * 256, "a\0b", "\x1b[2J"], ids=["empty", "blank", "256", "zero", "escape"]
)
def test_a_bad_name_is_invalid_for_every_verb(template: Prepared, name: str) -> None:
    for _, verb in named(name):
        with refused(template, errors.Invalid, "name"):
            verb(template)


@pytest.mark.parametrize("size", [0, -1, -(2**40), 2 * 2**50 + 1, 2**63, 2**80])
def test_a_size_that_no_volume_can_have_is_invalid(template: Prepared, size: int) -> None:
    with refused(template, errors.Invalid, f"size {size} is out of range: give 1 byte to 2 PiB"):
        template.engine.create_volume("x", size)


@pytest.mark.parametrize("uuid", [*NO_UUIDS, UNKNOWN, "x" * 32, "/etc/passwd", f"{NEW_UUID}\n"], ids=ascii)
def test_a_given_uuid_that_is_none_is_invalid(template: Prepared, uuid: str) -> None:
    verbs: list[Verb] = [
        lambda s: s.engine.create_volume("x", MIB, uuid=uuid),
        lambda s: s.engine.create_snapshot(s.volume, "x", uuid=uuid),
        lambda s: s.engine.import_volume(s.image(s.first), uuid=uuid),
    ]
    for verb in verbs:
        with refused(template, errors.Invalid, "is not a uuid: give 32 lower-case hex characters of a version 1-5"):
            verb(template)


@pytest.mark.parametrize("account", ["", "a/b", "../admin", "/", "a b", "x" * 65, "a\n"], ids=ascii)
def test_an_account_that_is_none_is_invalid(template: Prepared, account: str) -> None:
    verbs: list[Verb] = [
        lambda s: s.engine.create_volume("x", MIB, account=account),
        lambda s: s.engine.import_volume(s.image(s.first), account=account),
        lambda s: s.engine.create_account(account),
    ]
    for verb in verbs:
        with refused(template, errors.Invalid, "is no account: give 1 to 64 letters, digits"):
            verb(template)


@fixed(
    ("no type", lambda s: s.engine.create_volume("x", MIB, cast(VolumeType, "Disk"))),
    ("a long description", lambda s: s.engine.create_volume("x", MIB, description="x" * 2049)),
    ("an empty tag", lambda s: s.engine.create_volume("x", MIB, tags=("",))),
    ("a depth tag of 1", lambda s: s.engine.create_volume("x", MIB, tags=("volumeMaxIncrementalSnapshotNum::1",))),
    ("a long description of a snapshot", lambda s: s.engine.create_snapshot(s.volume, "x", description="x" * 2049)),
    ("an empty tag of a snapshot", lambda s: s.engine.create_snapshot(s.volume, "x", user_tags=("",))),
    ("a depth tag of 120", lambda s: s.engine.add_tag(s.volume, "volumeMaxIncrementalSnapshotNum::120")),
    ("a depth of 1", lambda s: s.engine.set_depth_limit(1)),
    ("a depth of 120", lambda s: s.engine.set_depth_limit(120)),
    ("a VM without a name", lambda s: s.engine.attach_volume(s.volume, " ")),
    ("an unknown format", lambda s: s.engine.import_volume(s.image(s.second), format=cast(Format, "iso"))),
    ("a volume's uuid", lambda s: s.engine.create_volume("x", MIB, uuid=s.volume)),
    ("a snapshot's uuid", lambda s: s.engine.create_snapshot(s.other, "x", uuid=s.first)),
    ("a trash item's uuid", lambda s: s.engine.import_volume(s.image(s.second), uuid=s.item)),
)
def test_a_bad_argument_is_invalid(template: Prepared, verb: Verb) -> None:
    with refused(template, errors.Invalid):
        verb(template)


def test_an_unknown_account_is_not_found(template: Prepared) -> None:
    with refused(template, errors.NotFound, "account 'nobody' was not found; 'snapengine account create' makes one"):
        template.engine.create_volume("x", MIB, account="nobody")


# Images


def qemu_img(*arguments: str | Path) -> None:
    subprocess.run(["qemu-img", *arguments], check=True, stdout=subprocess.DEVNULL)


def over(backing: str, fmt: str = "qcow2") -> Callable[[Path], object]:
    """Return who makes an image that stands on backing."""
    return lambda path: qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", fmt, "-b", backing, path, str(MIB))


def forged(**lies: Any) -> Callable[[Path], object]:
    """Return who makes an image that lies in one field."""
    return lambda path: forge.image(path, **lies)


def with_data_file(path: Path) -> None:
    outside = path.with_name("secret.raw")
    qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={outside}", path, str(MIB))
    outside.unlink()


def with_internal_snapshot(path: Path) -> None:
    qemu_img("create", "-q", "-f", "qcow2", path, str(MIB))
    qemu_img("snapshot", "-c", "inside", path)


def with_bit(offset: int, bits: int) -> Callable[[Path], object]:
    """Return who makes an image with bits set in the big-endian field of 8 bytes at offset of its header."""

    def make(path: Path) -> None:
        qemu_img("create", "-q", "-f", "qcow2", path, str(MIB))
        with open(path, "r+b") as f:
            f.seek(offset)
            (old,) = struct.unpack(">Q", f.read(8))
            f.seek(offset)
            f.write(struct.pack(">Q", old | bits))

    return make


def encrypted(path: Path) -> None:
    """Make an image that is encrypted in the old way: with LUKS that takes seconds."""
    secret = ("--object", "secret,id=key,data=password")
    options = "encrypt.format=aes,encrypt.key-secret=key"
    qemu_img("create", "-q", *secret, "-f", "qcow2", "-o", options, path, str(MIB))


def cut_off(length: int) -> Callable[[Path], object]:
    """Return who makes an image with data of which only length bytes are left."""

    def make(path: Path) -> None:
        qemu_img("create", "-q", "-f", "qcow2", path, str(MIB))
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -q -P 7 0 1M", path], check=True)
        os.truncate(path, length)

    return make


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(path.parent, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{here}/{path.name}")  # the whole path may be longer than a socket's can be
        os.close(here)


HOSTILE: list[tuple[str, Callable[[Path], object], str]] = [
    ("text", lambda path: path.write_text("no image " * 1000), "it is not a qcow2 image|it bears no magic"),
    ("nothing", lambda path: path.write_bytes(b""), "it is not a qcow2 image|it is empty"),
    ("a header cut off", cut_off(60), "its header ends after 60 bytes"),
    ("tables cut off", cut_off(70_000), "lies outside the file; was it cut off"),
    ("version 1", lambda path: qemu_img("create", "-q", "-f", "qcow", path, str(MIB)), "version 1 is unknown"),
    ("backing file outside", over("/etc/passwd", "raw"), "backing file name '/etc/passwd' leads to another directory"),
    ("backing file above", over("../../secret.qcow2"), "leads to another directory"),
    ("backing string json:", over('json:{"driver":"nbd","host":"evil"}'), "names a protocol or a device"),
    ("backing string nbd:", over("nbd:localhost:10809"), "names a protocol or a device"),
    ("backing string with a line break", over("a\nb"), "holds control characters"),
    ("backing file of no format", forged(backing=b"x.qcow2"), "does not name its backing file's format|'x.qcow2', the"),
    ("data file", with_data_file, "it keeps its data in an external file"),
    ("internal snapshots", with_internal_snapshot, "it holds internal snapshots [(]1[)]; remove them with"),
    ("encrypted", encrypted, "it is encrypted [(]AES[)]; decrypt it with 'qemu-img convert' first"),
    ("encrypted with LUKS", forged(crypt_method=2), "it is encrypted [(]LUKS[)]; decrypt it with"),
    ("dirty", with_bit(72, 1), "it was not closed cleanly; repair it with 'qemu-img check -r all' first"),
    ("corrupt", with_bit(72, 2), "QEMU has marked it corrupt"),
    ("an unknown feature", with_bit(72, 1 << 40), "incompatible features that nobody knows"),
    ("too large", forged(size=2**52, cluster_bits=21, length=2**24, l1_offset=3 * 2**21, refcount_table_offset=2**21,
                         l1_entries=2**12), "is over the limit"),
    ("a directory", lambda path: path.mkdir(), "it is a directory, not a regular file"),
    ("a link", lambda path: path.symlink_to("/etc/passwd"), "it is a symbolic link"),
    ("a FIFO", os.mkfifo, "it is a FIFO, not a regular file"),
    ("a socket", a_socket, "it is a socket, not a regular file"),
]  # fmt: skip
IMAGES = pytest.mark.parametrize(
    ("make", "why"), [(make, why) for _, make, why in HOSTILE], ids=[name for name, _, _ in HOSTILE]
)


@IMAGES
def test_a_bad_image_is_not_imported(
    template: Prepared, tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    make(tmp_path / "image.qcow2")
    before = state(tmp_path)
    with refused(template, errors.Refused, f"refused image {tmp_path}/image.qcow2: .*({why})"):
        template.engine.import_volume(tmp_path / "image.qcow2", format="qcow2")
    assert state(tmp_path) == before


@IMAGES
def test_a_bad_image_under_an_imported_one_is_not_followed(
    template: Prepared, tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    over("base.qcow2")(tmp_path / "top.qcow2")
    make(tmp_path / "base.qcow2")
    with refused(template, errors.Refused, f"refused image {tmp_path}/base.qcow2: .*({why})"):
        template.engine.import_volume(tmp_path / "top.qcow2")


@contextmanager
def dropped(store: Prepared, which: str, make: Callable[[Path], object]) -> Iterator[None]:
    """
    For the block, have a bad image in an image's place, as somebody who may write to the directory can put it there.

    verify finds it, and once the image is back all is as it was.
    """
    path, before = store.image(which), state(store.root)
    kept = path.rename(store.root.parent / f"kept-{path.name}")
    make(path)
    yield
    (found,) = store.engine.verify()
    assert (found.object, found.path) == (which, str(path))
    assert found.kind in {"image-refused", "image-foreign", "image-truncated", "backing-outside", "backing-format"}
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    kept.rename(path)
    assert state(store.root) == before


@IMAGES
def test_a_bad_image_in_the_active_ones_place_is_not_frozen(
    store: Prepared, make: Callable[[Path], object], why: str
) -> None:
    with dropped(store, store.volume, make):
        with refused(store, errors.Refused, f"refused image {store.image(store.volume)}: .*({why})"):
            store.engine.create_snapshot(store.volume, "x")


@IMAGES
@fixed(
    ("revert", lambda s: s.engine.revert(s.second)),
    ("restore", lambda s: s.engine.restore_trash(s.item)),
)
def test_a_bad_image_in_the_active_ones_place_is_kept_when_it_is_replaced(
    store: Prepared, make: Callable[[Path], object], why: str, verb: Verb
) -> None:
    path = store.image(store.volume)
    path.unlink()
    make(path)
    before, number = state(store.root), path.lstat().st_ino
    try:
        verb(store)
    except errors.Refused as e:
        assert e.check == "not-regular" or e.check.startswith("backing-")
        assert state(store.root) == before
    else:
        (problem,) = store.engine.verify()
        kept = Path(problem.path)
        assert (problem.kind, kept.stat().st_ino) == ("stray-file", number)
        kept.unlink()
        expected = store.oracle.expected
        is_reverted = store.image(store.item).exists()
        expected[store.volume] = expected[store.second] if is_reverted else expected.pop(store.item)
        store.oracle.check()


@IMAGES
def test_a_bad_image_in_a_snapshots_place_is_not_reverted_to(
    store: Prepared, make: Callable[[Path], object], why: str
) -> None:
    with dropped(store, store.second, make):
        told = f"refused image {store.image(store.second)}: .*({why}).*; run 'snapengine verify' to see what helps"
        with refused(store, errors.Refused, told):
            store.engine.revert(store.second)


@IMAGES
def test_a_bad_image_deep_in_the_chain_is_not_copied_into_a_full_snapshot(
    deep: Prepared, tmp_path: Path, make: Callable[[Path], object], why: str
) -> None:
    store = deep.copied(tmp_path / "storage")
    with dropped(store, store.first, make):
        with refused(store, errors.Refused, f"refused image {store.image(store.first)}: .*({why})"):
            store.engine.create_snapshot(store.volume, "full")


@pytest.mark.parametrize("verb", ["create", "revert"])
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda s: qemu_img("create", "-q", "-f", "qcow2", s.image(s.volume), "1M"), "is none, the records say"),
        (lambda s: over(f"{s.second}.qcow2")(s.image(s.volume)), "the records say '{first}.qcow2'"),
        (lambda s: over(f"{s.first}.qcow2", "raw")(s.image(s.volume)), "says that its backing file is 'raw'"),
    ],
    ids=["standalone", "on another snapshot", "on raw"],
)
def test_an_active_image_that_stands_on_another_than_the_records_say_is_refused(
    store: Prepared, verb: str, make: Callable[[Prepared], object], why: str
) -> None:
    make(store)
    with refused(store, errors.Refused, why.format(first=store.first)):
        store.engine.create_snapshot(store.volume, "x") if verb == "create" else store.engine.revert(store.second)


@fixed(
    ("create", lambda s: s.engine.create_snapshot(s.volume, "x")),
    ("chain", lambda s: s.engine.volume_chain(s.volume)),
)
def test_an_active_image_that_is_missing_is_corrupt(store: Prepared, verb: Verb) -> None:
    store.image(store.volume).unlink()
    with refused(store, errors.Corrupt, f"image {store.image(store.volume)} is missing; .*'snapengine "):
        verb(store)


def test_a_snapshot_whose_image_is_missing_is_not_reverted_to(store: Prepared) -> None:
    store.image(store.second).unlink()
    with refused(store, errors.Corrupt, f"image {store.image(store.second)} is missing"):
        store.engine.revert(store.second)


@pytest.mark.parametrize("fmt", ["qcow2", "vmdk", "vdi", "vhdx", "vpc"])
@pytest.mark.parametrize("part", [0.01, 0.5, 0.9])
def test_an_image_of_which_data_is_cut_off_is_not_imported_as_zeros(
    template: Prepared, tmp_path: Path, fmt: Any, part: float
) -> None:
    raw, path = tmp_path / "raw", tmp_path / f"image.{fmt}"
    raw.write_bytes(os.urandom(MIB))
    qemu_img("convert", "-f", "raw", "-O", fmt, raw, path)
    os.truncate(path, int(len(path.read_bytes().rstrip(b"\0")) * part))
    with refused(template, errors.Refused, f"refused image {path}: .*"):
        template.engine.import_volume(path, format=fmt)


SHAPES = {
    "plain": ([], 1),
    "plain, all but a byte of its last cluster": ([], 2**16 - 1),
    "large clusters": (["-o", "cluster_size=2M"], 512),
    "preallocated": (["-o", "preallocation=falloc"], 4096),
    "extended L2": (["-o", "extended_l2=on,cluster_size=128k"], 1),
    "compressed": (["-c"], 1536),
    "compressed with zstd": (["-c", "-o", "compression_type=zstd"], 1536),
}


@pytest.mark.parametrize(
    ("shape", "chain"), [*((shape, False) for shape in SHAPES), ("plain", True)],
    ids=[*SHAPES, "plain, with its chain"],
)  # fmt: skip
def test_an_image_whose_last_cluster_is_cut_off_is_not_imported_and_a_whole_one_is(
    store: Prepared, tmp_path: Path, shape: str, chain: bool
) -> None:
    options, lost = SHAPES[shape]
    raw, path = tmp_path / "raw", tmp_path / "image.qcow2"
    content = b"".join(bytes([number]) * 256 for number in range(256)) * 31 + os.urandom(2**15) + b"x" * 2**15
    raw.write_bytes(content)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, raw, path)
    whole = path.read_bytes()
    bring: Verb = lambda s: s.engine.import_chain(path) if chain else s.engine.import_volume(path)  # noqa: E731
    os.truncate(path, len(whole) - lost)
    with refused(store, errors.Refused, f"refused image {path}: .*outside the file; was it cut off"):
        bring(store)
    path.write_bytes(whole)
    store.oracle.expected[cast(Any, bring(store)).uuid] = content
    store.oracle.check()


@pytest.mark.parametrize(("size", "lost"), [(MIB, 1), (MIB, 60_000), (MIB - 2**15, 2**15 + 1)], ids=str)
def test_a_vmdk_whose_last_grain_is_cut_off_is_not_imported_and_a_whole_one_is(
    store: Prepared, tmp_path: Path, size: int, lost: int
) -> None:
    raw, path = tmp_path / "raw", tmp_path / "image.vmdk"
    raw.write_bytes(os.urandom(size))
    qemu_img("convert", "-f", "raw", "-O", "vmdk", raw, path)
    whole = path.read_bytes()
    os.truncate(path, len(whole) - lost)
    with refused(store, errors.Refused, f"refused image {path}: its grains lie outside the file; was it cut off"):
        store.engine.import_volume(path)
    path.write_bytes(whole[: len(whole) - (2**16 - size % 2**16) % 2**16])  # what lies behind the disk's end counts not
    store.oracle.expected[store.engine.import_volume(path).uuid] = raw.read_bytes()
    store.oracle.check()


@pytest.mark.parametrize("writes", ["write -P 7 0 512", "write -P 7 64k 4k", "write -c -P 7 0 128k"])
def test_an_image_whose_file_ends_within_a_cluster_as_qemu_leaves_it_is_imported(
    store: Prepared, tmp_path: Path, writes: str
) -> None:
    path = tmp_path / "image.qcow2"
    qemu_img("create", "-q", "-f", "qcow2", "-o", "extended_l2=on,cluster_size=128k", path, str(MIB - 512))
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", writes, path], check=True, stdout=subprocess.DEVNULL)
    assert path.stat().st_size % 2**17
    made = store.engine.import_volume(path)
    store.oracle.expected[made.uuid] = images.read(path)
    store.oracle.check()


def test_an_image_that_is_not_there_is_not_found(template: Prepared, tmp_path: Path) -> None:
    with refused(template, errors.NotFound, f"image '{tmp_path}/x' was not found; give the path of an existing file"):
        template.engine.import_volume(tmp_path / "x")


def test_a_text_is_imported_as_the_raw_disk_that_it_may_be(store: Prepared, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no image " * 1000)
    made = store.engine.import_volume(tmp_path / "notes")
    store.oracle.expected[made.uuid] = (b"no image " * 1000).ljust(9216, b"\0")
    store.oracle.check()


# Records


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def newer(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"schemaVersion":1', b'"schemaVersion":2'))


def of_another_volume(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(path.parents[1].name[4:].encode(), UNKNOWN.encode()))


damaging = pytest.mark.parametrize(
    ("damage", "why"),
    [
        (cut, "is damaged"),
        (lambda path: path.write_bytes(b""), "is damaged"),
        (newer, "was written by a newer snapengine; upgrade"),
        (of_another_volume, "is of another"),
    ],
    ids=["cut off", "empty", "of a newer schema", "of another volume"],
)


@damaging
@fixed(
    ("create", lambda s: s.engine.create_snapshot(s.volume, "x")),
    ("revert", lambda s: s.engine.revert(s.second)),
    ("update", lambda s: s.engine.update_volume(s.volume, name="x")),
    ("attach", lambda s: s.engine.attach_volume(s.volume, "vm")),
    ("restore", lambda s: s.engine.restore_trash(s.item)),
    ("purge", lambda s: s.engine.purge_trash(s.engine.select_trash((s.item,)))),
    ("show", lambda s: s.engine.get_volume(s.volume)),
    ("snapshots", lambda s: s.engine.list_snapshots(s.volume)),
    ("trees", lambda s: s.engine.snapshot_trees(s.volume)),
)
def test_a_damaged_record_of_the_volume_stops_every_verb_on_it(
    store: Prepared, verb: Verb, damage: Callable[[Path], object], why: str
) -> None:
    damage(store.record(store.volume))
    with refused(store, errors.Corrupt, f"record {store.record(store.volume)} {why}"):
        verb(store)
    assert [(p.kind, p.object) for p in store.engine.verify()] == [("record-damaged", store.volume)]


@damaging
@fixed(
    ("create on it", lambda s: s.engine.create_snapshot(s.volume, "x")),
    ("revert to it", lambda s: s.engine.revert(s.first)),
    ("update", lambda s: s.engine.update_snapshot(s.first, name="x")),
    ("show", lambda s: s.engine.get_snapshot(s.first)),
)
def test_a_damaged_record_of_a_snapshot_stops_every_verb_that_needs_it(
    store: Prepared, verb: Verb, damage: Callable[[Path], object], why: str
) -> None:
    damage(store.record(store.first))
    with refused(store, errors.Corrupt, f"record {store.record(store.first)} {why}"):
        verb(store)
    assert [(p.kind, p.object) for p in store.engine.verify()] == [("record-damaged", store.volume)]


@pytest.mark.parametrize(
    ("missing", "verb"),
    [
        ("first", lambda s: s.engine.create_snapshot(s.volume, "x")),
        ("first", lambda s: s.engine.revert(s.second)),
        ("first", lambda s: s.engine.restore_trash(s.item)),
        ("second", lambda s: s.engine.restore_trash(s.item)),
        ("second", lambda s: s.engine.restore_trash_as_snapshot(s.item, "x")),
    ],
    ids=["create on it", "revert of its child", "restore over it", "restore onto it", "restore as its child"],
)
def test_a_record_that_another_one_names_and_that_is_missing_is_corrupt(
    store: Prepared, missing: str, verb: Verb
) -> None:
    """Whoever asked named something else: for him that is there."""
    gone = getattr(store, missing)
    store.record(gone).unlink()
    with refused(store, errors.Corrupt, f"snapshot {gone}, which has no record; run 'snapengine verify'"):
        verb(store)


@pytest.mark.parametrize("name", ["primary-storage.json", "accounts.json"])
@pytest.mark.parametrize("damage", [cut, newer], ids=["cut off", "of a newer schema"])
def test_a_damaged_record_of_the_store_is_corrupt(
    store: Prepared, name: str, damage: Callable[[Path], object]
) -> None:
    damage(store.root / name)
    with refused(store, errors.Corrupt, f"record {store.root / name} "):
        Engine.open(store.root).create_volume("x", MIB)


# No room


@privileged.needs_root
@pytest.mark.root
@fixed(
    ("create", lambda s: s.oracle.create(s.volume, "x")),
    ("revert", lambda s: s.oracle.revert(s.second)),
    ("restore", lambda s: s.oracle.restore(s.item)),
    ("restore as a snapshot", lambda s: s.oracle.restore_as_snapshot(s.item, "x")),
    ("volume", lambda s: s.oracle.volume("x")),
    ("volume of a given uuid", lambda s: s.oracle.volume("x", uuid=NEW_UUID)),
    ("update", lambda s: s.engine.update_volume(s.volume, name="x")),
    ("update of a snapshot", lambda s: s.engine.update_snapshot(s.first, name="x")),
    ("attach", lambda s: s.engine.attach_volume(s.volume, "vm")),
    ("tag", lambda s: s.engine.add_tag(s.volume, "x")),
    ("depth", lambda s: s.engine.set_depth_limit(5)),
    ("account", lambda s: s.engine.create_account("x")),
)
def test_on_a_full_disk_a_verb_fails_whole_and_works_once_there_is_room(
    template: Prepared, tmp_path: Path, verb: Verb
) -> None:
    with privileged.small_disk(tmp_path / "disk", 6 * 1024) as disk:
        store = template.copied(disk / "storage")
        said = f"no room(:| in) {store.root}.*; (free some space and try again|make room first)"
        with privileged.filled(disk), refused(store, errors.NoSpace, said):
            verb(store)
        before = state(store.root)
        for pages in (1, 2, 3, 4, 5, 8, 16, 30, 40, 46, 48, 49, 50, 51, 52, 53, 1000):
            with privileged.filled(disk, pages * 4096):
                try:
                    verb(store)
                    break
                except errors.NoSpace:
                    assert state(store.root) == before, f"with {pages} pages of room"
        store.oracle.check()


@privileged.needs_root
@pytest.mark.root
@pytest.mark.parametrize("fmt", ["raw", "qcow2"])
def test_on_a_full_disk_nothing_is_imported_until_there_is_room(template: Prepared, tmp_path: Path, fmt: str) -> None:
    raw, source = tmp_path / "raw", tmp_path / "source"
    raw.write_bytes(os.urandom(MIB))
    qemu_img("convert", "-f", "raw", "-O", fmt, raw, source)
    with privileged.small_disk(tmp_path / "disk", 6 * 1024) as disk:
        store = template.copied(disk / "storage")
        for leave in (0, 4096, MIB, MIB + 2**18):
            with privileged.filled(disk, leave), refused(store, errors.NoSpace, "no room"):
                store.engine.import_volume(source)
        made = store.engine.import_volume(source)
        store.oracle.expected[made.uuid] = raw.read_bytes()
        store.oracle.check()


@privileged.needs_root
@pytest.mark.root
def test_on_a_full_disk_no_full_snapshot_is_begun(deep: Prepared, tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "disk", 6 * 1024) as disk:
        store = deep.copied(disk / "storage")
        for leave in (0, 2**16, 2**18):
            with privileged.filled(disk, leave), refused(store, errors.NoSpace, "no room"):
                store.engine.create_snapshot(store.volume, "full")
        full = store.oracle.create(store.volume, "full")
        assert full.parent_uuid is None
        store.oracle.check()


@privileged.needs_root
@pytest.mark.root
def test_on_a_full_disk_everything_can_be_looked_at_and_the_trash_be_purged(
    template: Prepared, tmp_path: Path
) -> None:
    with privileged.small_disk(tmp_path / "disk", 6 * 1024) as disk:
        store = template.copied(disk / "storage")
        (store.directory.parent / ".lock").unlink()
        with privileged.filled(disk):
            engine = Engine.open(store.root)
            assert engine.verify(deep=True) == () and engine.status().volumes == 2
            assert len(engine.list_snapshots()) == 2 and engine.snapshot_trees(store.volume)
            assert [item.uuid for item in engine.purge_trash(engine.list_trash())] == [store.item]
        del store.oracle.expected[store.item]
        store.oracle.check()


@privileged.needs_root
@pytest.mark.root
def test_on_a_full_disk_no_store_is_made_until_there_is_room(tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "disk", 64) as disk:
        with privileged.filled(disk), pytest.raises(errors.NoSpace):
            Engine.init(disk / "storage")
        with pytest.raises(errors.NoStorage):
            Engine.open(disk / "storage")
        assert Engine.init(disk / "storage").verify() == ()


# No permission


@pytest.fixture
def shown(template: Prepared) -> Iterator[Prepared]:
    """Return a store of root's that everybody may read."""
    command._module()  # who is nobody can't load it any more
    with privileged.open_directory() as place:
        store = template.copied(place / "storage")
        yield store


CHANGING = fixed(
    ("create", lambda s: s.engine.create_snapshot(s.volume, "x")),
    ("revert", lambda s: s.engine.revert(s.second)),
    ("update", lambda s: s.engine.update_volume(s.volume, name="x")),
    ("update snapshot", lambda s: s.engine.update_snapshot(s.first, name="x")),
    ("attach", lambda s: s.engine.attach_volume(s.volume, "vm")),
    ("tag", lambda s: s.engine.add_tag(s.volume, "x")),
    ("volume", lambda s: s.engine.create_volume("x", MIB)),
    ("import", lambda s: s.engine.import_volume("/etc/passwd")),
    ("restore", lambda s: s.engine.restore_trash(s.item)),
    ("restore as snapshot", lambda s: s.engine.restore_trash_as_snapshot(s.item, "x")),
    ("purge", lambda s: s.engine.purge_trash(s.engine.list_trash())),
    ("depth", lambda s: s.engine.set_depth_limit(5)),
    ("account", lambda s: s.engine.create_account("x")),
)


@privileged.needs_root
@pytest.mark.root
@CHANGING
def test_who_may_only_read_is_denied_every_change_and_told_how_to_mend_it(shown: Prepared, verb: Verb) -> None:
    with refused(shown, errors.Denied, f"permission denied: {shown.root}/.*; run as the store's owner, or mend it"):
        privileged.as_nobody(lambda: verb(shown))


@privileged.needs_root
@pytest.mark.root
def test_who_may_not_write_to_a_directory_can_make_no_store_there_and_is_told(shown: Prepared, tmp_path: Path) -> None:
    with pytest.raises(errors.Denied, match="permission denied: .*/new"):
        privileged.as_nobody(lambda: Engine.init(tmp_path / "new"))


@privileged.needs_root
@pytest.mark.root
def test_who_may_only_read_sees_everything_but_the_accounts(shown: Prepared) -> None:
    def look() -> tuple[int, ...]:
        engine = Engine.open(shown.root)
        found = engine.find_volume("db")
        seen = (engine.volume_chain(found), engine.snapshot_trees(found), engine.list_snapshots(), engine.list_trash())
        return engine.status().volumes, *map(len, seen)

    assert privileged.as_nobody(look) == (2, 2, 1, 2, 1)
    with refused(shown, errors.Denied, "accounts.json"):
        privileged.as_nobody(shown.engine.list_accounts)


@privileged.needs_root
@pytest.mark.root
@pytest.mark.parametrize("closed", ["root", "directory", "record", "image"])
def test_what_may_not_be_read_is_denied_by_name(shown: Prepared, closed: str) -> None:
    path = {
        "root": shown.root,
        "directory": shown.directory,
        "record": shown.record(shown.volume),
        "image": shown.image(shown.volume),
    }[closed]
    path.chmod(0)
    with refused(shown, errors.Denied, f"permission denied: {path}"):
        privileged.as_nobody(lambda: Engine.open(shown.root).volume_chain(shown.volume))


@privileged.needs_root
@pytest.mark.root
def test_an_image_that_may_not_be_read_is_not_imported(shown: Prepared) -> None:
    private = shown.root.parent / "private"
    private.write_bytes(bytes(MIB))
    private.chmod(0o600)
    for path in shown.root.rglob("*"):
        os.chown(path, privileged.NOBODY, privileged.NOBODY)
    os.chown(shown.root, privileged.NOBODY, privileged.NOBODY)
    with refused(shown, errors.Denied, f"permission denied: {private}"):
        privileged.as_nobody(lambda: shown.engine.import_volume(private))


@privileged.needs_root
@pytest.mark.root
@fixed(
    ("create", lambda s: s.engine.create_snapshot(s.volume, "x")),
    ("revert", lambda s: s.engine.revert(s.second)),
    ("restore", lambda s: s.engine.restore_trash(s.item)),
)
def test_images_of_another_user_are_left_alone_and_the_owner_is_asked_for(shown: Prepared, verb: Verb) -> None:
    for path in [shown.root, *shown.root.rglob("*")]:
        if path.suffix != ".qcow2":
            os.chown(path, privileged.NOBODY, privileged.NOBODY)
    with refused(shown, errors.Denied, "run as its owner or as root"):
        privileged.as_nobody(lambda: verb(shown))


@privileged.needs_root
@pytest.mark.root
def test_on_a_read_only_file_system_nothing_is_changed_and_it_is_told(template: Prepared, tmp_path: Path) -> None:
    with privileged.small_disk(tmp_path / "disk", 6 * 1024) as disk:
        store = template.copied(disk / "storage")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert len(Engine.open(store.root).list_snapshots()) == 2
        verbs: list[Verb] = [
            lambda s: s.engine.create_snapshot(s.volume, "x"),
            lambda s: s.engine.create_volume("x", MIB),
        ]
        for verb in verbs:
            with refused(store, errors.Denied, "read-only file system: .*; mount it writable first"):
                verb(store)


# No qemu-img


@pytest.fixture
def without_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Live on a machine where no tool is installed."""
    with monkeypatch.context() as changed:
        changed.setattr(command, "PATH", str(tmp_path))
        command._find.cache_clear()
        yield
    command._find.cache_clear()


@pytest.mark.usefixtures("without_tools")
@fixed(
    ("create", lambda s: s.engine.create_snapshot(s.volume, "x")),
    ("revert", lambda s: s.engine.revert(s.second)),
    ("volume", lambda s: s.engine.create_volume("x", MIB)),
    ("import", lambda s: s.engine.import_volume(s.image(s.first))),
    ("deep verify", lambda s: s.engine.verify(deep=True)),
)
def test_without_qemu_img_the_error_says_which_package_has_it(store: Prepared, verb: Verb) -> None:
    with refused(store, errors.CommandFailed, "qemu-img .*not installed; on Debian: apt-get install qemu-utils"):
        verb(store)
    assert store.engine.verify() == ()


def test_once_qemu_img_is_there_the_same_verb_works(store: Prepared, without_tools: None) -> None:
    with pytest.raises(errors.CommandFailed):
        store.engine.create_snapshot(store.volume, "x")
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(command, "PATH", os.defpath)
        command._find.cache_clear()
        store.oracle.create(store.volume, "x")
        store.oracle.check()
