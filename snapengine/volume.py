"""Volumes: create, list, show, update, attach, detach, and where their images are."""

import re
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from snapengine import (
    arguments,
    chain,
    deleted,
    driver,
    durable,
    errors,
    fate,
    hold,
    inventory,
    layout,
    lock,
    notes,
    operation,
    records,
    store,
    tree,
    units,
)
from snapengine.draft import Place
from snapengine.inventory import SnapshotRecord, Struct, Volume, VolumeRecord, VolumeType
from snapengine.store import Store


class Link(Struct, frozen=True, kw_only=True):
    """One image of a volume's chain; sizes are bytes, backing is the bare name of the image under it."""

    path: str
    virtual_size: int
    allocated: int
    uuid: str | None = None
    backing: str | None = None


class Request(NamedTuple):
    """What a caller may say of a new volume; account is a name or uuid."""

    name: str
    kind: VolumeType = "Data"
    account: str = "admin"
    uuid: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()


def checked(request: Request) -> Request:
    """Return request with its arguments checked; Invalid for the first bad one."""
    if request.kind not in layout.TYPES:
        raise errors.Invalid(what=f"'{request.kind}' is no volume type: give Root or Data")
    return Request(
        arguments.name(request.name),
        request.kind,
        request.account,
        layout.check_given_uuid(request.uuid) if request.uuid is not None else None,
        arguments.description(request.description),
        arguments.tags(request.tags),
    )


def create(opened: Store, request: Request, size: int) -> Volume:
    """
    Create an empty volume of size bytes, rounded up to 512.

        step                                             a crash after it leaves       recovery
        entry; directory `.vol-<uuid>.<op>.new`          a directory nobody knows      removes it
        in it `snapshots/`: the image, its record, synced  the same                    removes it
        THE RENAME of the directory to `vol-<uuid>`      the volume                    finishes

    Raises Invalid for bad arguments and a uuid in use, NotFound for an unknown account, NoSpace.
    """
    size = arguments.size(size)
    operation.require_room(opened.root, size)
    return appear(opened, checked(request), "create volume", lambda image: driver.create(image, size), size)


def appear(
    opened: Store, request: Request, verb: str, fill: Callable[[Path], None], size: int, *, base: str | None = None,
    line: "Line | None" = None,
) -> Volume:  # fmt: skip
    """
    Make a volume whose active image fill makes, synced here, at the path that it gets; crash table as for create.

    request is checked already; size is the virtual size in bytes. line tells on which snapshots, whose images fill
    makes beside it, the volume stands, base by which name on another volume's. Refused when fill makes anything else.
    """
    account = store.account(opened.root, request.account)
    new = request.uuid or opened.fresh or uuid.uuid4().hex
    directory = layout.volume_directory(opened.root, request.kind, account.uuid, new)
    place = hold.place(opened, directory.parent, verb)
    record = _record(opened, place, directory / layout.SNAPSHOTS, request, new, account.uuid, size)
    record = msgspec.structs.replace(record, base=base, linked=base is not None)

    def steps(beside: Path) -> None:
        inside = beside / layout.SNAPSHOTS
        durable.make_directory(inside)
        fill(inside / layout.image(new))
        durable.sync_file(inside / layout.image(new))
        own, below = line.records(place, record, inside) if line else (record, ())
        chain.layer(inside / layout.image(new), chain.expected(tree.backing(own, own)))
        for each in below:
            notes.prepare(inside / layout.record(each.uuid), each)
        notes.prepare(inside / layout.record(new), own)
        durable.sync_directory(inside)

    operation.appear(opened, fate.appear(place, record, line.uuids if line else ()), steps, request.uuid)
    return show(opened, new)


class Line(NamedTuple):
    """
    The snapshots that a new volume stands on, by their uuids.

    records is called once their images lie in the directory that it is given, with the volume's record as it would be
    without them, and gives its record and theirs.
    """

    uuids: tuple[str, ...]
    records: Callable[[Place, VolumeRecord, Path], tuple[VolumeRecord, Sequence[SnapshotRecord]]]


def _record(
    opened: Store, place: Place, directory: Path, request: Request, new: str, account: str, size: int
) -> VolumeRecord:
    return VolumeRecord(
        uuid=new,
        name=request.name,
        description=request.description,
        primary_storage_uuid=opened.record.uuid,
        install_path=str(directory / layout.image(new)),
        type=request.kind,
        format="qcow2",
        size=size,
        actual_size=0,
        state="Enabled",
        status="Ready",
        create_date=place.now,
        last_op_date=place.now,
        is_shareable=False,
        schema_version=inventory.SCHEMA_VERSION,
        generation=1,
        account=account,
        system_tags=request.tags,
    )


def list_all(opened: Store, gone: bool = False) -> tuple[Volume, ...]:
    """Return the inventories of all volumes, or of all that are gone, deleted, by name."""
    found = (deleted.volumes if gone else store.volumes)(opened.root)
    return tuple(sorted((view(*each) for each in found), key=lambda volume: (volume.name, volume.uuid)))


def show(opened: Store, volume: str) -> Volume:
    """Return the inventory of one volume."""
    directory = store.find_volume(opened.root, volume)
    return view(directory, records.read_volume(directory))


def view(directory: Path, record: VolumeRecord) -> Volume:
    """Return what the contract shows of a volume: actual_size is what its active image takes now."""
    try:
        taken = units.allocated((directory / layout.active_name(record)).lstat())
    except FileNotFoundError:  # `verify` names it; a list still shows the rest
        taken = 0
    return msgspec.structs.replace(inventory.shown(record, Volume), actual_size=taken)


def update(opened: Store, volume: str, name: str | None, description: str | None, wait: float) -> Volume:
    """
    Change a volume's name or description; None leaves it as it is.

    One durable replacement of its record: a crash leaves the old one or the new one.
    """
    changes = arguments.changes(name, description)
    with hold.volume(opened, store.find_volume(opened.root, volume), "update volume", wait) as work:
        return _rewritten(work, **changes)


def attach(opened: Store, volume: str, vm: str, channel: str | None, wait: float) -> Volume:
    """
    Note that a VM, by its name or uuid, uses the volume; channel is how to reach it once it runs.

    A VM known by name only gets a uuid that follows from the name, the same for all its volumes. Raises Conflict
    when another VM has the volume.
    """
    name = arguments.name(vm)
    owner = vm_uuid(opened, name)
    with hold.volume(opened, store.find_volume(opened.root, volume), "attach volume", wait) as work:
        if work.volume.vm_instance_uuid not in (None, owner):
            present = work.volume.vm_name or work.volume.vm_instance_uuid
            which = f"volume {volume} ({work.volume.name})"
            raise errors.Conflict(what=f"{which} is attached to {present}; detach it first")
        with lock.exclusive(opened.root, "attach volume", wait):  # two volumes of one VM must not get one number
            device = work.volume.device_id if work.volume.vm_instance_uuid else _free_device(opened, owner)
            return _rewritten(work, vm_instance_uuid=owner, vm_name=name, channel=channel, device_id=device)


def detach(opened: Store, volume: str, wait: float) -> Volume:
    """Note that no VM uses the volume any more; of a detached volume that is no change."""
    with hold.volume(opened, store.find_volume(opened.root, volume), "detach volume", wait) as work:
        return _rewritten(work, vm_instance_uuid=None, vm_name=None, channel=None, device_id=None)


def _free_device(opened: Store, vm: str) -> int:
    """Return the smallest device number that no volume of a VM has."""
    used = {v.device_id for v in list_all(opened) if v.vm_instance_uuid == vm}
    return min(set(range(len(used) + 1)) - used)


def vm_uuid(opened: Store, vm: str) -> str:
    """Return the uuid of the VM with this name or uuid: of one known by name, the uuid that follows from the name."""
    plain = vm.replace("-", "").lower()
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}", vm.lower(), re.ASCII):
        return plain
    return uuid.uuid5(uuid.UUID(opened.record.uuid), vm).hex


def _rewritten(work: hold.Held, **changes: object) -> Volume:
    """Replace fields of the volume's record; without a change it is left as it is."""
    new = msgspec.structs.replace(work.volume, **changes)
    if new != work.volume:
        new = operation.rewrite(work, new)
    return view(work.directory, new)


def path(opened: Store, volume: str) -> Path:
    """Return the path of the volume's active image."""
    return Path(show(opened, volume).install_path)


def links(opened: Store, volume: str) -> tuple[Link, ...]:
    """Return the images that the volume consists of, the active one first, as their headers say."""
    directory = store.find_volume(opened.root, volume)
    active = layout.active_name(records.read_volume(directory))
    return tuple(_link(layer) for layer in chain.read(directory, active))


def _link(layer: chain.Layer) -> Link:
    header = layer.header
    return Link(path=str(layer.path), uuid=layer.uuid, virtual_size=header.size, allocated=layer.allocated,
                backing=layer.backing)  # fmt: skip
