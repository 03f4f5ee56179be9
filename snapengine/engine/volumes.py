"""The engine's verbs on volumes."""

import os
from pathlib import Path

from snapengine import (
    adopting,
    clone,
    clones,
    discard,
    flatten,
    importing,
    inventory,
    lookup,
    preview,
    resize,
    states,
    translation,
    volume,
)
from snapengine.driver import Format
from snapengine.engine.opened import Opened
from snapengine.inventory import State, Volume, VolumeType
from snapengine.preview import Preview
from snapengine.printed import Progress
from snapengine.volume import Link


@translation.translating
class Volumes(Opened):
    """The disks of VMs."""

    def create_volume(
        self, name: str, size: int, type: VolumeType = "Data", *, account: str = "admin", uuid: str | None = None,
        description: str | None = None, tags: tuple[str, ...] = (),
    ) -> Volume:  # fmt: skip
        """Create an empty volume of size bytes, rounded up to 512; see volume.create."""
        return volume.create(self._store, volume.Request(name, type, account, uuid, description, tags), size)

    def import_volume(
        self, file: str | os.PathLike[str], name: str | None = None, type: VolumeType = "Data", *,
        account: str = "admin", uuid: str | None = None, description: str | None = None, tags: tuple[str, ...] = (),
        format: Format | None = None, move: bool = False, progress: Progress | None = None,
    ) -> Volume:  # fmt: skip
        """Make a volume of an image in any of six formats; see importing.import_volume."""
        path = Path(os.path.abspath(file))
        request = volume.Request(path.stem if name is None else name, type, account, uuid, description, tags)
        return importing.import_volume(self._store, path, request, format, move, progress)

    def import_chain(
        self, file: str | os.PathLike[str], name: str | None = None, type: VolumeType = "Data", *,
        account: str = "admin", uuid: str | None = None, description: str | None = None, tags: tuple[str, ...] = (),
        move: bool = False, progress: Progress | None = None,
    ) -> Volume:  # fmt: skip
        """Make a volume of a qcow2 image, and a snapshot of each image under it; see adopting.import_chain."""
        path = Path(os.path.abspath(file))
        called = adopting.name_of(path) if name is None else name
        request = volume.Request(called, type, account, uuid, description, tags)
        return adopting.import_chain(self._store, path, request, move, progress)

    def clone_volume(
        self, snapshot_uuid: str, name: str, type: VolumeType = "Data", *, linked: bool = False,
        uuid: str | None = None, description: str | None = None, tags: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> Volume:  # fmt: skip
        """Make a volume of what a snapshot froze, a full copy or standing on the snapshot; see clone.clone."""
        wanted = volume.Request(name, type, uuid=uuid, description=description, tags=tags)
        return clone.clone(self._store, snapshot_uuid, wanted, linked, self.wait, progress)

    def linked_clones(self, volume_uuid: str, snapshot_uuid: str | None = None) -> tuple[Volume, ...]:
        """Return the linked clones that stand on a volume's snapshots, or on one of them; see clones.of."""
        found = clones.of(self.root, volume_uuid, snapshot_uuid)
        return tuple(inventory.shown(record, Volume) for record in found)

    def flatten_volume(self, uuid: str, *, progress: Progress | None = None) -> Volume:
        """Make the volume's active image stand on nothing; the present one goes to the trash. See flatten.flatten."""
        return flatten.flatten(self._store, uuid, self.wait, progress)

    def preview_flatten(self, uuid: str) -> Preview:
        """Return what flatten would do, and refuse what it would refuse; changes nothing. See preview.flatten."""
        return preview.flatten(self._store, uuid, self.wait)

    def list_volumes(self, *, deleted: bool = False) -> tuple[Volume, ...]:
        """Return all volumes, or all deleted ones, by name."""
        return volume.list_all(self._store, deleted)

    def delete_volumes(self, uuids: tuple[str, ...]) -> None:
        """Put volumes away whole, all or none, until they are recovered or expunged; see discard.delete."""
        discard.delete(self._store, uuids, self.wait)

    def preview_delete_volumes(self, uuids: tuple[str, ...]) -> Preview:
        """Return what delete_volumes would do; changes nothing."""
        return preview.discarding(self._store, uuids, self.wait)

    def recover_volume(self, uuid: str) -> Volume:
        """Bring a deleted volume back."""
        discard.recover(self._store, uuid, self.wait)
        return volume.show(self._store, uuid)

    def expunge_volume(self, uuid: str) -> None:
        """Remove a deleted volume for good."""
        discard.expunge(self._store, uuid, self.wait)

    def preview_expunge(self, uuid: str) -> Preview:
        """Return what expunge_volume would do; changes nothing."""
        return preview.expunging(self._store, uuid)

    def get_volume(self, uuid: str) -> Volume:
        """Return one volume."""
        return volume.show(self._store, uuid)

    def update_volume(self, uuid: str, *, name: str | None = None, description: str | None = None) -> Volume:
        """Change a volume's name or description; None leaves it as it is."""
        return volume.update(self._store, uuid, name, description, self.wait)

    def set_volume_state(self, uuid: str, state: State) -> Volume:
        """Let a volume be used by verbs that change its image, or keep them from it: Enabled or Disabled."""
        states.change(self._store, uuid, state, self.wait)
        return volume.show(self._store, uuid)

    def resize_volume(self, uuid: str, size: int) -> Volume:
        """Let a volume grow to size bytes, rounded up to 512; see resize.resize."""
        resize.resize(self._store, uuid, size, self.wait)
        return volume.show(self._store, uuid)

    def volume_path(self, uuid: str) -> Path:
        """Return the path of the volume's active image: what a VM opens."""
        return volume.path(self._store, uuid)

    def volume_chain(self, uuid: str) -> tuple[Link, ...]:
        """Return the images that the volume consists of, the active one first."""
        return volume.links(self._store, uuid)

    def attach_volume(self, uuid: str, vm: str, channel: str | None = None) -> Volume:
        """Note that a VM uses the volume; Conflict when another one does."""
        return volume.attach(self._store, uuid, vm, channel, self.wait)

    def vm_names(self) -> dict[str, str]:
        """Return the name of every VM that has volumes, by its uuid."""
        return lookup.vm_names(self._store)

    def detach_volume(self, uuid: str) -> Volume:
        """Note that no VM uses the volume any more."""
        return volume.detach(self._store, uuid, self.wait)
