"""What may happen between a crash in a verb on a group and its recovery: all or none, and if not, nothing is lost."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import errors, lock
from snapengine.engine import Engine
from tests import images, qemu
from tests.crash import strace
from tests.crash.bench import Bench, all_right
from tests.crash.strace import Kill, Point
from tests.oracle import CLUSTER, MIB, Oracle, poke

pytestmark = pytest.mark.crash

LEFT_OUT = "finished but for volume {}, which was used before it could be; nothing was lost"


class Pair(NamedTuple):
    """Two volumes, a sorted before b, and a group of both to which something was added since."""

    oracle: Oracle
    a: str
    b: str
    group: str

    def path(self, volume: str) -> Path:
        return self.oracle.engine.volume_path(volume)

    def recover(self) -> list[str]:
        """Open the store again and return what became of what was unfinished."""
        self.oracle.engine = Engine.open(self.oracle.engine.root)
        return [found.outcome for found in self.oracle.engine.recovered]

    def poke(self, volume: str, pattern: int) -> None:
        """Write to a volume as a guest does."""
        poke(self.path(volume), pattern, 4 * CLUSTER)
        self._expect(volume, pattern)

    def poke_running(self, machine: qemu.Machine, volume: str, pattern: int) -> None:
        """Do so in the machine that has the volume."""
        machine.poke(pattern, 4 * CLUSTER, CLUSTER)
        machine.command("human-monitor-command", **{"command-line": 'qemu-io disk "flush"'})
        self._expect(volume, pattern)

    def _expect(self, volume: str, pattern: int) -> None:
        old = self.oracle.expected[volume]
        self.oracle.expected[volume] = old[: 4 * CLUSTER] + bytes([pattern]) * CLUSTER + old[5 * CLUSTER :]

    def member(self, volume: str) -> str:
        """Return the snapshot of a volume in the group."""
        refs = self.oracle.engine.get_group(self.group).volume_snapshot_refs
        return next(ref.volume_snapshot_uuid for ref in refs if ref.volume_uuid == volume)

    def check_undone(self) -> None:
        """See that the volumes hold what guests wrote, that nothing else is left, and that both can go on."""
        self.oracle.check()
        assert [group.uuid for group in self.oracle.engine.list_groups()] == [self.group]
        assert self.oracle.engine.list_trash() == ()
        self.oracle.create_group("next", self.a, self.b)
        self.oracle.check()


@pytest.fixture
def pair(oracle: Oracle) -> Pair:
    """Return two volumes and a group of both."""
    a, b = oracle.volume("a", uuid="a" * 12 + "4" + "a" * 19), oracle.volume("b", uuid="b" * 12 + "4" + "b" * 19)
    for volume in (a, b):
        oracle.write(volume)
    group = oracle.create_group("before", a, b).uuid
    for volume in (a, b):
        oracle.write(volume, CLUSTER)
    return Pair(oracle, a, b, group)


def create(root: Path, pair: tuple[str, str], group: str) -> None:
    Engine.open(root).create_group("new", pair)


def revert(root: Path, pair: tuple[str, str], group: str) -> None:
    Engine.open(root).revert_group(group)


VERBS: dict[str, Callable[[Path, tuple[str, str], str], None]] = {"create": create, "revert": revert}


def crash(pair: Pair, verb: str, nth: int) -> None:
    """Kill a verb at its nth rename: the first decides, the second is that of a, the third that of b."""
    root = pair.oracle.engine.root
    cut_off = partial(VERBS[verb], root, (pair.a, pair.b), pair.group)
    strace.killed_within(cut_off, root, Point("rename", nth))


def adopt(pair: Pair, *volumes: str) -> None:
    """Have the model take in what the verb has made of these volumes, which were done before the crash."""
    engine, expected = pair.oracle.engine, pair.oracle.expected
    for snapshot in engine.list_snapshots():
        if snapshot.uuid not in expected:
            assert snapshot.volume_uuid in volumes
            expected[snapshot.uuid] = expected[snapshot.volume_uuid]
    for item in engine.list_trash():
        if item.uuid not in expected:
            expected[item.uuid] = expected[item.volume_uuid]
    for ref in engine.get_group(pair.group).volume_snapshot_refs:
        if engine.list_trash() and ref.volume_uuid in volumes:
            expected[ref.volume_uuid] = expected[ref.volume_snapshot_uuid]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(("nth", "outcome"), [(1, "undone"), (2, "finished"), (3, "finished"), (4, "finished")])
def test_all_members_are_done_or_none_is(pair: Pair, verb: str, nth: int, outcome: str) -> None:
    crash(pair, verb, nth)

    assert pair.recover() == [outcome]
    if nth > 1:
        adopt(pair, pair.a, pair.b)
    pair.oracle.check()
    assert len(pair.oracle.engine.list_groups()) == (2 if verb == "create" and nth > 1 else 1)
    pair.oracle.create_group("next", pair.a, pair.b)
    pair.oracle.check()


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("changed", ["a", "b"])
def test_where_a_guest_has_written_before_any_member_was_done_none_is(pair: Pair, verb: str, changed: str) -> None:
    crash(pair, verb, 2)
    pair.poke(pair.a if changed == "a" else pair.b, 0xEE)

    assert pair.recover() == ["undone"]
    pair.oracle.check()


@pytest.mark.parametrize("verb", VERBS)
def test_where_a_guest_has_written_to_the_last_member_the_first_goes_back_too(pair: Pair, verb: str) -> None:
    crash(pair, verb, 3)
    pair.poke(pair.b, 0xEE)

    assert pair.recover() == ["undone"]
    pair.check_undone()


@pytest.mark.parametrize("changed", ["a and b", "b, while a runs"])
def test_a_group_is_undone_with_all_that_guests_wrote_to_both_volumes_since(pair: Pair, changed: str) -> None:
    crash(pair, "create", 3)
    pair.poke(pair.b, 0xEE)
    if changed == "a and b":
        pair.poke(pair.a, 0xDD)
    else:
        with qemu.running(pair.path(pair.a)) as machine:
            (outcome,) = pair.recover()
            assert outcome.startswith(f"left as it is: volume {pair.a} (a) is in use: ")
            pair.poke_running(machine, pair.a, 0xDD)
            with pytest.raises(errors.InUse, match="qemu"):
                pair.oracle.engine.update_volume(pair.b, name="renamed")

    assert pair.recover() == ["undone"]
    pair.check_undone()


@pytest.mark.parametrize(
    "point", [Point("unlink", 4), Point("pwrite64", 4), Point("rename", 1), Point("unlink", 9), Point("unlink", 12)]
)
def test_an_undo_that_is_killed_itself_loses_nothing_that_guests_wrote(pair: Pair, point: Point) -> None:
    crash(pair, "create", 3)
    pair.poke(pair.a, 0xDD)
    pair.poke(pair.b, 0xEE)
    root = pair.oracle.engine.root
    if point.name == "pwrite64":  # of a tool
        strace.killed(partial(Engine.open, root), root, Kill(point, True), patience=4)
    else:
        strace.killed_within(partial(Engine.open, root), root, point)

    for volume in (pair.a, pair.b):
        assert images.read(pair.path(volume)) == pair.oracle.expected[volume]
    pair.recover()
    pair.check_undone()


def test_a_revert_whose_members_were_both_used_is_finished_for_the_one_and_told_for_the_other(pair: Pair) -> None:
    crash(pair, "revert", 3)
    adopted = pair.oracle.expected[pair.a]
    pair.oracle.expected[pair.a] = pair.oracle.expected[pair.member(pair.a)]
    pair.poke(pair.a, 0xDD)
    pair.poke(pair.b, 0xEE)

    assert pair.recover() == [LEFT_OUT.format(pair.b)]
    (item,) = pair.oracle.engine.list_trash()
    pair.oracle.expected[item.uuid] = adopted
    pair.oracle.check()
    pair.oracle.revert_group(pair.group)
    pair.oracle.check()


def test_a_full_member_stays_where_the_other_one_was_used_since_and_the_group_tells(pair: Pair) -> None:
    pair.oracle.engine.set_depth_limit(2)
    for volume in (pair.a, pair.b):
        pair.oracle.create(volume, "at the limit")
    crash(pair, "create", 3)
    pair.poke(pair.b, 0xEE)

    assert pair.recover() == [LEFT_OUT.format(pair.b)]
    adopt(pair, pair.a)
    pair.oracle.check()
    (new,) = [group for group in pair.oracle.engine.list_groups() if group.name == "new"]
    assert [ref.snapshot_deleted for ref in new.volume_snapshot_refs] == [False, True]
    assert not pair.oracle.engine.groups_available((new.uuid,))[0].available


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("nth", [2, 3])
def test_a_vm_that_runs_by_then_keeps_its_volume_as_it_is(pair: Pair, verb: str, nth: int) -> None:
    crash(pair, verb, nth)
    with qemu.running(pair.path(pair.b)) as machine:
        assert pair.recover() == ["undone"]
        pair.poke_running(machine, pair.b, 0xDD)

    pair.check_undone()
    assert len(pair.oracle.expected[pair.b]) == MIB


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_verb_on_one_volume_waits_until_what_is_left_of_a_group_can_be_settled(pair: Pair, nth: int) -> None:
    crash(pair, "create", nth)
    engine = Engine.open(pair.oracle.engine.root, recover=False, wait=0.2)
    with lock.exclusive(pair.path(pair.b).parents[1], "merge"):
        for recovered in Engine.open(engine.root).recovered:
            assert recovered.outcome == "left to the operation that has the volume now"
        with pytest.raises(errors.Locked, match="merge"):
            engine.update_volume(pair.a, name="renamed")
        assert engine.get_volume(pair.a).name == "a"
    engine.update_volume(pair.a, name="renamed")

    assert pair.recover() == []
    if nth > 1:
        adopt(pair, pair.a, pair.b)
    pair.oracle.check()


def delete(root: Path, group: str) -> None:
    Engine.open(root).delete_group(group)


@pytest.mark.parametrize("point", [Point("rename", 1), Point("unlink", 1), Point("rename", 2), Point("unlink", 5)])
def test_a_second_delete_goes_on_where_a_kill_has_cut_off_the_first(pair: Pair, point: Point) -> None:
    oracle, root = pair.oracle, pair.oracle.engine.root
    members = [ref.volume_snapshot_uuid for ref in oracle.engine.get_group(pair.group).volume_snapshot_refs]
    strace.killed_within(partial(delete, root, pair.group), root, point)

    pair.recover()
    there = {snapshot.uuid for snapshot in oracle.engine.list_snapshots()}
    for uuid in members:
        if uuid not in there:
            del oracle.expected[uuid]
    oracle.check()
    assert oracle.delete_group(pair.group) == [True, True]
    assert oracle.engine.list_snapshots() == ()
    assert oracle.engine.list_groups() == ()
    oracle.check()


@pytest.mark.parametrize("verb", ["create a group", "create a group, one full", "revert to a group", "ungroup"])
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_recovery_that_is_killed_itself_is_made_good_by_the_next(bench: Bench, verb: str, nth: int) -> None:
    all_right(bench.kills(bench.crashed(bench.prepared(verb), Kill(Point("rename", nth), True))))
