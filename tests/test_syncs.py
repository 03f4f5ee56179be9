"""What verbs sync, in order: nothing is missing, and nothing is synced once more that what follows syncs as well."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.oracle import CLUSTER, Oracle
from tests.test_adopting import chain

BEGIN = ("*.json", "journal")  # the operation's entry, and its name


def synced(patch: pytest.MonkeyPatch, verb: Callable[[], object]) -> tuple[str, ...]:
    """Run verb and return the names of the files and directories that it syncs itself, with * for each uuid."""
    found, fsync = [], os.fsync

    def noted(fd: int) -> None:
        found.append(re.sub("[0-9a-f]{32}", "*", os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
        fsync(fd)

    with patch.context() as patched:
        patched.setattr(os, "fsync", noted)
        verb()
    return tuple(found)


def test_each_image_of_an_imported_chain_is_synced_once(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = chain(tmp_path / "beside", "base.qcow2", "top.qcow2")
    found = synced(monkeypatch, lambda: oracle.import_chain(top))
    assert found.count("*.qcow2") == 2, found
    oracle.check()


@pytest.mark.parametrize("verb", ["import_raw", "clone"])
def test_the_image_of_a_copied_volume_is_synced_once(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"raw!" * CLUSTER)
    source = oracle.create(oracle.volume(), "first").uuid if verb == "clone" else raw
    found = synced(monkeypatch, lambda: getattr(oracle, verb)(source, "another"))
    assert found.count("*.qcow2") == 1, found
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
