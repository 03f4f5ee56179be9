"""snapengine trash."""

from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests.command_line import CommandLine
from tests.oracle import MIB, Oracle


@pytest.fixture
def run(engine: Engine) -> CommandLine:
    return CommandLine(engine.root)


@pytest.fixture
def items(oracle: Oracle) -> list[str]:
    """Return the trash of a volume called db after two reverts to its snapshot base, oldest first."""
    volume = oracle.volume("db", 2 * MIB)
    base = oracle.create(volume, "base").uuid
    found = []
    for length in (65536, 2**20):
        oracle.write(volume, length=length)
        found.append(str(oracle.revert(base)))
    return found


def names(run: CommandLine) -> set[str]:
    return {item["uuid"] for item in run.json("trash", "list")["inventories"]}


def test_list_shows_the_items(run: CommandLine, items: list[str]) -> None:
    found = run.json("trash", "list")["inventories"]

    assert {item["uuid"] for item in found} == set(items)
    assert all(
        set(item) == {"uuid", "kind", "volumeUuid", "snapshotUuid", "size", "createDate"} for item in found
    )  # fmt: skip
    head, *lines = run.text("trash", "list").splitlines()
    assert head.split() == ["UUID", "KIND", "VOLUME", "SNAPSHOT", "SIZE", "CREATED"]
    assert [line.split()[2] for line in lines] == ["db", "db"] and "1.3 MiB" in "".join(lines)


def test_restore_makes_an_item_active_again(run: CommandLine, oracle: Oracle, items: list[str]) -> None:
    volume = oracle.engine.list_volumes()[0].uuid
    oracle.expected[volume] = oracle.expected.pop(items[0])

    assert run.json("trash", "restore", items[0][:6]) == {}
    assert names(run) == {items[1]}
    oracle.check()
    assert run.text("trash", "restore", items[1]) == ""
    assert "trash list" in run.error(3, "trash", "restore", items[1])
    volume = run.json("volume", "show", "db")["uuid"]
    for word in ("db", volume):
        assert f"that is volume db ({volume}), which is not deleted" in run.error(3, "trash", "restore", word)


def test_restore_as_a_snapshot_makes_a_branch(run: CommandLine, oracle: Oracle, items: list[str]) -> None:
    first = run.json("trash", "restore", items[0], "--as-snapshot", "--name", "kept")
    second = run.json("trash", "restore", items[1], "--as-snapshot")

    assert (first["name"], second["name"]) == ("kept", f"restored-{items[1][:8]}")
    for item, made in zip(items, (first, second), strict=True):
        oracle.expected[made["uuid"]] = oracle.expected.pop(item)
    oracle.check()


def test_a_name_is_for_a_snapshot(run: CommandLine, items: list[str]) -> None:
    assert "--as-snapshot" in run.error(2, "trash", "restore", items[0], "--name", "x")
    run.error(2, "trash", "restore", items[0], "--as-snapshot", "--name", "")


def test_purge_takes_all_or_the_items_named(run: CommandLine, items: list[str]) -> None:
    (gone,) = run.json("trash", "purge", items[0], "--yes")["inventories"]
    assert gone["uuid"] == items[0]
    assert names(run) == {items[1]}

    assert items[1] in run.text("trash", "purge", "-y")
    assert names(run) == set()
    assert run.json("trash", "purge") == {"inventories": []}  # nothing goes, so nothing is asked


def test_purge_leaves_what_is_young_and_what_fits(run: CommandLine, items: list[str]) -> None:
    run.text("trash", "purge", "--older-than", "7d", "--yes")
    run.text("trash", "purge", "--older-than", "9" * 60 + "d", "--yes")
    run.text("trash", "purge", "--down-to", "10G", "--yes")
    assert names(run) == set(items)

    run.text("trash", "purge", "--older-than", "0", "--down-to", "1500K", "--yes")
    assert len(names(run)) == 1


def test_purge_without_a_terminal_needs_yes(run: CommandLine, items: list[str]) -> None:
    line = run.error(2, "trash", "purge")

    assert "2 trash items" in line and "MiB" in line and "--yes" in line
    assert "1 trash item," in run.error(2, "trash", "purge", items[0])
    assert names(run) == set(items)


def test_purge_takes_no_age_without_a_unit_lest_days_are_read_as_seconds(run: CommandLine, items: list[str]) -> None:
    line = run.error(2, "trash", "purge", "--older-than", "7", "--dry-run")

    assert "'7' has no unit; write 7d for days" in line


@pytest.mark.parametrize("words", [("--older-than", "5y"), ("--older-than", "-1"), ("--down-to", "much")])
def test_purge_refuses_bad_limits(run: CommandLine, items: list[str], words: tuple[str, str]) -> None:
    run.error(2, "trash", "purge", *words, "--yes")
    run.error(3, "trash", "purge", "nothing", "--yes")
    assert names(run) == set(items)


def test_a_dry_run_of_purge_tells_the_plan_and_changes_nothing(
    run: CommandLine, engine: Engine, items: list[str]
) -> None:
    found = {item["uuid"]: item["size"] for item in run.json("trash", "list")["inventories"]}
    directory = engine.volume_path(engine.find_volume("db")).parent

    plan = run.json("trash", "purge", "--dry-run")

    assert {Path(step["image"]) for step in plan["plan"]} == {directory / f"{item}.trash.qcow2" for item in items}
    assert {step["verb"] for step in plan["plan"]} == {"purge"}
    assert (plan["bytes"], plan["frees"]) == (0, sum(found.values()))
    assert run.text("trash", "purge", "--dry-run").endswith("nothing was done\n")
    assert names(run) == set(items)
