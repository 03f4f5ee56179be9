"""Bring a foreign image in as a volume: inspected first, then copied whole into a qcow2 image of our own."""

import os
from pathlib import Path

from snapengine import (
    arguments,
    clusters,
    command,
    driver,
    duplicate,
    durable,
    errors,
    foreign,
    inside,
    qcow2,
    sources,
    volume,
)
from snapengine.driver import Format
from snapengine.inventory import Volume
from snapengine.printed import Progress
from snapengine.sources import Layer, Source
from snapengine.store import Store


def import_volume(
    opened: Store, file: Path, request: volume.Request, fmt: Format | None, move: bool, progress: Progress | None
) -> Volume:
    """
    Make a volume of what a guest sees of file, a raw, qcow2, vmdk, vdi, vhdx or vpc image.

    fmt None detects the format by its magic; a file without a known magic is raw, and one with a magic is raw only
    when fmt says so. A qcow2 image with a backing chain is flattened. The tool gets the very files that were
    inspected, by their descriptors, or copies where a stranger could still write to a header, and no name out of a
    header. The source is left as it is; with move its top image is removed after the volume is there and durable.

    Crash table as for volume.create; with move, a crash between the commit and the removal leaves the source too.
    Raises Refused for a bad image, InUse while a VM has it open, Invalid, NotFound, NoSpace; then nothing is there.
    """
    request = volume.checked(request)
    if move:
        check_movable(opened, file)
    with sources.open_source(opened, file, fmt) as source:
        size = arguments.size(sound_size(source, file))
        duplicate.require_room(opened, source.paths, source.format)

        def fill(image: Path) -> None:
            duplicate.copy(opened, source.paths, image, source.format, progress)
            if not all(layer.is_unchanged() for layer in source.layers):
                raise errors.Busy(what=f"{file} was written to while it was imported; nothing was taken over")

        made = volume.appear(opened, request, "import volume", fill, size)
    if move:
        remove(source.layers[0])
    return made


def remove(layer: Layer) -> None:
    """Remove a source of a volume that is there now, if its name still means the file that was imported."""
    if not layer.has_its_name():
        raise errors.Conflict(what=f"the volume is there, but {layer.file} is another file by now; it was left alone")
    try:
        durable.unlink(layer.file)
    except OSError as e:
        what = f"the volume is there, but {layer.file} could not be removed: {e.strerror}; remove it by hand"
        raise errors.Denied(what=what) from e
    durable.sync_directory(layer.file.parent)


def sound_size(source: Source, file: Path) -> int:
    """
    Return the size in bytes that a guest sees; Refused where qemu-img finds the image damaged, or data is cut off.

    What a cut-off image has lost would be copied as zeros, and qemu-img would call that a success.
    """
    top, *below = (layer.path for layer in source.headed)
    try:
        size = driver.virtual_size(top, source.format)
        found = [driver.check(top, source.format), *map(driver.check, below)]
    except errors.CommandFailed as e:
        if e.status not in command.IMAGES_FAULT:  # the tool is missing or was killed
            raise
        said = "; ".join(line.rpartition("': ")[2] for line in e.stderr.splitlines()[:3])
        raise errors.Refused(path=file, why=f"qemu-img can't read it: {said}", check="damaged") from e
    wrong = sum(check.corruptions + check.check_errors for check in found)
    if wrong:
        raise errors.Refused(path=file, why=f"qemu-img found {wrong} errors in it; was it cut off?", check="damaged")
    for layer in source.headed if source.format == "qcow2" else ():
        clusters.require_whole(layer.fd, qcow2.read_header(layer.fd, path=layer.file), layer.file)
    if source.format == "vmdk":
        foreign.require_grains(source.layers[0].fd, file)
    return size


def check_movable(opened: Store, file: Path) -> None:
    """Refuse to move what can't be removed afterwards, and above all an image of the store itself."""
    if inside.holds(opened.root, file):
        raise errors.Invalid(what=f"{file} lies in the primary storage; import it without --move")
    if file.parent.is_dir() and not os.access(file.parent, os.W_OK | os.X_OK):
        raise errors.Denied(what=f"can't remove {file} from its directory; run as its owner, or without --move")
