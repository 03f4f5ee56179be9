"""Who stands on a volume from outside is told by the volumes' records, deleted ones among them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from snapengine import clones, errors
from tests.prepared import Prepared, make


@pytest.fixture
def made(tmp_path: Path) -> Prepared:
    return make(tmp_path / "store")


def base(made: Prepared, snapshot: str) -> str:
    """Return what the record of a linked clone of a snapshot calls its base."""
    return f"../../../../{made.image(snapshot).relative_to(made.root)}"


def link(made: Prepared, name: str, snapshot: str) -> Path:
    """Let a new volume's record say that it is a linked clone of a snapshot; returns its directory."""
    path = made.engine.volume_path(made.engine.create_volume(name, 2**20).uuid)
    record = path.with_suffix(".json")
    record.write_text(json.dumps(json.loads(record.read_text()) | {"base": base(made, snapshot), "linked": True}))
    return path.parent


def names(made: Prepared, snapshot: str | None = None, volume: str | None = None) -> list[str]:
    return [record.name for record in clones.of(made.root, volume or made.volume, snapshot)]


def test_the_linked_clones_of_a_volume_and_of_one_snapshot_are_found(made: Prepared) -> None:
    link(made, "b", made.second)
    link(made, "a", made.first)

    assert names(made) == ["a", "b"]
    assert names(made, made.first) == ["a"]
    assert names(made, made.second) == ["b"]
    assert names(made, volume=made.other) == []


def test_a_deleted_clone_counts(made: Prepared) -> None:
    directory = link(made, "a", made.first).parent
    target = made.root / "trash" / directory.parent.name
    target.mkdir(parents=True)
    shutil.move(directory, target)

    (found,) = clones.of(made.root, made.volume, made.first)

    assert found.status == "Deleted"
    assert f"clones: a ({found.uuid}, deleted);" in str(clones.protected("snapshot s", [found]))


def test_a_damaged_record_does_not_take_its_base_away_from_a_clone(made: Prepared) -> None:
    directory = link(made, "a", made.first)
    (image,), (record,) = directory.glob("*.qcow2"), directory.glob("*.json")
    layers = ("-F", "qcow2", "-b", base(made, made.first))
    subprocess.run(["qemu-img", "rebase", "-q", "-u", "-f", "qcow2", *layers, image.name], cwd=directory, check=True)
    record.write_text("{")

    with pytest.raises(errors.Corrupt, match=f"stands on volume {made.volume}"):
        names(made)
    assert names(made, made.second) == []


def test_a_damaged_record_of_another_volume_is_in_nobodys_way(made: Prepared) -> None:
    link(made, "a", made.first)
    made.engine.volume_path(made.other).with_suffix(".json").write_text("{")

    assert names(made) == ["a"]


@pytest.mark.parametrize("text", ["../first.qcow2", "/etc/passwd", "../../../../trash/x", "first.qcow2"])
def test_a_base_that_leads_elsewhere_is_no_clone_of_ours(made: Prepared, text: str) -> None:
    record = next(link(made, "a", made.first).glob("*.json"))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"base": text}))

    assert names(made) == []
