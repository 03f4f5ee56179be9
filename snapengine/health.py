"""One thing that is wrong in a store, and what may be wrong with one image."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from snapengine import chain, command, driver, errors, layout, maps, presence, standing, tables
from snapengine.inventory import Struct

AGREE = "'snapengine repair' lets the record follow the images; where it can't, restore what is wrong from a backup"
FOLLOW = f"if a hand changed the image's header, 'qemu-img rebase -u' puts that back first; else {AGREE}"
REMAKE = "'snapengine rebuild' makes it again as far as the images tell; a backup may know more"
AGAIN = "mend that, then run 'snapengine rebuild' again"
RESTORE_IMAGE = "restore the file from a backup"
_RENAME = f"'snapengine repair' mends it if the name is that of its own parent; else {RESTORE_IMAGE}"
REVERT = f"{RESTORE_IMAGE}, or take the volume back to a snapshot, if it has one, with 'snapengine snapshot revert'"
SETTLE = "the next verb on the volume, or 'snapengine status', finishes or undoes it"
READ = "run as the store's owner, who may read it; after an error of the disk look into the kernel's log"
TIDY = "harmless; the next verb that changes the volume removes it, as 'snapengine repair' does"
RESTORE_ROOM = "harmless; 'snapengine repair' gives the room back while no VM runs"

Kind = Literal[  # stable words, told in docs/reliability.md
    "unfinished", "journal-damaged", "stray-file", "record-missing", "record-damaged", "duplicate-uuid", "unreadable",
    "image-shared", "image-missing", "base-missing", "image-foreign", "image-truncated", "image-refused",
    "backing-outside", "backing-format",
    "wrong-backing", "wrong-size", "wrong-current", "wrong-latest", "wrong-distance", "wrong-group", "torn-tree",
    "content-changed", "image-leaks", "image-corrupt",
]  # fmt: skip
_KINDS: Mapping[str, Kind] = {
    "magic": "image-foreign",
    "header-short": "image-truncated",
    "l1-outside": "image-truncated",
    "refcount-table-outside": "image-truncated",
    "l2-outside": "image-truncated",
    "cluster-outside": "image-truncated",
    "backing-path": "backing-outside",
    "backing-protocol": "backing-outside",
    "backing-format-missing": "backing-format",
    "backing-format-twice": "backing-format",
    "backing-format": "backing-format",
}
NAMES: frozenset[Kind] = frozenset({"backing-outside", "backing-format"})  # a header names its parent in a bad way


class Problem(Struct, frozen=True, kw_only=True):
    """One thing that is wrong; object is a uuid, repair says what to do."""

    kind: Kind
    object: str
    path: str
    message: str
    repair: str


def problem(kind: Kind, uuid: str, path: Path, message: str, repair: str) -> Problem:
    """Return a problem of the object uuid."""
    return Problem(kind=kind, object=uuid, path=str(path), message=message, repair=repair)


def stray(uuid: str, path: Path) -> Problem:
    """Return the problem that nothing knows what lies at path."""
    if is_half_made(path):
        return problem("stray-file", uuid, path, f"{path.name} was left half-made by a verb that was cut off", TIDY)
    message = f"{path.name} belongs to nothing that the records know"
    if layout.is_damaged(path.name):
        message = f"{path.name} is a damaged image that a revert or restore has replaced"
    return problem("stray-file", uuid, path, message, "move it out of the store")


def is_half_made(path: Path) -> bool:
    """Tell whether a stray file is what a cut-off replacement left in a volume's directory, to be removed by tidy."""
    return layout.is_new(path.name) and path.parent.name == layout.SNAPSHOTS and not path.is_dir()


def readable(uuid: str, path: Path, found: Iterator[Problem]) -> Iterator[Problem]:
    """Give what found gives; what can't be read on the way, of the object uuid, is a problem more and ends it."""
    try:
        yield from found
    except FileNotFoundError:  # a verb has just removed it
        raise
    except OSError as e:
        at = os.fsdecode(e.filename) if isinstance(e.filename, str | bytes) else path
        yield problem("unreadable", uuid, Path(at), f"it can't be read: {e.strerror}", READ)


def of_image(
    directory: Path, uuid: str, name: str, backing: str | None, size: int | None, deep: bool
) -> Iterator[Problem]:
    """
    Give what is wrong with the image called name in directory, of the object uuid.

    backing is the name of what it must stand on, size the recorded virtual bytes of an active image, None for others.
    deep runs `qemu-img check` on it too.
    """
    path = directory / name
    repair = RESTORE_IMAGE if size is None else REVERT
    if not presence.is_there(path):
        yield problem("image-missing", uuid, path, "the image is missing", repair)
        return
    try:
        layer, is_cut_off = _looked_at(path)
    except errors.Refused as e:
        kind = _KINDS.get(e.check, "image-refused")
        yield problem(kind, uuid, path, str(e), _RENAME if kind in NAMES and not layout.is_trash(name) else repair)
        return
    if layer.backing != backing:
        message = f"the image {standing.told(layer.backing, backing)}"
        yield problem("wrong-backing", uuid, path, message, FOLLOW)
    if size is not None and layer.header.size != size:
        message = f"the image has {layer.header.size} bytes, the record says {size}"
        yield problem("wrong-size", uuid, path, message, AGREE)
    if deep or is_cut_off:
        yield from _tables(uuid, layer, repair, deep)


def _looked_at(path: Path) -> tuple[chain.Layer, bool]:
    """Return the inspected image at path, and whether its file may have been cut off."""
    fd = chain.open_layer(path)
    try:
        layer = chain.opened(fd, path)
        return layer, tables.is_cut_off(fd, layer.header, path=path)
    finally:
        os.close(fd)


def _tables(uuid: str, layer: chain.Layer, repair: str, deep: bool) -> Iterator[Problem]:
    try:
        maps.require_whole([layer])
    except errors.Refused as e:
        yield problem(_KINDS.get(e.check, "image-corrupt"), uuid, layer.path, str(e), repair)
        return
    if deep:
        yield from _checked(uuid, layer.path, repair)


def _checked(uuid: str, path: Path, repair: str) -> Iterator[Problem]:
    try:
        found = driver.check(path)
    except errors.CommandFailed as e:
        if e.status not in command.IMAGES_FAULT:  # not an answer: the tool is missing, or was killed
            raise
        message = f"qemu-img check can't read it: {e.stderr.splitlines()[0]}"
        yield problem("image-corrupt", uuid, path, message, repair)
        return
    if found.corruptions or found.check_errors:
        message = f"qemu-img check found {found.corruptions} corruptions and {found.check_errors} errors"
        yield problem("image-corrupt", uuid, path, message, repair)
    if found.leaks:
        yield problem("image-leaks", uuid, path, f"{found.leaks} clusters are leaked", RESTORE_ROOM)
