"""Whose files are: owner and mode of images and records, directories that others can change, names in shared ones."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from snapengine import errors, ownership
from snapengine.engine import Engine
from tests import images
from tests.command_line import CommandLine
from tests.oracle import MIB, Oracle
from tests.privileged import NOBODY, as_nobody, needs_root, open_directory

VM, GROUP = 64055, 994  # as Debian numbers libvirt-qemu and kvm; numbers need no such users
SET = f"{VM}:{GROUP}"


def facts(path: Path) -> tuple[int, int, int]:
    """Return user, group and mode of what is at path."""
    status = path.lstat()
    return status.st_uid, status.st_gid, status.st_mode & 0o7777


@pytest.fixture
def owned(oracle: Oracle) -> Oracle:
    """Return an oracle whose store gives new images to a VM's user."""
    oracle.engine.set_image_owner(SET)
    oracle.engine.set_image_mode("0640")
    return oracle


def all_images(engine: Engine) -> set[Path]:
    return set(engine.root.rglob("*.qcow2"))


@needs_root
def test_every_verb_leaves_all_images_with_the_owner_and_mode_that_are_set(owned: Oracle, tmp_path: Path) -> None:
    engine = owned.engine

    def check() -> None:
        assert {facts(path) for path in all_images(engine)} == {(VM, GROUP, 0o640)}
        owned.check()

    volume = owned.volume()
    check()
    first = owned.create(volume, "first").uuid
    owned.write(volume)
    second = owned.create(volume, "second").uuid
    owned.write(volume, MIB // 2)
    check()
    owned.revert(first)
    check()
    owned.clone(first, "copy")
    owned.clone(first, "linked", linked=True)
    check()
    owned.flatten(volume)
    owned.shrink(second)
    owned.resize(volume, 2 * MIB)
    check()
    owned.delete(second)
    owned.purge()
    check()


@needs_root
def test_so_do_groups_the_trash_deletes_by_each_way_and_repairs(owned: Oracle) -> None:
    engine, volume, other = owned.engine, owned.volume("one"), owned.volume("other")
    group = owned.create_group("both", volume, other).uuid
    owned.write(volume)
    owned.revert_group(group)
    snapshots = []
    for name in "abcd":
        owned.write(volume, MIB // 2)
        snapshots.append(owned.create(volume, name).uuid)
    owned.write(volume)
    item = owned.revert(snapshots[3])
    assert item is not None
    owned.restore_as_snapshot(item, "kept")
    owned.delete(snapshots[1], direction="pull")
    owned.delete(snapshots[2], direction="commit")
    owned.create(volume, "taken back")
    owned.undo(volume)
    owned.delete_volumes(other)
    owned.recover_volume(other)
    image, latest = engine.volume_path(volume), next(s for s in engine.list_snapshots(volume) if s.latest)
    badly = ["-F", "raw", "-b", Path(latest.primary_storage_install_path).name]
    subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", *badly, image], check=True)
    assert engine.repair().left == ()
    before = {path: facts(path) for path in engine.root.rglob("*.json")}
    for path in before:
        if path.with_suffix(".qcow2").exists():
            path.unlink()
    engine.rebuild(engine.root)

    assert {facts(path) for path in all_images(engine)} == {(VM, GROUP, 0o640)}
    assert {path: facts(path) for path in before} == before
    owned.check()


@needs_root
def test_a_full_snapshot_and_imports_get_the_owner_and_mode_too(owned: Oracle, tmp_path: Path) -> None:
    raw, base, top = tmp_path / "raw", tmp_path / "base.qcow2", tmp_path / "top.qcow2"
    raw.write_bytes(b"\5" * MIB)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, base], check=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.name, top], check=True)

    owned.import_raw(raw, "raw")
    owned.import_chain(top, "chain")
    owned.engine.set_depth_limit(2)
    volume = owned.volume()
    for name in "abc":
        owned.write(volume)
        owned.create(volume, name)

    assert {facts(path) for path in all_images(owned.engine)} == {(VM, GROUP, 0o640)}
    owned.check()


@needs_root
def test_the_group_of_the_images_may_read_the_records_and_enter_whatever_the_umask(owned: Oracle) -> None:
    before = os.umask(0o077)
    try:
        volume = owned.volume()
        snapshot = owned.create(volume, "first").uuid
    finally:
        os.umask(before)

    directory = owned.engine.volume_path(volume).parent
    for record in (directory / f"{volume}.json", directory / f"{snapshot}.json"):
        assert facts(record) == (0, GROUP, 0o640)
    for path in (directory, directory.parent):
        assert facts(path) == (0, GROUP, 0o750)


@needs_root
def test_records_keep_the_owner_and_mode_that_an_operator_gave_them(oracle: Oracle) -> None:
    volume = oracle.volume()
    record = oracle.engine.volume_path(volume).with_suffix(".json")
    storage = oracle.engine.root / "primary-storage.json"
    for path in (record, storage):
        os.chown(path, 0, GROUP)
        path.chmod(0o660)

    snapshot = oracle.create(volume, "first").uuid
    oracle.engine.update_volume(volume, description="changed")
    oracle.engine.set_depth_limit(7)

    assert {facts(path) for path in (record, storage, record.with_name(f"{snapshot}.json"))} == {(0, GROUP, 0o660)}
    oracle.check()


def test_without_a_setting_images_belong_to_who_makes_them(oracle: Oracle) -> None:
    volume = oracle.volume()

    assert facts(oracle.engine.volume_path(volume))[:2] == (os.geteuid(), os.getegid())
    assert (oracle.engine.storage.image_owner, oracle.engine.storage.image_mode) == ("default", "default")


@pytest.mark.parametrize(
    "text", ["", "root", ":", "root:", ":root", "nosuchuser:root", "root:nosuchgroup", "a:b:c", "-1:0", "x" * 5000]
)
def test_an_owner_that_nobody_is_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid):
        ownership.owner(text)


@pytest.mark.parametrize("text", ["", "640x", "0o640", "7777", "0777", "755", "0646", "0400", "0240", "-640", "64"])
def test_a_mode_that_no_image_may_have_is_refused(text: str) -> None:
    with pytest.raises(errors.Invalid):
        ownership.mode(text)


def test_modes_are_kept_in_one_form() -> None:
    assert [ownership.mode(text) for text in ("640", "0640", "600", "0660", "default")] == [
        "0640", "0640", "0600", "0660", "default"]  # fmt: skip


@needs_root
def test_the_settings_are_told_and_set_on_the_command_line(oracle: Oracle) -> None:
    run = CommandLine(oracle.engine.root)

    assert run.text("config", "owner") == "default\n"
    assert run.json("config", "owner", "root:root") == {"imageOwner": "root:root"}
    assert run.json("config", "mode", "640") == {"imageMode": "0640"}
    assert (run.text("config", "owner"), run.text("config", "mode")) == ("root:root\n", "0640\n")
    assert "USER:GROUP" in run.error(2, "config", "owner", "somebody")
    assert "0640" in run.error(2, "config", "mode", "0777")
    assert run.json("config", "owner", "default") == {"imageOwner": "default"}


@needs_root
def test_who_is_not_root_can_set_himself_only_and_learns_so_at_once() -> None:
    with open_directory() as directory:
        root = directory / "store"

        def verb() -> str:
            engine = Engine.init(root)
            engine.set_image_owner(f"{NOBODY}:{NOBODY}")
            engine.set_image_mode("0600")
            path = engine.volume_path(engine.create_volume("disk", MIB).uuid)
            assert facts(path) == (NOBODY, NOBODY, 0o600)
            with pytest.raises(errors.Denied, match="only root"):
                engine.set_image_owner("0:0")
            return engine.storage.image_owner

        assert as_nobody(verb) == f"{NOBODY}:{NOBODY}"


@needs_root
def test_a_volume_that_its_setting_can_t_be_given_to_is_not_made(oracle: Oracle) -> None:
    oracle.engine.set_image_owner(SET)
    root = oracle.engine.root
    for path in (root, *root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    root.parent.chmod(0o755)
    with open_directory() as directory:
        root.rename(directory / "store")

        def verb() -> list[str]:
            engine = Engine.open(directory / "store")
            with pytest.raises(errors.Denied, match="config owner default"):
                engine.create_volume("disk", MIB)
            return [str(p) for p in engine.root.rglob("*vol-*")] + os.listdir(engine.root / "journal")

        assert as_nobody(verb) == []


@needs_root
@pytest.mark.parametrize("part", [".", "journal", "dataVolumes"])
def test_a_store_of_another_user_is_refused_with_who_it_is(oracle: Oracle, part: str) -> None:
    os.chown(oracle.engine.root / part, NOBODY, NOBODY)

    said = CommandLine(oracle.engine.root).error(8, "volume", "list")

    assert "belongs to another user, nobody" in said


def _elsewhere(path: Path) -> None:
    """Move a directory away and put a link to it in its place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _writable(path: Path) -> None:
    path.chmod(0o1777)


def _given(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)


@needs_root
@pytest.mark.parametrize(
    "harm, why",
    [(_elsewhere, "symbolic link"), (_writable, "by everybody"), (_given, "another user")],
    ids=["a link", "open to all", "another user's"],
)
@pytest.mark.parametrize("level", [0, 1], ids=["snapshots", "volume"])
def test_a_volume_whose_directory_others_can_change_is_refused_and_the_others_are_not(
    oracle: Oracle, harm: Callable[[Path], None], why: str, level: int
) -> None:
    volume, other = oracle.volume("one"), oracle.volume("other")
    path = oracle.engine.volume_path(volume).parent
    before = oracle.engine.volume_path(volume).read_bytes()
    harm((path, path.parent)[level])
    run = CommandLine(oracle.engine.root)

    code = 8 if harm is _elsewhere and level else 6
    for words in (["snapshot", "create", volume, "new"], ["volume", "show", volume], ["volume", "chain", volume]):
        assert why in run.error(code, *words), words

    listed = run("volume", "list", "--output", "json")
    assert (listed.code, [record["uuid"] for record in json.loads(listed.stdout)["inventories"]]) == (6, [other])
    oracle.create(other, "new")
    assert next(oracle.engine.root.rglob(f"{volume}.qcow2")).read_bytes() == before


@needs_root
@pytest.mark.parametrize("harm, why", [(_writable, "by everybody"), (_given, "another user")], ids=["open", "given"])
def test_nothing_is_done_in_an_account_s_directory_that_others_can_change(
    oracle: Oracle, harm: Callable[[Path], None], why: str
) -> None:
    volume = oracle.volume("one")
    account = oracle.engine.volume_path(volume).parents[2]
    names = sorted(os.listdir(account))
    harm(account)
    run = CommandLine(oracle.engine.root)

    assert why in run.error(6, "snapshot", "create", volume, "new")
    assert why in run.error(8, "volume", "create", "two", "--size", "1M")
    assert sorted(os.listdir(account)) == names


@needs_root
def test_a_root_that_is_a_link_of_another_user_in_a_shared_directory_is_refused(oracle: Oracle, shared: Path) -> None:
    (shared / "store").symlink_to(oracle.engine.root)
    (shared / "new").symlink_to(oracle.engine.root.parent / "victim")
    for name in ("store", "new"):
        os.chown(shared / name, NOBODY, NOBODY, follow_symlinks=False)

    for words in (["volume", "list"], ["rebuild"]):
        assert "another user's link" in CommandLine(shared / "store").error(8, *words)
    assert "another user's link" in CommandLine(shared / "new").error(8, "init")
    assert not (oracle.engine.root.parent / "victim").exists()
    os.chown(shared / "store", 0, 0, follow_symlinks=False)
    assert CommandLine(shared / "store").json("volume", "list")["inventories"] == []


@needs_root
def test_the_directory_above_the_root_may_be_shared_and_sticky() -> None:
    with open_directory() as directory:
        directory.chmod(0o1777)
        engine = Engine.init(directory / "store")

        assert engine.create_volume("disk", MIB).name == "disk"


@needs_root
def test_a_directory_that_everybody_may_write_to_becomes_no_store_and_nothing_is_made_there() -> None:
    with open_directory() as directory:
        with pytest.raises(errors.Denied, match="by everybody"):
            Engine.init(directory)

        assert os.listdir(directory) == []


@pytest.fixture
def shared() -> Iterator[Path]:
    with open_directory() as directory:
        directory.chmod(0o1777)
        yield directory


@needs_root
def test_an_export_follows_no_link_that_another_user_put_into_a_shared_directory(oracle: Oracle, shared: Path) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "first").uuid
    victim = oracle.engine.root.parent / "victim"
    (shared / "out").symlink_to(victim)
    os.chown(shared / "out", NOBODY, NOBODY, follow_symlinks=False)
    run = CommandLine(oracle.engine.root)

    for force in ([], ["--force"]):
        assert "another user's link" in run.error(8, "snapshot", "export", snapshot, str(shared / "out"), *force)

    assert not victim.exists()
    os.chown(shared / "out", 0, 0, follow_symlinks=False)
    run.text("snapshot", "export", snapshot, str(shared / "out"))
    assert images.read(victim) == oracle.expected[snapshot]


@needs_root
def test_no_name_that_is_made_in_a_shared_directory_can_be_guessed(oracle: Oracle, shared: Path) -> None:
    """Each file is made by O_EXCL, without following links, or has no name; twice the same verb makes other names."""
    volume = oracle.volume()
    snapshot = oracle.create(volume, "first").uuid
    made: list[set[str]] = []
    for out in ("one", "two"):
        trace = shared.parent / f"{shared.name}.{out}"
        start = ["strace", "-f", "-qq", "-y", "-s4096", "-e", "trace=open,openat,creat", "-o", str(trace)]
        start += ["snapengine", "--root", str(oracle.engine.root), "snapshot", "export", snapshot, str(shared / out)]
        subprocess.run(start, check=True, env={**os.environ, "TMPDIR": str(shared)}, stdout=subprocess.DEVNULL)
        lines = [line for line in trace.read_text().splitlines() if f'"{shared}/' in line and "O_CREAT" in line]
        trace.unlink()
        assert lines and all("O_EXCL" in line and "O_NOFOLLOW" in line for line in lines), lines
        made.append({line.split('"')[1] for line in lines})
    assert not made[0] & made[1]
