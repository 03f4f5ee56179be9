"""Adopt a chain of qcow2 images that was made elsewhere: the top becomes a volume, each image under it a snapshot."""

import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from snapengine import (
    arguments,
    chain,
    conversion,
    driver,
    duplicate,
    durable,
    errors,
    importing,
    inspector,
    layout,
    notes,
    plan,
    printed,
    qcow2,
    records,
    reflink,
    sources,
    tree,
    units,
    volume,
)
from snapengine.draft import Place
from snapengine.inventory import SnapshotRecord, Volume, VolumeRecord
from snapengine.printed import Progress
from snapengine.sources import Layer, Source
from snapengine.store import Store

_FLATTEN = "import it without --chain, which makes one image of it"

Found = TypeVar("Found", SnapshotRecord, VolumeRecord)


class _Copy(NamedTuple):
    """One image of the chain and what it becomes: its uuid with us, and that of what it stands on."""

    layer: Layer
    uuid: str
    backing: str | None


def import_chain(
    opened: Store, file: Path, request: volume.Request, move: bool, progress: Progress | None
) -> Volume:
    """
    Make a volume of the qcow2 image file, and a snapshot of each image that it stands on; return the volume.

    Each image is copied as it is, on a file system with reflinks without moving data, into a directory that appears as
    a whole. Only the copies are changed: their headers name each other by the names that we give, version 2 becomes 3,
    leaked clusters are freed; a raw base is converted. Snapshots are called as their files, or as an inventory beside
    those says. With move the sources are removed, the top first, when the volume is there and durable.

        step                                                a crash after it leaves      recovery
        entry; directory `.vol-<uuid>.<op>.new`             a directory nobody knows     removes it
        in it all images, then all records, synced          the same                     removes it
        THE RENAME of the directory to `vol-<uuid>`         the volume                   finishes
        with move: the sources removed, the top first       some of the sources          none: they are not ours

    Raises Refused for a bad image and a chain whose images have growing sizes from the top down, NoSpace, also where
    the depth limit is passed, OverQuota, Invalid, NotFound, Conflict, Busy; then nothing is there.
    """
    request = volume.checked(request)
    with _opened(opened, file) as source:
        _check_chain(opened, request, source)
        if move:
            importing.check_movable(opened, file)
            _check_alone(source)
        size = arguments.size(importing.sound_size(source, file))
        request = request._replace(uuid=request.uuid or uuid.uuid4().hex)
        copies = _copies(source, str(request.uuid))
        is_shared = duplicate.is_shared(opened, source.paths)
        durable.require_room(opened.root, 0 if is_shared else sum(map(_allocated, source.layers)))

        def fill(image: Path) -> None:
            _fill(opened, source, copies, image.parent, progress)

        def grown(place: Place, record: VolumeRecord, inside: Path) -> tuple[VolumeRecord, Sequence[SnapshotRecord]]:
            return plan.adopted(place, record, [_parts(opened, record, c, inside) for c in reversed(copies[1:])])

        line = volume.Line(tuple(copy.uuid for copy in copies[1:]), grown)
        made = volume.appear(opened, request, "import chain", fill, size, line=line)
        if move:
            for layer in source.layers:
                importing.remove(layer)
    return made


def name_of(file: Path) -> str:
    """Return what to call the volume that file becomes: as an inventory beside it says, else as the file is called."""
    said = _said(file, VolumeRecord)
    return said.name if said else file.stem


def _opened(opened: Store, file: Path) -> AbstractContextManager[Source]:
    return sources.open_source(opened, file, "qcow2", raw_base=True)


def _check_chain(opened: Store, request: volume.Request, source: Source) -> None:
    """Refuse a chain that would not work as a line of snapshots."""
    limit = tree.depth_limit_by(request.tags, opened.record.max_incremental_snapshot_num)
    depth = len(source.layers) - 1
    if depth > limit:
        what = f"the chain has {depth} images under its top, the depth limit is {limit}; raise that, or {_FLATTEN}"
        raise errors.NoSpace(what=what)
    sizes = [(layer.file, _size(layer, source)) for layer in source.layers]
    for (above, small), (below, large) in pairwise(sizes):
        if small < large:
            why = f"it has {small} bytes, less than the {large} of {below.name} under it; {_FLATTEN}"
            raise errors.Refused(path=above, why=why, check="smaller-child")


def _is_raw(layer: Layer, source: Source) -> bool:
    return source.raw_base and layer == source.layers[-1]


def _size(layer: Layer, source: Source) -> int:
    """Return the bytes that a guest sees of an image."""
    if _is_raw(layer, source):
        return units.round_up(os.fstat(layer.fd).st_size)
    return qcow2.read_header(layer.fd, path=layer.file).size


def _check_alone(source: Source) -> None:
    """Raise Conflict where an image beside the chain stands on one of it: moving that would break the other."""
    directory = source.layers[0].file.parent
    own = {layer.file.name for layer in source.layers}
    for name in sorted(set(os.listdir(directory)) - own):
        if (backing := _backing(directory / name)) and (directory / backing).name in own:
            what = f"{directory / name} stands on {backing} too; import the chain without --move"
            raise errors.Conflict(what=what)


def _backing(path: Path) -> str | None:
    """Return the backing name in the header of what lies beside the chain, if it is a qcow2 image with one."""
    try:
        with open(inspector.open_image(path), "rb") as f:
            return qcow2.read_header(f.fileno(), path=path).backing_name
    except FileNotFoundError:
        return None
    except (OSError, errors.Refused) as e:
        if isinstance(e, errors.Refused) and e.check != "unreadable":  # no image: nothing to stand on another
            return None
        raise errors.Conflict(what=f"{path} can't be read, and may stand on the chain too; leave --move out") from e


def _copies(source: Source, top: str) -> list[_Copy]:
    names = [top, *(uuid.uuid4().hex for _ in source.layers[1:])]
    return [_Copy(layer, own, below) for layer, own, below in zip(source.layers, names, [*names[1:], None])]


def _allocated(layer: Layer) -> int:
    return units.allocated(os.fstat(layer.fd))


def _fill(
    opened: Store, source: Source, copies: Sequence[_Copy], inside: Path, progress: Progress | None
) -> None:
    """
    Make the images of the volume inside its directory, the lowest first, and prove that they are its chain.

    All but the top one, which volume.appear() syncs, are durable.
    """
    told = printed.counted(progress, sum(os.fstat(layer.fd).st_size for layer in source.layers))
    for copy in reversed(copies):
        if _is_raw(copy.layer, source):
            duplicate.copy(opened, [copy.layer.path], inside / layout.image(copy.uuid), "raw")
            told(os.fstat(copy.layer.fd).st_size)
        else:
            _take(copy, inside, duplicate.is_shared(opened, source.paths), told)
    if not all(layer.is_unchanged() for layer in source.layers):
        what = f"{source.layers[0].file}, or what it stands on, was written to meanwhile; nothing was taken over"
        raise errors.Busy(what=what)
    for copy in copies[1:]:
        durable.sync_file(inside / layout.image(copy.uuid))
    found = chain.read(inside, layout.image(copies[0].uuid))
    if [layer.uuid for layer in found] != [copy.uuid for copy in copies]:
        raise errors.CommandFailed(command="qemu-img rebase", status=0, stderr="the copies are no chain")


def _take(copy: _Copy, inside: Path, shared: bool, told: Callable[[int], None]) -> None:
    """Copy one image and give the copy the header that it must have with us."""
    target = inside / layout.image(copy.uuid)
    length = os.fstat(copy.layer.fd).st_size
    if shared:
        durable.reserve(target, 0o644)
        reflink.copy(copy.layer.fd, target)
        told(length)
    else:
        durable.copy(copy.layer.fd, target, told)
    if qcow2.read_header(copy.layer.fd, path=copy.layer.file).version == 2:
        conversion.upgrade(target)
    if copy.backing:
        driver.unsafe_rebase(target, layout.image(copy.backing))
    if driver.check(target).leaks:
        driver.repair(target)
    notes.reserve(target)
    chain.layer(target, chain.expected(layout.image(copy.backing) if copy.backing else None))


def _parts(opened: Store, record: VolumeRecord, copy: _Copy, inside: Path) -> plan.Parts:
    """Return what is known of the snapshot that an image becomes."""
    made = chain.layer(inside / layout.image(copy.uuid))
    said = _said(copy.layer.file, SnapshotRecord)
    return plan.Parts(
        uuid=copy.uuid,
        name=said.name if said else _name(copy.layer.file.stem),
        description=said.description if said else None,
        system_tags=(),
        user_tags=(),
        primary_storage=opened.record.uuid,
        image=str(Path(record.install_path).with_name(layout.image(copy.uuid))),
        allocated=made.allocated,
        size=made.header.size,
    )


def _name(stem: str) -> str:
    try:
        return arguments.name(stem)
    except errors.Invalid:
        return "imported"  # a file may have a name that no snapshot can have


def _said(file: Path, kind: type[Found]) -> Found | None:
    """Return the inventory of ours beside an image of ours, whose name and description still fit; None without."""
    if not layout.is_uuid(file.stem):
        return None
    with suppress(OSError, errors.Error):
        said = records.read(file.with_suffix(".json"), kind)
        arguments.name(said.name)
        arguments.description(said.description)
        return said if said.uuid == file.stem else None
    return None
