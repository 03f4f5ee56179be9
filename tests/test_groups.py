"""Groups: several volumes in one snapshot, all of them or none."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import errors, journal, lock, settle
from snapengine.engine import Engine
from snapengine.roster import Group
from tests import qemu
from tests.oracle import CLUSTER, MIB, Oracle

GIVEN = "0123456789ab4def8123456789abcdef"


class Machine(NamedTuple):
    """A VM with a root volume and a data volume, each with something in it."""

    oracle: Oracle
    root: str
    data: str

    @property
    def engine(self) -> Engine:
        return self.oracle.engine

    def group(self, name: str = "before") -> Group:
        """Snapshot both volumes, and write to them."""
        group = self.oracle.create_group(name, vm="web")
        self.write()
        return group

    def write(self) -> None:
        """Write something new to both volumes."""
        self.oracle.write(self.root)
        self.oracle.write(self.data, CLUSTER)


@pytest.fixture
def machine(oracle: Oracle) -> Machine:
    """Return a VM with two volumes."""
    root, data = oracle.volume("system", type="Root"), oracle.volume("files", 2 * MIB)
    for volume in (root, data):
        oracle.engine.attach_volume(volume, "web")
    made = Machine(oracle, root, data)
    made.write()
    return made


def test_a_group_holds_a_snapshot_of_each_volume_of_the_vm(machine: Machine) -> None:
    group = machine.group("before")

    machine.oracle.check()
    assert (group.name, group.snapshot_count) == ("before", 2)
    assert group.vm_instance_uuid == machine.engine.get_volume(machine.root).vm_instance_uuid
    for ref, volume in zip(group.volume_snapshot_refs, (machine.root, machine.data), strict=True):
        snapshot = machine.engine.get_snapshot(ref.volume_snapshot_uuid)
        inventory = machine.engine.get_volume(volume)
        assert (snapshot.volume_uuid, snapshot.group_uuid) == (volume, group.uuid)
        assert snapshot.name == ref.volume_snapshot_name == f"before-{inventory.name}"
        assert (ref.volume_uuid, ref.volume_name, ref.volume_type) == (volume, inventory.name, inventory.type)
        assert (ref.device_id, ref.snapshot_deleted) == (inventory.device_id, False)
        assert ref.volume_snapshot_install_path == snapshot.primary_storage_install_path
        assert ref.volume_snapshot_group_uuid == group.uuid
    assert machine.engine.list_groups() == (group,)


def test_a_group_of_named_volumes_has_no_vm(machine: Machine) -> None:
    group = machine.oracle.create_group("pair", machine.data, machine.root)

    assert group.vm_instance_uuid is None
    assert [ref.volume_uuid for ref in group.volume_snapshot_refs] == [machine.data, machine.root]
    machine.oracle.check()


def test_a_group_gets_the_uuid_that_is_given_and_none_that_is_in_use(machine: Machine) -> None:
    snapshot = machine.oracle.create(machine.root, "alone").uuid
    assert machine.oracle.create_group("pair", machine.root, machine.data, uuid=GIVEN).uuid == GIVEN
    assert {s.group_uuid for s in machine.engine.list_snapshots()} == {None, GIVEN}

    for used in (GIVEN, snapshot, machine.data):
        with pytest.raises(errors.Invalid, match=f"the uuid {used} is in use"):
            machine.engine.create_group("again", (machine.root,), uuid=used)
    with pytest.raises(errors.Invalid, match=f"the uuid {GIVEN} is in use"):
        machine.engine.create_snapshot(machine.data, "again", uuid=GIVEN)
    machine.oracle.check()


def test_a_group_that_is_done_is_not_taken_back_by_who_is_interrupted_just_then(machine: Machine) -> None:
    engine, root = machine.engine, machine.engine.root
    machine.oracle.engine = engine.asked_by("ab12", GIVEN)
    group = machine.group()
    entry = journal.ended(root, "ab12")
    machine.oracle.engine = engine

    assert settle.settle(root, entry) == settle.FINISHED

    assert engine.get_group(GIVEN) == group
    machine.oracle.check()


def test_a_member_at_the_depth_limit_is_a_full_snapshot(machine: Machine) -> None:
    machine.engine.set_depth_limit(2)
    for name in ("one", "two"):
        machine.oracle.create(machine.data, name)
    group = machine.group()

    distances = [machine.engine.get_snapshot(r.volume_snapshot_uuid).distance for r in group.volume_snapshot_refs]
    assert distances == [1, 1]
    assert len(machine.engine.snapshot_trees(machine.data)) == 2
    machine.oracle.check()


def test_a_group_is_reverted_to_again_and_again(machine: Machine) -> None:
    first, second = machine.group("first"), machine.group("second")
    for group in (first, first, second, first):
        machine.oracle.revert_group(group.uuid)
        machine.oracle.check()
        machine.write()
    machine.oracle.check()


def test_a_group_and_single_snapshots_go_together(machine: Machine) -> None:
    group = machine.group()
    machine.oracle.create(machine.root, "alone")
    machine.oracle.revert(group.volume_snapshot_refs[1].volume_snapshot_uuid)
    machine.oracle.revert_group(group.uuid)
    machine.oracle.create(machine.data, "later")
    machine.oracle.check()


def test_an_update_changes_the_group_alone(machine: Machine) -> None:
    group = machine.group()
    changed = machine.engine.update_group(group.uuid, name="renamed", description="why")

    assert (changed.name, changed.description) == ("renamed", "why")
    assert machine.engine.get_group(group.uuid) == changed
    assert changed.volume_snapshot_refs == group.volume_snapshot_refs
    machine.oracle.check()


def test_ungrouped_snapshots_stay(machine: Machine) -> None:
    group = machine.group()
    machine.engine.ungroup(group.uuid)

    assert machine.engine.list_groups() == ()
    assert {s.group_uuid for s in machine.engine.list_snapshots()} == {None}
    machine.oracle.revert(group.volume_snapshot_refs[0].volume_snapshot_uuid)
    machine.oracle.check()
    with pytest.raises(errors.NotFound):
        machine.engine.ungroup(group.uuid)


def test_what_keeps_a_group_from_being_reverted_to_is_told_before_and_then_nothing_is_changed(machine: Machine) -> None:
    group = machine.group()
    other = machine.oracle.volume("another")

    def reason() -> str:
        (told,) = machine.engine.groups_available((group.uuid,))
        assert told.available == (not told.reason)
        if told.reason:
            with pytest.raises(errors.Conflict) as refused:
                machine.engine.revert_group(group.uuid)
            assert told.reason in str(refused.value)
            machine.oracle.check()
        return told.reason

    assert reason() == ""
    machine.engine.attach_volume(other, "web")
    assert reason() == f"volume {other} (another) was attached to the VM since"
    machine.engine.detach_volume(machine.data)
    assert "(files) was detached from the VM; " in reason()
    machine.engine.detach_volume(other)
    machine.engine.attach_volume(machine.data, "mail")
    assert reason() == f"volume {machine.data} (files) was detached from the VM"
    machine.engine.detach_volume(machine.data)
    machine.engine.attach_volume(machine.data, "web")
    assert reason() == ""
    machine.oracle.revert_group(group.uuid)
    machine.oracle.check()


def test_a_deleted_member_is_told_and_keeps_the_group_from_being_reverted_to(machine: Machine) -> None:
    group = machine.group()
    gone, stays = group.volume_snapshot_refs
    machine.oracle.delete(gone.volume_snapshot_uuid)

    shown = machine.engine.get_group(group.uuid)
    assert [ref.snapshot_deleted for ref in shown.volume_snapshot_refs] == [True, False]
    assert shown.volume_snapshot_refs[0].volume_snapshot_install_path is None
    (told,) = machine.engine.groups_available((group.uuid,))
    snapshot = f"snapshot {gone.volume_snapshot_uuid} ({gone.volume_snapshot_name})"
    assert told.reason == f"{snapshot} of volume {machine.root} (system) was deleted"
    with pytest.raises(errors.Conflict, match="was deleted; each snapshot that is left"):
        machine.engine.revert_group(group.uuid)
    machine.oracle.check()
    assert machine.oracle.delete_group(group.uuid) == [True, True]
    machine.oracle.check()


def test_a_group_goes_with_the_last_of_its_snapshots(machine: Machine) -> None:
    first, second = machine.group("first"), machine.group("second")

    assert machine.oracle.delete_group(first.uuid) == [True, True]
    machine.oracle.check()
    assert machine.engine.list_groups() == (machine.engine.get_group(second.uuid),)
    with pytest.raises(errors.NotFound):
        machine.engine.delete_group(first.uuid)
    machine.oracle.revert_group(second.uuid)
    machine.oracle.check()


def test_a_delete_goes_on_with_what_one_in_use_has_left(machine: Machine) -> None:
    group = machine.group()
    with qemu.running(machine.engine.volume_path(machine.data)):
        with pytest.raises(errors.InUse):
            machine.engine.preview_delete_group(group.uuid)
        results = machine.engine.delete_group(group.uuid)

    assert [(result.success, result.error and result.error.code) for result in results] == [
        (True, None),
        (False, "VOLUME.1000"),
    ]
    del machine.oracle.expected[results[0].snapshot_uuid]
    machine.oracle.check()
    assert len(machine.engine.list_groups()) == 1
    assert machine.oracle.delete_group(group.uuid) == [True, True]
    assert machine.engine.list_groups() == ()
    machine.oracle.check()


def test_where_nothing_can_be_deleted_that_is_an_error_and_nothing_is_changed(machine: Machine) -> None:
    group = machine.oracle.create_group("one", machine.data)
    with qemu.running(machine.engine.volume_path(machine.data)), pytest.raises(errors.InUse, match="qemu"):
        machine.engine.delete_group(group.uuid)
    machine.oracle.check()


@pytest.mark.parametrize("verb", ["ungroup", "delete"])
def test_a_group_with_a_volume_in_the_trash_stays(machine: Machine, verb: str) -> None:
    """It would come back with snapshots that name a group which nobody knows."""
    group = machine.group()
    directory = machine.engine.volume_path(machine.data).parents[1]
    trash = machine.engine.root / "trash" / directory.parent.name / directory.name
    trash.parent.mkdir(parents=True)
    directory.rename(trash)
    verbs: dict[str, Callable[[str], object]] = {
        "ungroup": machine.engine.ungroup,
        "delete": machine.engine.delete_group,
    }

    with pytest.raises(errors.Conflict, match="lies in the trash; recover or expunge it first"):
        verbs[verb](group.uuid)
    assert "(files) was deleted" in machine.engine.groups_available((group.uuid,))[0].reason
    trash.rename(directory)
    machine.oracle.check()


def test_a_group_without_a_vm_does_not_care_what_is_attached(machine: Machine) -> None:
    group = machine.oracle.create_group("pair", machine.root, machine.data)
    machine.engine.detach_volume(machine.data)
    machine.engine.attach_volume(machine.oracle.volume("another"), "web")

    assert machine.engine.groups_available((group.uuid,))[0].available
    machine.oracle.revert_group(group.uuid)
    machine.oracle.check()


def test_groups_of_the_same_volumes_in_any_order_are_made_at_once_without_a_deadlock(machine: Machine) -> None:
    orders = [(machine.root, machine.data), (machine.data, machine.root)] * 4
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda order: machine.engine.create_group("g", order), orders))

    for group in made:
        for ref in group.volume_snapshot_refs:
            machine.oracle.expected[ref.volume_snapshot_uuid] = machine.oracle.expected[ref.volume_uuid]
    machine.oracle.check()
    trees = [machine.engine.list_snapshots(volume) for volume in (machine.root, machine.data)]
    lines = [[s.group_uuid for s in sorted(found, key=lambda s: s.distance)] for found in trees]
    assert lines[0] == lines[1], "a group is before another one on the one volume and after it on the other"


def test_a_group_is_found_with_its_paths_where_the_store_was_moved_to(machine: Machine, tmp_path: Path) -> None:
    group = machine.group()
    moved = machine.engine.root.rename(tmp_path / "moved")
    machine.oracle.engine = Engine.open(moved)

    for ref in machine.engine.get_group(group.uuid).volume_snapshot_refs:
        assert str(ref.volume_snapshot_install_path).startswith(f"{moved}/")
    machine.oracle.revert_group(group.uuid)
    machine.oracle.create_group("next", vm="web")
    machine.oracle.check()


def test_the_members_of_a_group_count_for_the_quota_and_go_together_or_not_at_all(oracle: Oracle) -> None:
    engine = oracle.engine
    engine.create_account("guest")
    engine.set_quota("guest", 3)
    volumes = [engine.create_volume(name, MIB, account="guest").uuid for name in "ab"]
    oracle.expected |= dict.fromkeys(volumes, bytes(MIB))
    oracle.create_group("first", *volumes)

    with pytest.raises(errors.NoSpace, match="quota"):
        engine.create_group("second", tuple(volumes))
    oracle.check()
    oracle.create_group("second", volumes[0])
    oracle.check()


Refused = tuple[Callable[[Machine], object], type[errors.Error], str]

REFUSED: dict[str, Refused] = {
    "neither": (lambda m: m.engine.create_group("g"), errors.Invalid, "give either of both"),
    "both": (lambda m: m.engine.create_group("g", (m.root,), vm="web"), errors.Invalid, "give either of both"),
    "twice": (lambda m: m.engine.create_group("g", (m.root, m.root)), errors.Invalid, "more than once"),
    "no name": (lambda m: m.engine.create_group(" ", (m.root,)), errors.Invalid, "1 to 255"),
    "a name too long": (lambda m: m.engine.create_group("g" * 250, (m.root,)), errors.Invalid, "shorter name"),
    "no uuid": (lambda m: m.engine.create_group("g", (m.root,), uuid="../g"), errors.Invalid, "is not a uuid"),
    "no volume": (lambda m: m.engine.create_group("g", (m.root, "f" * 32)), errors.NotFound, "volume list"),
    "no VM": (lambda m: m.engine.create_group("g", vm="mail"), errors.NotFound, "no volume is attached"),
    "show": (lambda m: m.engine.get_group("f" * 32), errors.NotFound, "group list"),
    "a path": (lambda m: m.engine.get_group("../journal"), errors.NotFound, "group list"),
    "revert": (lambda m: m.engine.revert_group("f" * 32), errors.NotFound, "group list"),
    "update": (lambda m: m.engine.update_group("f" * 32, name="n"), errors.NotFound, "group list"),
    "ungroup": (lambda m: m.engine.ungroup("f" * 32), errors.NotFound, "group list"),
    "delete": (lambda m: m.engine.delete_group("f" * 32), errors.NotFound, "group list"),
    "availability": (lambda m: m.engine.groups_available(("f" * 32,)), errors.NotFound, "group list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_and_changes_nothing(machine: Machine, name: str) -> None:
    verb, kind, said = REFUSED[name]
    with pytest.raises(kind, match=said):
        verb(machine)
    machine.oracle.check()


Verb = Callable[[Machine, str], object]

VERBS: dict[str, Verb] = {
    "create": lambda m, g: m.engine.create_group("again", vm="web"),
    "revert": lambda m, g: m.engine.revert_group(g),
}


@pytest.mark.parametrize("verb", VERBS)
def test_one_volume_in_use_keeps_all_as_they_are(machine: Machine, verb: str) -> None:
    group = machine.group()
    with qemu.running(machine.engine.volume_path(machine.data)), pytest.raises(errors.InUse, match="qemu"):
        VERBS[verb](machine, group.uuid)
    machine.oracle.check()
    VERBS["create"](machine, group.uuid)


@pytest.mark.parametrize("verb", [*VERBS, "ungroup", "update"])
def test_one_locked_volume_keeps_all_as_they_are(machine: Machine, verb: str) -> None:
    group = machine.group()
    engine = machine.oracle.engine = Engine.open(machine.engine.root, wait=0)
    verbs: dict[str, Verb] = {
        **VERBS,
        "ungroup": lambda m, g: engine.ungroup(g),
        "update": lambda m, g: engine.update_group(g, name="new"),
    }
    with lock.exclusive(engine.volume_path(machine.data).parents[1], "merge"):
        with pytest.raises(errors.Locked, match="merge"):
            verbs[verb](machine, group.uuid)
    machine.oracle.check()


def test_an_account_freezes_none_but_its_own_volumes(engine: Engine) -> None:
    engine.create_account("web")
    web = engine.get_account("web").uuid
    theirs, mine = (engine.create_volume("v", MIB, account=account).uuid for account in (web, "admin"))
    for volume in (theirs, mine):
        engine.attach_volume(volume, "vm")

    for chosen, vm in (((), "vm"), ((theirs, mine), None)):
        with pytest.raises(errors.Conflict, match="permission denied"):
            engine.create_group("g", chosen, vm=vm, only=web)

    assert engine.list_groups() == () and engine.list_snapshots(theirs) == ()
    engine.detach_volume(mine)
    assert engine.create_group("g", vm="vm", only=web).snapshot_count == 1
