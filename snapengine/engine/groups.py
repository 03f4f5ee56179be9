"""The engine's verbs on groups."""

from snapengine import forecast, group, grouping, preview, translation
from snapengine.cost import Direction
from snapengine.delete import Deleted
from snapengine.engine.opened import Opened
from snapengine.group import Availability
from snapengine.inventory import Volume
from snapengine.preview import Preview
from snapengine.printed import Progress
from snapengine.roster import Group


@translation.translating
class Groups(Opened):
    """Snapshots of several volumes that were made in one moment."""

    def create_group(
        self, name: str, volumes: tuple[str, ...] = (), *, vm: str | None = None, description: str | None = None,
        uuid: str | None = None, only: str | None = None, progress: Progress | None = None,
    ) -> Group:  # fmt: skip
        """Freeze several volumes, or a VM's, in one moment; none but those of the account only. See grouping.create."""
        request = grouping.Request(name, volumes, vm, description, uuid, only)
        return grouping.create(self._store, request, self.wait, progress)

    def vm_volumes(self, vm: str) -> tuple[Volume, ...]:
        """Return the volumes that are attached to a VM, by its name or uuid, in the order of their numbers."""
        return grouping.volumes_of(self._store, vm)

    def list_groups(self) -> tuple[Group, ...]:
        """Return all groups, oldest first."""
        return group.list_all(self._store)

    def get_group(self, uuid: str) -> Group:
        """Return one group."""
        return group.show(self._store, uuid)

    def update_group(self, uuid: str, *, name: str | None = None, description: str | None = None) -> Group:
        """Change a group's name or description; None leaves it as it is."""
        return group.update(self._store, uuid, name, description, self.wait)

    def groups_available(self, uuids: tuple[str, ...]) -> tuple[Availability, ...]:
        """Return for each group whether revert_group would take the volumes back to it, and why not."""
        return group.availability(self._store, uuids)

    def revert_group(self, uuid: str) -> None:
        """Take all volumes of a group back to it, or none; see grouping.revert."""
        grouping.revert(self._store, uuid, self.wait)

    def preview_revert_group(self, uuid: str) -> Preview:
        """Return what revert_group would do, and refuse what it would refuse; changes nothing."""
        return preview.revert_group(self._store, uuid, self.wait)

    def ungroup(self, uuid: str) -> None:
        """Forget a group; its snapshots stay. See group.ungroup."""
        group.ungroup(self._store, uuid, self.wait)

    def preview_ungroup(self, uuid: str) -> Preview:
        """Return what ungroup would do; changes nothing."""
        return preview.ungroup(self._store, uuid)

    def delete_group(
        self, uuid: str, *, direction: Direction = "auto", progress: Progress | None = None
    ) -> tuple[Deleted, ...]:
        """Delete a group's snapshots, and the group once all are gone; one result for each. See grouping.delete_all."""
        return grouping.delete_all(self._store, uuid, direction, self.wait, progress)

    def preview_delete_group(self, uuid: str, *, direction: Direction = "auto") -> Preview:
        """Return what delete_group would do, and refuse what it would refuse; changes nothing."""
        return forecast.group_deletion(self._store, uuid, direction, self.wait)
