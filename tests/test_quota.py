"""An account has no more snapshots than its quota says, however many processes make them; admin has no quota."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from snapengine import errors, intent, journal, quota, store
from snapengine.engine import Engine
from snapengine.inventory import VolumeType
from tests.command_line import CommandLine
from tests.oracle import Oracle

MIB = 2**20


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    oracle = Oracle(Engine.init(tmp_path / "store"))
    oracle.engine.create_account("web")
    return oracle


def volume(oracle: Oracle, name: str, account: str = "web", type: VolumeType = "Data") -> str:
    made = oracle.engine.create_volume(name, MIB, type, account=account).uuid
    oracle.expected[made] = bytes(MIB)
    return made


def test_the_quota_counts_over_all_volumes_of_an_account(oracle: Oracle) -> None:
    one, two = volume(oracle, "one"), volume(oracle, "two", type="Root")
    oracle.engine.set_quota("web", 2)
    oracle.create(one, "a")
    oracle.create(two, "b")

    with pytest.raises(errors.OverQuota, match="account web is 2; with 2 there, 1 more would be too many") as e:
        oracle.engine.create_snapshot(one, "c")

    assert (e.value.exit_code, e.value.code) == (7, "ID.1003")
    oracle.check()


def test_the_default_is_200_and_admin_has_none(oracle: Oracle) -> None:
    quotas = {account.name: account.snapshot_quota for account in oracle.engine.list_accounts()}

    assert quotas == {"admin": None, "web": 200}
    with pytest.raises(errors.Conflict, match="has no quota"):
        oracle.engine.set_quota("admin", 7)


def test_the_snapshots_of_another_account_do_not_count(oracle: Oracle) -> None:
    oracle.engine.set_quota("web", 1)
    own, other = volume(oracle, "own"), volume(oracle, "other", "admin")
    oracle.create(other, "a")
    oracle.create(other, "b")

    oracle.create(own, "c")

    oracle.check()


def test_a_snapshot_made_of_a_trash_item_counts_and_a_revert_does_not(oracle: Oracle) -> None:
    disk = volume(oracle, "disk")
    oracle.engine.set_quota("web", 1)
    snapshot = oracle.create(disk, "a").uuid
    oracle.write(disk)
    item = oracle.revert(snapshot)
    assert item is not None

    with pytest.raises(errors.OverQuota):
        oracle.engine.restore_trash_as_snapshot(item, "b")

    oracle.check()
    oracle.restore(item)
    oracle.check()


def test_room_is_there_again_after_a_delete_and_under_a_higher_quota(oracle: Oracle) -> None:
    disk = volume(oracle, "disk")
    oracle.engine.set_quota("web", 1)
    first = oracle.create(disk, "a").uuid
    oracle.delete(first)
    oracle.create(disk, "b")
    oracle.engine.set_quota("web", 2)
    oracle.create(disk, "c")
    oracle.engine.set_quota("web", 0)

    with pytest.raises(errors.OverQuota):
        oracle.engine.create_snapshot(disk, "d")

    oracle.check()


def test_a_group_that_would_pass_the_quota_is_refused_whole(oracle: Oracle) -> None:
    one, two = volume(oracle, "one"), volume(oracle, "two")
    oracle.engine.set_quota("web", 1)

    with pytest.raises(errors.OverQuota, match="2 more would be too many"):
        oracle.engine.create_group("both", (one, two))

    oracle.check()


def test_concurrent_creates_never_pass_the_quota(oracle: Oracle) -> None:
    volumes = [volume(oracle, f"disk{n}") for n in range(4)]
    oracle.engine.set_quota("web", 5)

    def create(n: int) -> bool:
        try:
            Engine.open(oracle.engine.root).create_snapshot(volumes[n % 4], f"s{n}")
        except errors.OverQuota:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(12)))

    assert sum(made) == 5
    assert len(oracle.engine.list_snapshots()) == 5


def test_an_operation_under_way_counts_once(oracle: Oracle) -> None:
    disk = volume(oracle, "disk")
    engine = oracle.engine
    engine.set_quota("web", 2)
    snapshot = oracle.create(disk, "a").uuid
    below = str(engine.volume_path(disk).parent.relative_to(engine.root))
    ours = intent.Entry(
        uuid="0" * 32, verb="create snapshot", volume_uuid=disk, directory=below, pid=1, started=store.now(),
        schema_version=1, reserved=("1" * 32, snapshot),
    )  # fmt: skip

    with journal.begun(engine.root, ours):
        with pytest.raises(errors.OverQuota, match="with 2 there"):
            quota.require(engine.root, msgspec.structs.replace(ours, reserved=("2" * 32,)))
        quota.require(engine.root, ours)
        journal.drop(engine.root, ours.uuid)


def test_a_damaged_accounts_record_does_not_stand_in_the_way(oracle: Oracle) -> None:
    disk = volume(oracle, "disk")
    (oracle.engine.root / "accounts.json").write_text("{")

    oracle.create(disk, "a")

    assert len(oracle.engine.list_snapshots(disk)) == 1


def test_the_command_line_shows_and_sets_it(oracle: Oracle) -> None:
    run = CommandLine(oracle.engine.root)

    assert run.text("account", "quota", "web") == "200\n"
    assert run.json("account", "quota", "web", "7") == {"snapshotQuota": 7}
    assert (run.text("account", "quota", "admin"), run.json("account", "quota", "admin")["snapshotQuota"]) == (
        "none\n", None,
    )  # fmt: skip
    listed = run.json("account", "list")["inventories"]
    assert {a["name"]: a.get("snapshotQuota") for a in listed} == {"admin": None, "web": 7}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("web", "1000001"), 2, "1000001 is no quota: give a whole number from 0 to 1000000"),
        (("web", "many"), 2, "not a valid int"),
        (("admin", "7"), 4, "has no quota"),
        (("nobody",), 3, "'snapengine account create' makes one"),
        (("nobody", "7"), 3, "'snapengine account create' makes one"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_bad_quota_is_refused(oracle: Oracle, words: tuple[str, ...], code: int, says: str) -> None:
    assert says in CommandLine(oracle.engine.root).error(code, "account", "quota", *words)


def test_the_command_line_ends_with_7_where_the_quota_is_reached(oracle: Oracle) -> None:
    run = CommandLine(oracle.engine.root)
    volume(oracle, "disk")
    oracle.engine.set_quota("web", 0)

    assert "account quota web N" in run.error(7, "snapshot", "create", "disk", "a")
