"""What a store holds of one process's volumes, read from the images."""

import subprocess
from pathlib import Path

from snapengine import inventory
from snapengine.engine import Engine
from tests import images
from tests.oracle import CLUSTER
from tests.soak.model import CLUSTERS, Content, Model, Volume


def found(engine: Engine, owner: str) -> Model:
    """Return what is there of the volumes whose names begin with the owner's."""
    model = {v.name: Volume(content(Path(v.install_path)), deleted=True) for v in _of(engine, owner, True)}
    trash = engine.list_trash()
    for volume in _of(engine, owner, False):
        frozen = {s.name: content(engine.snapshot_path(s.uuid)) for s in engine.list_snapshots(volume.uuid)}
        active = engine.volume_path(volume.uuid)
        items = [item.uuid for item in trash if item.volume_uuid == volume.uuid]
        kept = tuple(content(active.with_name(f"{item}.trash.qcow2")) for item in items)
        model[volume.name] = Volume(content(active), frozen, kept)
    return model


def _of(engine: Engine, owner: str, deleted: bool) -> list[inventory.Volume]:
    return [volume for volume in engine.list_volumes(deleted=deleted) if volume.name.startswith(f"{owner}.")]


def content(path: Path) -> Content:
    """Return what an image holds, one number for each cluster; AssertionError where a cluster is a mix."""
    data = images.read(path)
    clusters = [data[at : at + CLUSTER] for at in range(0, len(data), CLUSTER)]
    assert len(clusters) == CLUSTERS, f"{path} has {len(clusters)} clusters"
    for cluster in clusters:
        assert cluster == cluster[:1] * CLUSTER, f"{path}: a cluster is a mix of {sorted(set(cluster))}"
    return tuple(cluster[0] for cluster in clusters)


def write(path: Path, cluster: int, pattern: int, alive: int) -> None:
    """Write one cluster, as a guest does; it holds the file alive open until it has ended, whoever is killed."""
    command = f"write -q -P {pattern} {cluster * CLUSTER} {CLUSTER}"
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", command, "-c", "flush", str(path)],
        check=True, pass_fds=[alive], start_new_session=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
