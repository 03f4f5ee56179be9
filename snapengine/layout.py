"""
Where everything lies below the primary storage's root (DESIGN, section 2). Pure: it makes names, it opens nothing.

Whatever becomes part of a path is checked here first: uuids are 32 lower-case hex characters, nothing else passes.
"""

import re
from pathlib import Path

from snapengine import errors
from snapengine.inventory import Volume, VolumeType

STORAGE_RECORD = "primary-storage.json"
ACCOUNTS_RECORD = "accounts.json"
JOURNAL = "journal"
LOCK = ".lock"
LOST_FOUND = "lost+found"  # of the file system, where the store lies at the root of one
SNAPSHOTS = "snapshots"
GROUPS = "groups"
TRASH = "trash"  # deleted volumes
SERVER = "server"  # the server's own state: sessions, jobs
PRIVATE = 0o700  # the mode of that: names in it are secrets
ENDED = f"{SERVER}/ended"  # entries of the journal that are done and were asked for by a call of the server
TYPES: dict[VolumeType, str] = {"Root": "rootVolumes", "Data": "dataVolumes"}
ADMIN = "36c27e8ff05c4780bf6d2fa65700f22e"  # the account that the published page's example path shows

_UUID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_OWN_DIRECTORY = re.compile(
    r"((root|data)Volumes|trash)/acct-[0-9a-f]{32}(/vol-[0-9a-f]{32}/snapshots)?|groups", re.ASCII
)
_BASE = re.compile(
    r"\.\./\.\./\.\./\.\./(?:root|data)Volumes/acct-[0-9a-f]{32}/vol-([0-9a-f]{32})/snapshots/([0-9a-f]{32})\.qcow2",
    re.ASCII,
)
GIVEN_UUID = re.compile(r"[0-9a-f]{12}[1-5][0-9a-f]{3}[89ab][0-9a-f]{15}", re.ASCII)


def is_uuid(text: str) -> bool:
    """Tell whether text may stand in a path as a uuid."""
    return _UUID.fullmatch(text) is not None


def check_given_uuid(text: str) -> str:
    """Return text, a uuid that the caller wants a new object to have; Invalid unless the contract's pattern fits."""
    if GIVEN_UUID.fullmatch(text) is None:
        want = "give 32 lower-case hex characters of a version 1-5 uuid"
        raise errors.Invalid(what=f"{text[:64]!r} is not a uuid: {want}")
    return text


def volume_directory(root: Path, kind: VolumeType, account: str, volume: str) -> Path:
    """Return the directory of a volume, `rootVolumes/acct-<account>/vol-<volume>` for a root volume."""
    return root / TYPES[kind] / f"acct-{account}" / f"vol-{volume}"


def deleted_directory(root: Path, account: str, volume: str) -> Path:
    """Return where a volume's directory lies while it is deleted: as deep below the root as before."""
    return root / TRASH / f"acct-{account}" / f"vol-{volume}"


def is_deleted(directory: Path) -> bool:
    """Tell whether a volume's `snapshots` directory lies among the deleted ones: the one thing that says so."""
    return directory.parent.parent.parent.name == TRASH


def volume_of(directory: Path) -> str:
    """Return the uuid of the volume whose `snapshots` directory this is."""
    return directory.parent.name.removeprefix("vol-")


def account_of(directory: Path) -> str:
    """Return the uuid of the account that a volume's `snapshots` directory belongs to."""
    return directory.parent.parent.name.removeprefix("acct-")


def base_of(name: str) -> tuple[str, str] | None:
    """Return the volume and the snapshot that a linked clone's base, named up to the root and down again, is of."""
    found = _BASE.fullmatch(name)
    return (found[1], found[2]) if found else None


def image(uuid: str) -> str:
    """Return the bare name of the image of a snapshot, or of a volume's active image at its stable name."""
    return f"{uuid}.qcow2"


def record(uuid: str) -> str:
    """Return the bare name of the inventory of a volume or snapshot."""
    return f"{uuid}.json"


def base(directory: str, snapshot: str) -> str:
    """
    Return the name by which the images of another volume stand on a snapshot: up to the root and down to directory.

    directory is that of the snapshot's volume, relative to the root. All volumes, deleted ones too, lie equally deep.
    """
    return f"../../../../{directory}/{image(snapshot)}"


def below_root(base: str) -> str:
    """
    Return the path, relative to the root, of what base() named; Corrupt for any other name.

    A record is never trusted with a path.
    """
    if base_of(base) is None:
        raise errors.Corrupt(what=f"a record names the base {base[:200]!r}, which is no snapshot of a volume")
    return base.removeprefix("../../../../")


def trash_image(item: str) -> str:
    """Return the bare name of a trash item's image."""
    return f"{item}.trash.qcow2"


def damaged_image(operation: str) -> str:
    """Return the bare name under which an operation keeps a damaged active image that it replaced."""
    return f"{operation}.damaged.qcow2"


def is_damaged(name: str) -> bool:
    """Tell whether a bare name was made by damaged_image()."""
    uuid, _, rest = name.partition(".")
    return is_uuid(uuid) and rest == "damaged.qcow2"


def trash_record(item: str) -> str:
    """Return the bare name of a trash item's record."""
    return f"{item}.trash.json"


def decided(operation: str) -> str:
    """Return the bare name of the journal entry of an operation on several volumes once it is decided."""
    return f"{operation}.decided.json"


def operation_of(name: str) -> str | None:
    """Return the uuid of the operation whose journal entry has this bare name, None for any other name."""
    uuid = name.partition(".")[0]
    return uuid if is_uuid(uuid) and name in (record(uuid), decided(uuid)) else None


def new(name: str, operation: str) -> str:
    """Return the bare name under which operation prepares what will become name."""
    return f".{name}.{operation}.new"


def is_new(name: str) -> bool:
    """Tell whether a bare name was made by new()."""
    return name.startswith(".") and name.endswith(".new")


def active_name(volume: Volume) -> str:
    """
    Return the bare name of the volume's active image as its record says.

    Raises Corrupt when the record's path is no name that the engine gives (`<volume>.qcow2` or `<volume>.<n>.qcow2`):
    a record is never trusted with a path.
    """
    name = volume.install_path.rpartition("/")[2]
    if re.fullmatch(rf"{volume.uuid}(\.\d+)?\.qcow2", name, re.ASCII) is None:
        path = volume.install_path
        raise errors.Corrupt(what=f"volume {volume.uuid} has the install path {path!r}, not one of its own")
    return name


def is_bare(name: str) -> bool:
    """Tell whether name is a bare file name, which leads nowhere but into its own directory."""
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def is_trash(name: str) -> bool:
    """Tell whether a bare name is a trash item's image or record."""
    uuid, _, rest = name.partition(".")
    return is_uuid(uuid) and rest in ("trash.qcow2", "trash.json")


def is_group(name: str) -> bool:
    """Tell whether a bare name is that of a group's record."""
    uuid, _, rest = name.partition(".")
    return is_uuid(uuid) and rest == "json"


def is_removable(name: str, volume: str) -> bool:
    """Tell whether a bare name is a snapshot's or trash item's image or record, and not the volume's own."""
    uuid, _, rest = name.partition(".")
    return is_trash(name) or (is_uuid(uuid) and uuid != volume and rest in ("qcow2", "json"))


def is_droppable(name: str, below: str, volume: str, operation: str) -> bool:
    """Tell whether an operation on a volume may remove what has this bare name, in below, relative to the root."""
    if below == GROUPS:
        return is_group(name)
    if below.startswith(f"{TRASH}/") and not below.endswith(SNAPSHOTS):
        return name == new(f"vol-{volume}", operation)
    return is_removable(name, volume)


def is_own_directory(below: str) -> bool:
    """Tell whether below, relative to the root, is where an operation works: an account's or a volume's directory."""
    return _OWN_DIRECTORY.fullmatch(below) is not None


def recorded(name: str) -> str | None:
    """Return the uuid of the volume or snapshot whose record has this bare name, None for any other name."""
    uuid, _, rest = name.partition(".")
    return uuid if rest == "json" and is_uuid(uuid) else None


def record_beside(image: str) -> str:
    """Return the bare name of the record of what has an image with this bare name."""
    return image.removesuffix("qcow2") + "json"


def image_beside(record: str) -> str:
    """Return the bare name of the image of what has a record with this bare name."""
    return record.removesuffix("json") + "qcow2"


def owner(name: str) -> str:
    """Return the uuid that the bare name of an image, a record or a volume's directory begins with."""
    return name.removeprefix("vol-").partition(".")[0]


def uuid_of(name: str) -> str | None:
    """Return the uuid of a snapshot's bare image name, None for any other name."""
    uuid = name.removesuffix(".qcow2")
    return uuid if uuid != name and is_uuid(uuid) else None
