"""The doors by which an image comes to the engine: where it lies, and the command that meets it there."""

import shutil
import subprocess
from pathlib import Path
from typing import Literal, NamedTuple

from fixtures.hostile.corpus import Image, Spot
from snapengine.engine import Engine
from tests import qcow2_forge as forge
from tests.oracle import Oracle

Place = Literal["outside", "active", "snapshot", "trash", "stray"]

ALONE, LINE, WORN = (f"{digit * 12}4{digit * 3}8{digit * 15}" for digit in "abc")
SNAPSHOT, UNDER = (f"{digit * 12}4{digit * 3}8{digit * 15}" for digit in "de")
STRAY = f"{'f' * 12}4{'f' * 3}8{'f' * 15}"


class Door(NamedTuple):
    """
    One door: name, where the image lies, the command's words; unopened says why it may pass an image that lies there.

    ITEM in the words is the trash item, FILE the image, OUT a name outside of the store.
    """

    name: str
    place: Place
    words: str
    unopened: str | None = None


FROZEN = "the command does not open that image"
DOORS = (
    Door("import", "outside", "volume import FILE --name new"),
    Door("import --move", "outside", "volume import FILE --name new --move"),
    Door("import --chain", "outside", "volume import FILE --name new --chain"),
    Door("import --format raw", "outside", "volume import FILE --name new --format raw", "it is read as plain bytes"),
    Door("active: verify", "active", f"verify {ALONE}"),
    Door("active: verify --deep", "active", f"verify --deep {ALONE}"),
    Door("active: chain", "active", f"volume chain {ALONE}"),
    Door("active: create", "active", f"snapshot create {ALONE} new"),
    Door("active: group", "active", f"group create new {ALONE} {LINE}"),
    Door("active: resize", "active", f"volume resize {ALONE} 2M"),
    Door("active: flatten", "active", f"volume flatten {ALONE} --yes"),
    Door("active: repair", "active", f"repair {ALONE}"),
    Door("active: rebuild", "active", "rebuild"),
    Door("active: status", "active", "status", FROZEN),
    Door("active: delete", "active", f"volume delete {ALONE} --yes", FROZEN),
    Door("snapshot: verify", "snapshot", f"verify {LINE}"),
    Door("snapshot: verify --deep", "snapshot", f"verify --deep {LINE}"),
    Door("snapshot: chain", "snapshot", f"volume chain {LINE}"),
    Door("snapshot: export", "snapshot", f"snapshot export {SNAPSHOT} OUT"),
    Door("snapshot: export raw", "snapshot", f"snapshot export {SNAPSHOT} OUT --format raw"),
    Door("snapshot: export -", "snapshot", f"snapshot export {SNAPSHOT} -"),
    Door("snapshot: clone", "snapshot", f"volume clone {SNAPSHOT} new"),
    Door("snapshot: clone --linked", "snapshot", f"volume clone {SNAPSHOT} new --linked"),
    Door("snapshot: delete", "snapshot", f"snapshot delete {SNAPSHOT} --yes"),
    Door("snapshot: delete all", "snapshot", f"snapshot delete {SNAPSHOT} --with-descendants --yes"),
    Door("snapshot: size", "snapshot", f"snapshot size {SNAPSHOT}"),
    Door("snapshot: diff", "snapshot", f"snapshot diff {SNAPSHOT}"),
    Door("snapshot: shrink", "snapshot", f"snapshot shrink {SNAPSHOT}"),
    Door("snapshot: revert", "snapshot", f"snapshot revert {SNAPSHOT} --yes"),
    Door("snapshot: undo", "snapshot", f"snapshot undo {LINE} --yes"),
    Door("snapshot: flatten", "snapshot", f"volume flatten {LINE} --yes"),
    Door("snapshot: repair", "snapshot", f"repair {LINE}"),
    Door("snapshot: rebuild", "snapshot", "rebuild"),
    Door("snapshot: create", "snapshot", f"snapshot create {LINE} new", FROZEN),
    Door("trash: verify", "trash", f"verify {WORN}"),
    Door("trash: verify --deep", "trash", f"verify --deep {WORN}"),
    Door("trash: restore", "trash", "trash restore ITEM"),
    Door("trash: restore as", "trash", "trash restore ITEM --as-snapshot"),
    Door("trash: delete under it", "trash", f"snapshot delete {UNDER} --yes"),
    Door("trash: repair", "trash", f"repair {WORN}"),
    Door("trash: rebuild", "trash", "rebuild"),
    Door("trash: purge", "trash", "trash purge ITEM --yes", FROZEN),
    Door("stray: verify", "stray", f"verify {LINE}"),
    Door("stray: repair", "stray", f"repair {LINE}"),
    Door("stray: rebuild", "stray", "rebuild"),
    Door("serve: create", "active", "serve create"),
    Door("serve: revert", "snapshot", "serve revert"),
    Door("serve: delete", "snapshot", "serve delete"),
    Door("serve: clone", "snapshot", "serve clone"),
    Door("serve: undo", "snapshot", "serve undo"),
    Door("stray: create", "stray", f"snapshot create {LINE} new", FROZEN),
)


class Scene(NamedTuple):
    """Where one case plays: the store, what lies outside of it, a host file that nobody may open."""

    root: Path
    outside: Path
    bait: Path


def template(directory: Path) -> Path:
    """
    Make the store that each case begins with, below directory, and return it.

    ALONE is a volume without snapshots; LINE stands on SNAPSHOT, an origin; WORN on UNDER, as its trash item does.
    """
    root = directory / "store"
    oracle = Oracle(Engine.init(root))
    for name, uuid in (("alone", ALONE), ("line", LINE), ("worn", WORN)):
        oracle.volume(name, forge.SIZE, uuid=uuid)
        oracle.write(uuid)
    for volume, uuid in ((LINE, SNAPSHOT), (WORN, UNDER)):
        oracle.engine.create_snapshot(volume, "first", uuid=uuid)
        oracle.expected[uuid] = oracle.expected[volume]
        oracle.write(volume, 65536)
    oracle.engine.revert(UNDER)
    kept = directory / "template"
    root.rename(kept)
    return kept


def scene(directory: Path, kept: Path) -> Scene:
    """Set a new scene below directory."""
    found = Scene(directory / "store", directory / "outside", directory / "secret" / "bait")
    for path in (found.root, found.outside, found.bait.parent):
        shutil.rmtree(path, ignore_errors=True)
    subprocess.run(["cp", "-a", kept, found.root], check=True)
    found.outside.mkdir()
    found.bait.parent.mkdir()
    found.bait.write_bytes(b"a secret of the host\n" * 3000)
    return found


def place(image: Image, door: Door, at: Scene) -> tuple[Path, list[str]]:
    """Put image where the door has it; returns its path and the words of the command."""
    item = next((at.root / "dataVolumes").rglob("*.trash.qcow2"))
    spots = {
        "outside": (at.outside / "image.qcow2", None),
        "active": (_images(at, ALONE) / f"{ALONE}.qcow2", None),
        "snapshot": (_images(at, LINE) / f"{SNAPSHOT}.qcow2", None),
        "trash": (item, f"{UNDER}.qcow2"),
        "stray": (_images(at, LINE) / f"{STRAY}.qcow2", None),
    }
    path, backing = spots[door.place]
    path.unlink(missing_ok=True)
    if door.words == "rebuild":
        path.with_suffix(".json").unlink(missing_ok=True)
    image.make(Spot(path, backing, at.bait))
    given = {"FILE": str(path), "OUT": str(at.outside / "out"), "ITEM": item.name.partition(".")[0]}
    return path, [given.get(word, word) for word in door.words.split()]


def _images(at: Scene, volume: str) -> Path:
    return next((at.root / "dataVolumes").glob(f"*/vol-{volume}/snapshots"))
