"""snapengine group: snapshots of several volumes, made in one moment."""

from typing import TYPE_CHECKING, cast

import click

from snapengine.cli import complete, options, progress, removing, session, settings, show, text

if TYPE_CHECKING:
    import snapengine
    from snapengine.cost import Direction
    from snapengine.preview import Preview
    from snapengine.roster import Group

_COLUMNS = ("name", "uuid", "snapshot_count", "vm_instance_uuid", "create_date")
_MEMBERS = (
    "volume_snapshot_name", "volume_snapshot_uuid", "volume_name", "volume_type", "device_id", "snapshot_deleted",
)  # fmt: skip
_AVAILABLE = ("uuid", "available", "reason")

_group = click.argument(
    "group",
    help="The group: its uuid, the start of it, or its name.",
    shell_complete=complete.groups,
)


@click.group(cls=settings.Noun)
def group() -> None:
    """Snapshot several volumes, or all of a VM, in one moment, and go back to that together."""


@group.command()
@click.argument("name", help="What to call it; each snapshot is called NAME-VOLUME.")
@click.argument(
    "volumes",
    nargs=-1,
    metavar="[VOLUME]...",
    help="The volumes, unless --vm is given.",
    shell_complete=complete.volumes,
)
@click.option("--vm", metavar="VM", help="The VM, by name or uuid, to snapshot all volumes of.")
@options.description
@options.uuid
def create(name: str, volumes: tuple[str, ...], vm: str | None, description: str | None, uuid: str | None) -> None:
    """
    Freeze the present content of several volumes in one moment: of all or of none.

    \b
    snapengine group create before-upgrade --vm web-1
    """
    if (vm is None) == (not volumes):
        raise click.UsageError("give either the volumes or --vm VM")
    engine = session.engine()
    found = tuple(engine.find_volume(volume) for volume in volumes)
    with progress.shown("copying", lambda: _size(engine, found, vm)) as report:
        made = engine.create_group(name, found, vm=vm, description=description, uuid=uuid, progress=report)
    _show(engine, made)


def _size(engine: "snapengine.Engine", volumes: tuple[str, ...], vm: str | None) -> int:
    """Return the bytes of the volumes, for the progress that is told where full snapshots are copied."""
    found = [engine.get_volume(volume) for volume in volumes] if vm is None else engine.vm_volumes(vm)
    return sum(volume.size for volume in found)


@group.command("list")
def list_() -> None:
    """List all groups, oldest first."""
    engine = session.engine()
    show.many(engine.list_groups(), _COLUMNS, engine.vm_names)


@group.command("show")
@_group
def show_(group: str) -> None:
    """Show all that is known of a group, and its members."""
    engine = session.engine()
    _show(engine, engine.get_group(engine.find_group(group)))


def _show(engine: "snapengine.Engine", found: "Group") -> None:
    """Show a group, for people with the name of its VM as far as a volume still knows it, and with its members."""
    if show.in_json():
        show.one(found)
    else:
        vm = engine.vm_names().get(found.vm_instance_uuid or "")
        show.line(text.fields(found, vm_name=vm, volume_snapshot_refs=None, snapshot_count=None))
        show.many(found.volume_snapshot_refs, _MEMBERS)


@group.command()
@_group
@options.new_name
@options.description
def update(group: str, name: str | None, description: str | None) -> None:
    """
    Change a group's name or description.

    The names of its snapshots stay.
    """
    options.require(name, description)
    engine = session.engine()
    _show(engine, engine.update_group(engine.find_group(group), name=name, description=description))


@group.command()
@_group
@options.confirmed
def revert(group: str, yes: bool, dry_run: bool) -> None:
    """
    Take all volumes of a group back to it, or none.

    Their present images go to the trash, but for those to which nothing was written. Later snapshots stay. It is
    refused where a member was deleted, where its volume was detached from the VM, and where another one was attached
    since.

    \b
    snapengine group revert before-upgrade
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_group(group)
    preview = engine.preview_revert_group(found)
    if dry_run:
        show.plan(engine, preview)
        return
    session.confirm(_question(engine, engine.get_group(found), preview), yes)
    engine.revert_group(found)
    show.nothing()


def _question(engine: "snapengine.Engine", group: "Group", preview: "Preview") -> str:
    """Return which volumes go back, and what that sends to the trash, as a question says it."""
    volumes = [engine.get_volume(ref.volume_uuid) for ref in group.volume_snapshot_refs]
    names = text.first([f"'{volume.name}'" for volume in volumes[: text.NAMED]], len(volumes))
    kept = {step.image for step in preview.plan if step.verb == "trash"}
    goes = f"{text.counted(len(volumes), 'volume')} will go back to group '{group.name}': {names}"
    if not kept:
        return goes
    size = text.value("size", sum(volume.actual_size for volume in volumes if volume.install_path in kept))
    return f"{goes}; {text.counted(len(kept), 'present image')}, {size}, will go to the trash"


@group.command()
@_group
@options.direction
@options.confirmed
def delete(group: str, direction: str, yes: bool, dry_run: bool) -> None:
    """
    Delete all snapshots of a group, and the group.

    What the volumes and other snapshots hold stays as it is. Where one can't be deleted, the others are, and the group
    stays until it is run again.
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_group(group)
    way = cast("Direction", direction)
    preview = engine.preview_delete_group(found, direction=way)
    removing.tell_what_stays(engine, preview)
    if dry_run:
        show.plan(engine, preview)
        return
    session.confirm(f"group '{engine.get_group(found).name}': {removing.question(engine, preview)}", yes)
    with progress.shown("merging", lambda: preview.bytes) as report:
        done = engine.delete_group(found, direction=way, progress=report)
    removing.results(engine, done, preview)


@group.command()
@_group
@options.confirmed
def ungroup(group: str, yes: bool, dry_run: bool) -> None:
    """
    Forget a group.

    Its snapshots stay, each by itself.
    """
    engine = session.engine(recover=not dry_run)
    found = engine.find_group(group)
    preview = engine.preview_ungroup(found)
    if dry_run:
        show.plan(engine, preview)
        return
    name, count = engine.get_group(found).name, len(preview.plan)
    session.confirm(f"group '{name}' will be forgotten; its {text.counted(count, 'snapshot')} stay", yes)
    engine.ungroup(found)
    show.nothing()


@group.command()
@click.argument(
    "groups",
    nargs=-1,
    required=True,
    metavar="GROUP...",
    help="The groups: uuids, starts of them, or names.",
    shell_complete=complete.groups,
)
def availability(groups: tuple[str, ...]) -> None:
    """Tell whether the volumes can be taken back to groups, and why not."""
    engine = session.engine()
    found = tuple(engine.find_group(group) for group in groups)
    results = engine.groups_available(found)
    if show.in_json():
        show.many(results, _AVAILABLE, key="results")
        return
    names = {known.uuid: text.plain(known.name) for known in engine.list_groups()}
    rows = [(names.get(result.uuid, "-"), *row) for result, row in zip(results, text.rows(results, _AVAILABLE, {}))]
    show.table(["name", *map(text.label, _AVAILABLE)], rows)
