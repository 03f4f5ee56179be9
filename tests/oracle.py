"""An engine's verbs together with a model of the guest's data, so that a test knows every byte that must be there."""

import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path

from snapengine.cost import Direction
from snapengine.engine import Engine
from snapengine.inventory import Snapshot, VolumeType
from snapengine.roster import Group
from tests import check, images

MIB = 2**20
CLUSTER = 64 * 2**10


class Oracle:
    """
    An engine, and what each of its volumes, snapshots and trash items must hold.

    Its verbs are the engine's, `write` is the guest. The content is a model of its own: nothing is read back for it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.expected: dict[str, bytes] = {}
        self._patterns = itertools.cycle(range(1, 256))

    def volume(
        self, name: str = "disk", size: int = MIB, type: VolumeType = "Data", *, uuid: str | None = None
    ) -> str:  # fmt: skip
        """Create an empty volume and return its uuid."""
        volume = self.engine.create_volume(name, size, type, uuid=uuid).uuid
        self.expected[volume] = bytes(size)
        return volume

    def write(self, volume: str, offset: int = 0, length: int = CLUSTER) -> None:
        """Write length bytes at offset, as a guest does, of a pattern that the store does not hold yet."""
        pattern = next(self._patterns)
        poke(self.engine.volume_path(volume), pattern, offset, length)
        old = self.expected[volume]
        self.expected[volume] = old[:offset] + bytes([pattern]) * length + old[offset + length :]

    def zero(self, volume: str, offset: int = 0, length: int = CLUSTER) -> None:
        """Write zeros, as a guest does that knows of no better way: they take room."""
        poke(self.engine.volume_path(volume), 0, offset, length)
        old = self.expected[volume]
        self.expected[volume] = old[:offset] + bytes(length) + old[offset + length :]

    def punch(self, volume: str, offset: int, length: int, command: str = "write -z") -> None:
        """Let a range read as zeros, by "write -z", or "discard" of whole clusters."""
        _guest(self.engine.volume_path(volume), f"{command} {offset} {length}")
        old = self.expected[volume]
        self.expected[volume] = old[:offset] + bytes(length) + old[offset + length :]

    def shrink(self, snapshot: str) -> int:
        """Shrink a snapshot and return the bytes that it gave back; what anything holds stays."""
        image = self.engine.snapshot_path(snapshot)
        images.settle(image)
        old = image.stat().st_blocks * 512
        done = self.engine.shrink_snapshot(snapshot)
        new = image.stat().st_blocks * 512
        assert (done.old_size, done.size, done.delta_size) == (old, new, old - new)
        assert done.delta_size >= 0
        return done.delta_size

    def import_raw(self, file: Path, name: str) -> str:
        """Make a volume of a raw image and return its uuid."""
        volume = self.engine.import_volume(file, name, format="raw").uuid
        self.expected[volume] = file.read_bytes()
        return volume

    def import_image(self, file: Path, name: str) -> str:
        """Make a volume of a qcow2 image and what it stands on, and return its uuid."""
        held = images.read(file)
        volume = self.engine.import_volume(file, name).uuid
        self.expected[volume] = held
        return volume

    def import_chain(self, file: Path, name: str | None = None, *, move: bool = False) -> str:
        """Make a volume and snapshots of a chain of qcow2 images, and return the volume's uuid."""
        held, at = [images.read(file)], file
        while (below := images.Images().facts(at).info.backing_filename) is not None:
            at = at.parent / below
            held.append(images.read(at))
        volume = self.engine.import_chain(file, name, move=move).uuid
        line = sorted(self.engine.list_snapshots(volume), key=lambda snapshot: -snapshot.distance)
        self.expected.update(zip([volume, *(snapshot.uuid for snapshot in line)], held, strict=True))
        return volume

    def resize(self, volume: str, size: int) -> None:
        """Let a volume grow; what is new reads zero."""
        assert self.engine.resize_volume(volume, size).size == size
        self.expected[volume] = self.expected[volume].ljust(size, b"\0")

    def create(self, volume: str, name: str, *, uuid: str | None = None) -> Snapshot:
        """Create a snapshot."""
        snapshot = self.engine.create_snapshot(volume, name, uuid=uuid)
        self.expected[snapshot.uuid] = self.expected[volume]
        return snapshot

    def clone(self, snapshot: str, name: str, *, linked: bool = False) -> str:
        """Make a volume of a snapshot and return its uuid."""
        volume = self.engine.clone_volume(snapshot, name, linked=linked).uuid
        self.expected[volume] = self.expected[snapshot]
        return volume

    def flatten(self, volume: str) -> str | None:
        """Make a volume stand on nothing; returns the trash item that keeps the former active image, if one does."""
        before = {item.uuid for item in self.engine.list_trash()}
        self.engine.flatten_volume(volume)
        new = [item.uuid for item in self.engine.list_trash() if item.uuid not in before]
        self.expected.update((item, self.expected[volume]) for item in new)
        return new[0] if new else None

    def revert(self, snapshot: str) -> str | None:
        """Revert to a snapshot; returns the trash item that keeps the former active image, if one does."""
        volume = self.engine.get_snapshot(snapshot).volume_uuid
        item = self._replaced(volume, lambda: self.engine.revert(snapshot))
        self.expected[volume] = self.expected[snapshot]
        return item

    def restore(self, item: str) -> str | None:
        """Make a trash item the active image; returns the trash item that keeps the former one, if one does."""
        volume = self._volume_of(item)
        kept = self._replaced(volume, lambda: self.engine.restore_trash(item))
        self.expected[volume] = self.expected.pop(item)
        return kept

    def restore_as_snapshot(self, item: str, name: str) -> Snapshot:
        """Make a trash item a snapshot."""
        snapshot = self.engine.restore_trash_as_snapshot(item, name)
        self.expected[snapshot.uuid] = self.expected.pop(item)
        return snapshot

    def create_group(self, name: str, *volumes: str, vm: str | None = None, uuid: str | None = None) -> Group:
        """Create a group of volumes, or of those of a VM."""
        group = self.engine.create_group(name, volumes, vm=vm, uuid=uuid)
        for ref in group.volume_snapshot_refs:
            self.expected[ref.volume_snapshot_uuid] = self.expected[ref.volume_uuid]
        return group

    def revert_group(self, group: str) -> None:
        """Revert to a group."""
        refs = self.engine.get_group(group).volume_snapshot_refs
        held = {u: self.expected[u] for u in (ref.volume_uuid for ref in refs) if u in self.expected}
        before = {item.uuid for item in self.engine.list_trash()}
        self.engine.revert_group(group)
        for item in self.engine.list_trash():
            if item.uuid not in before:
                self.expected[item.uuid] = held.pop(item.volume_uuid)
        for volume, content in held.items():
            self._assert_frozen(volume, content)
        for ref in refs:
            self.expected[ref.volume_uuid] = self.expected[ref.volume_snapshot_uuid]

    def delete_group(self, group: str) -> list[bool]:
        """Delete a group's snapshots; returns of each whether it went."""
        results = self.engine.delete_group(group)
        for result in results:
            if result.success:
                self.expected.pop(result.snapshot_uuid, None)
        return [result.success for result in results]

    def purge(self) -> None:
        """Remove all trash for good."""
        deleted = {i.uuid: self._within(i.uuid) for i in self.engine.list_trash() if i.kind == "Volume"}
        for item in self.engine.purge_trash(self.engine.list_trash()):
            for uuid in deleted.get(item.uuid, {item.uuid}):
                del self.expected[uuid]

    def delete_volumes(self, *volumes: str) -> None:
        """Delete volumes; all that they hold stays, and is checked on."""
        self.engine.delete_volumes(volumes)

    def recover_volume(self, volume: str) -> None:
        """Bring a deleted volume back."""
        assert self.engine.recover_volume(volume).status == "Ready"

    def expunge_volume(self, volume: str) -> None:
        """Remove a deleted volume for good."""
        gone = self._within(volume)
        self.engine.expunge_volume(volume)
        for uuid in gone:
            del self.expected[uuid]

    def _within(self, volume: str) -> set[str]:
        """Return the uuids of all that the volume holds, deleted or not, itself among them."""
        (path,) = [path for path in check.directories(self.engine.root) if path.parent.name == f"vol-{volume}"]
        return set(check.Directory(path).images)

    def delete(self, *snapshots: str, descendants: bool = False, direction: Direction = "auto") -> None:
        """Delete snapshots; with descendants the snapshots and trash items that stand on them too."""
        failed = self.delete_some(*snapshots, descendants=descendants, direction=direction)
        assert failed == {}, failed

    def delete_some(
        self, *snapshots: str, descendants: bool = False, direction: Direction = "auto"
    ) -> dict[str, str]:
        """Delete snapshots, of which some may fail; returns why, by uuid."""
        gone = {uuid: self.above(uuid) if descendants else {uuid} for uuid in snapshots}
        results = self.engine.delete_snapshots(snapshots, descendants=descendants, direction=direction)
        assert [result.snapshot_uuid for result in results] == [*snapshots]
        for uuid in {uuid for result in results if result.success for uuid in gone[result.snapshot_uuid]}:
            del self.expected[uuid]
        return {result.snapshot_uuid: result.error.details for result in results if result.error is not None}

    def undo(self, volume: str) -> None:
        """Take back a volume's latest snapshot."""
        before = {snapshot.uuid for snapshot in self.engine.list_snapshots(volume)}
        self.engine.undo_snapshot(volume)
        (gone,) = before - {snapshot.uuid for snapshot in self.engine.list_snapshots(volume)}
        del self.expected[gone]

    def bases(self) -> set[str]:
        """Return the snapshots that linked clones stand on, deleted ones too, as the records of their images say."""
        found = (check.Directory(path) for path in check.directories(self.engine.root))
        names = (name for directory in found for name in directory.backings.values())
        return {Path(name).stem for name in names if name and "/" in name}

    def above(self, snapshot: str) -> set[str]:
        """Return a snapshot, and the snapshots and trash items that stand on it, directly or not."""
        found = {snapshot}
        volume = self.engine.get_snapshot(snapshot).volume_uuid
        for each in self.engine.list_snapshots(volume):  # parents come before their children
            found |= {each.uuid} if each.parent_uuid in found else set()
        return found | {item.uuid for item in self.engine.list_trash() if item.snapshot_uuid in found}

    def check(self) -> None:
        """Assert all that check.full does."""
        check.full(self.engine, self.expected)

    def _replaced(self, volume: str, verb: Callable[[], None]) -> str | None:
        """Run a verb that replaces the active image; returns the new trash item. What it held must still be there."""
        before = {item.uuid for item in self.engine.list_trash()}
        verb()
        new = [item.uuid for item in self.engine.list_trash() if item.uuid not in before]
        if not new:
            self._assert_frozen(volume, self.expected[volume])
            return None
        (item,) = new
        self.expected[item] = self.expected[volume]
        return item

    def _assert_frozen(self, volume: str, content: bytes) -> None:
        """Assert that a snapshot holds content; that may have grown by zeros, which nothing has to keep."""
        frozen = [self.expected[s.uuid].rstrip(b"\0") for s in self.engine.list_snapshots(volume)]
        assert content.rstrip(b"\0") in frozen, f"nothing keeps what volume {volume} held"

    def _volume_of(self, item: str) -> str:
        return next(i.volume_uuid for i in self.engine.list_trash() if i.uuid == item)


def poke(path: Path, pattern: int, offset: int = 0, length: int = CLUSTER) -> None:
    """Write length bytes of pattern at offset to the image at path, as a guest does."""
    _guest(path, f"write -q -P {pattern} {offset} {length}")


def _guest(path: Path, command: str) -> None:
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, str(path)], check=True, timeout=60, stdout=-3)
