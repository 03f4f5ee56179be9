"""What verbs sync, in order: nothing is missing, and nothing is synced once more that what follows syncs as well."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.oracle import CLUSTER, Oracle
from tests.test_adopting import chain

BEGIN = ("*.json", "journal")  # the operation's entry, and its name


class Sync(NamedTuple):
    """A sync of a file or directory, and when that was written to last before it."""

    name: str
    modified: int


def syncs(patch: pytest.MonkeyPatch, verb: Callable[[], object]) -> tuple[Sync, ...]:
    """Run verb and return what it syncs itself."""
    found, fsync = list[Sync](), os.fsync

    def noted(fd: int) -> None:
        found.append(Sync(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")), os.fstat(fd).st_mtime_ns))
        fsync(fd)

    with patch.context() as patched:
        patched.setattr(os, "fsync", noted)
        verb()
    return tuple(found)


def synced(patch: pytest.MonkeyPatch, verb: Callable[[], object]) -> tuple[str, ...]:
    """Do as syncs does, and return the names, with * for each uuid."""
    return tuple(re.sub("[0-9a-f]{32}", "*", sync.name) for sync in syncs(patch, verb))


def assert_each_image_once(found: tuple[Sync, ...], oracle: Oracle, volume: str) -> None:
    """Assert that all images of a volume were synced once, when nothing more was written to them."""
    images = [sync for sync in found if sync.name.endswith(".qcow2")]
    there = oracle.engine.volume_path(volume).parent.glob("*.qcow2")
    assert sorted(images) == sorted(Sync(path.name, path.stat().st_mtime_ns) for path in there)


def test_each_image_of_an_imported_chain_is_synced_once_as_it_stays(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    top = chain(tmp_path / "beside", "base.qcow2", "middle.qcow2", "top.qcow2")
    found = syncs(monkeypatch, lambda: made.append(oracle.import_chain(top)))
    assert_each_image_once(found, oracle, *made)
    oracle.check()


@pytest.mark.parametrize("verb", ["import_raw", "clone"])
def test_the_image_of_a_copied_volume_is_synced_once_as_it_stays(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"raw!" * CLUSTER)
    source = oracle.create(oracle.volume(), "first").uuid if verb == "clone" else raw
    made: list[str] = []
    found = syncs(monkeypatch, lambda: made.append(getattr(oracle, verb)(source, "another")))
    assert_each_image_once(found, oracle, *made)
    oracle.check()


def test_a_new_volume_is_synced_from_within_and_its_name_once(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    oracle.volume("first")
    found = synced(monkeypatch, lambda: oracle.volume("another"))
    assert found == (*BEGIN, ".vol-*.*.new", "*.qcow2", "*.json", "snapshots", "acct-*")


def test_the_name_of_a_first_volumes_account_is_synced(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    found = synced(monkeypatch, lambda: oracle.volume("first"))
    assert found.index("dataVolumes") < found.index(".vol-*.*.new"), found


def test_a_purge_removes_at_once_as_no_record_takes_a_name(oracle: Oracle, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = oracle.volume()
    snapshot = oracle.create(volume, "first").uuid
    oracle.write(volume)
    oracle.revert(snapshot)
    assert synced(monkeypatch, oracle.purge) == (*BEGIN, "snapshots")


def test_a_groups_records_are_synced_where_one_is_written_and_not_by_a_revert(
    oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = oracle.volume()
    group = oracle.create_group("first", volume).uuid
    oracle.write(volume)
    assert "groups" not in synced(monkeypatch, lambda: oracle.revert_group(group))
    assert synced(monkeypatch, lambda: oracle.create_group("second", volume)).count("groups") == 2
