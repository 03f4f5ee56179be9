"""Random walks over the verbs with the full check after every step; a failure prints the shortest action list."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from snapengine import errors
from snapengine.cost import Direction
from snapengine.engine import Engine
from tests import check
from tests.oracle import MIB, Oracle

SIZE = MIB
VOLUMES = 4
picks = st.integers(min_value=0, max_value=2**16)


class Walk(RuleBasedStateMachine):
    """Two volumes, root and data, and clones of them: each snapshot and trash item must hold what the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp()
        self.oracle = Oracle(Engine.init(Path(self.directory) / "storage", depth_limit=3))
        self.volumes = [self.oracle.volume("root", SIZE, "Root"), self.oracle.volume("data", SIZE)]
        self.count = 0
        self.deepest = 3

    def teardown(self) -> None:
        shutil.rmtree(self.directory)

    @property
    def engine(self) -> Engine:
        return self.oracle.engine

    def _volume(self, pick: int) -> str:
        return self.volumes[pick % len(self.volumes)]

    def _snapshot(self, pick: int) -> str:
        snapshots = self.engine.list_snapshots()
        return snapshots[pick % len(snapshots)].uuid

    def _group(self, pick: int) -> str:
        groups = self.engine.list_groups()
        return groups[pick % len(groups)].uuid

    def _name(self) -> str:
        self.count += 1
        return f"s{self.count}"

    @initialize(start=st.integers(min_value=0, max_value=15))
    def begin(self, start: int) -> None:
        for volume in self.volumes:
            self.oracle.write(volume, offset=start * 65536, length=4096)

    @rule(pick=picks, start=st.integers(min_value=0, max_value=2047), sectors=st.integers(min_value=1, max_value=300))
    def write(self, pick: int, start: int, sectors: int) -> None:
        length = min(sectors * 512, SIZE - start * 512)
        self.oracle.write(self._volume(pick), offset=start * 512, length=length)

    @rule(pick=picks, sectors=st.integers(min_value=0, max_value=300))
    def resize(self, pick: int, sectors: int) -> None:
        volume = self._volume(pick)
        self.oracle.resize(volume, min(self.engine.get_volume(volume).size + sectors * 512, 3 * SIZE))

    @rule(pick=picks)
    def delete_and_recover(self, pick: int) -> None:
        volume = self._volume(pick)
        if self.engine.linked_clones(volume):
            return
        self.oracle.delete_volumes(volume)
        check.full(self.engine, self.oracle.expected, depth=self.deepest)
        self.oracle.recover_volume(volume)

    @rule(pick=picks)
    def create(self, pick: int) -> None:
        self.oracle.create(self._volume(pick), self._name())

    @precondition(lambda self: self.engine.list_snapshots())
    @rule(pick=picks, direction=st.sampled_from(["auto", "pull", "commit"]))
    def delete(self, pick: int, direction: Direction) -> None:
        self._delete({self._snapshot(pick)}, direction)

    @precondition(lambda self: self.engine.list_snapshots())
    @rule(pick=picks, bits=picks, direction=st.sampled_from(["auto", "pull", "commit"]))
    def delete_several(self, pick: int, bits: int, direction: Direction) -> None:
        listed = self.engine.list_snapshots(self.engine.get_snapshot(self._snapshot(pick)).volume_uuid)
        self._delete({snapshot.uuid for place, snapshot in enumerate(listed) if bits >> place & 1}, direction)

    def _delete(self, chosen: set[str], direction: Direction) -> None:
        """Delete snapshots but those that linked clones stand on; a commit may be refused, then all stays."""
        chosen -= self.oracle.bases()
        if not chosen:
            return
        try:
            failed = self.oracle.delete_some(*chosen, direction=direction)
        except errors.Conflict as e:
            failed = {"all": str(e)}
        assert not failed or direction == "commit"
        assert all("can't be committed" in why for why in failed.values())

    @precondition(lambda self: self.engine.list_snapshots())
    @rule(pick=picks)
    def delete_descendants(self, pick: int) -> None:
        snapshot = self._snapshot(pick)
        if not self.oracle.above(snapshot) & self.oracle.bases():
            self.oracle.delete(snapshot, descendants=True)

    @rule(pick=picks)
    def undo(self, pick: int) -> None:
        try:
            self.oracle.undo(self._volume(pick))
        except errors.Conflict as e:
            assert any(why in str(e) for why in ("stands on no snapshot", "stands on it", "base of linked clones"))

    @precondition(lambda self: self.engine.list_snapshots())
    @rule(pick=picks)
    def shrink(self, pick: int) -> None:
        self.oracle.shrink(self._snapshot(pick))

    @rule(pick=picks)
    def flatten(self, pick: int) -> None:
        self.oracle.flatten(self._volume(pick))

    @precondition(lambda self: self.engine.list_snapshots() and len(self.volumes) < VOLUMES)
    @rule(pick=picks, linked=st.booleans())
    def clone(self, pick: int, linked: bool) -> None:
        self.volumes.append(self.oracle.clone(self._snapshot(pick), self._name(), linked=linked))

    @precondition(lambda self: self.engine.list_snapshots())
    @rule(pick=picks)
    def revert(self, pick: int) -> None:
        self.oracle.revert(self._snapshot(pick))

    @precondition(lambda self: self.engine.list_snapshots())
    @rule(pick=picks, name=st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=255))
    def update(self, pick: int, name: str) -> None:
        uuid = self._snapshot(pick)
        assert self.engine.update_snapshot(uuid, name=name).name == name == self.engine.get_snapshot(uuid).name

    @precondition(lambda self: self.engine.list_trash())
    @rule(pick=picks)
    def restore(self, pick: int) -> None:
        items = self.engine.list_trash()
        self.oracle.restore(items[pick % len(items)].uuid)

    @precondition(lambda self: self.engine.list_trash())
    @rule(pick=picks)
    def keep(self, pick: int) -> None:
        items = self.engine.list_trash()
        item = items[pick % len(items)]
        base = self.engine.get_snapshot(item.snapshot_uuid).distance if item.snapshot_uuid else 0
        if base < self.engine.storage.max_incremental_snapshot_num:
            assert self.oracle.restore_as_snapshot(item.uuid, self._name()).distance == base + 1

    @precondition(lambda self: self.engine.list_trash())
    @rule()
    def purge(self) -> None:
        self.oracle.purge()

    @rule()
    def create_group(self) -> None:
        self.oracle.create_group(self._name(), *self.volumes)

    @precondition(lambda self: self.engine.list_groups())
    @rule(pick=picks)
    def revert_group(self, pick: int) -> None:
        group = self._group(pick)
        if self.engine.groups_available((group,))[0].available:
            self.oracle.revert_group(group)

    @precondition(lambda self: self.engine.list_groups())
    @rule(pick=picks)
    def delete_group(self, pick: int) -> None:
        group = self._group(pick)
        refs = self.engine.get_group(group).volume_snapshot_refs
        if not self.oracle.bases() & {ref.volume_snapshot_uuid for ref in refs}:
            self.oracle.delete_group(group)

    @precondition(lambda self: self.engine.list_groups())
    @rule(pick=picks)
    def ungroup(self, pick: int) -> None:
        self.engine.ungroup(self._group(pick))

    @rule(limit=st.integers(min_value=2, max_value=5))
    def limit(self, limit: int) -> None:
        self.engine.set_depth_limit(limit)
        self.deepest = max(self.deepest, limit)

    @invariant()
    def all_is_as_it_must_be(self) -> None:
        check.full(self.engine, self.oracle.expected, depth=self.deepest)


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=8, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
