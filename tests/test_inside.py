"""What lies in the store is not written over, and not moved away, by whatever path it is reached."""

import subprocess
from pathlib import Path

import pytest

from snapengine import errors, inside
from tests import prepared, privileged
from tests.prepared import Prepared


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("inside") / "master")


def test_what_lies_in_the_store_is_told_from_what_lies_beside_it(store: Prepared, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.directory)

    for within in (store.root / "new", store.image(store.first), tmp_path / "link" / "new", store.root / "journal/x"):
        assert inside.holds(store.root, within), within
    for outside in (store.root, store.root.parent / "new", tmp_path / "new", Path("/"), tmp_path / "no" / "new"):
        assert not inside.holds(store.root, outside), outside


@privileged.needs_root
@pytest.mark.parametrize("which", ["root", "snapshots"])
def test_an_export_over_a_file_of_the_store_is_refused_also_by_a_bind_mount(
    store: Prepared, tmp_path: Path, which: str
) -> None:
    directory = store.root if which == "root" else store.directory
    with privileged.shown_at(tmp_path / "elsewhere", directory) as elsewhere:
        names = {path.relative_to(directory) for path in (store.image(store.first), store.image(store.volume))}
        for name in (*names, Path("new.qcow2")):
            with pytest.raises(errors.Invalid, match="lies in the primary storage"):
                store.engine.export_snapshot(store.second, elsewhere / name, force=True)

    store.oracle.check()


@privileged.needs_root
@pytest.mark.parametrize("chain", [False, True], ids=["alone", "chain"])
def test_an_image_of_the_store_is_not_moved_away_by_a_bind_mount(
    store: Prepared, tmp_path: Path, chain: bool
) -> None:
    import_it = store.engine.import_chain if chain else store.engine.import_volume
    with privileged.shown_at(tmp_path / "elsewhere", store.directory) as elsewhere:
        with pytest.raises(errors.Invalid, match="without --move"):
            import_it(elsewhere / store.image(store.second).name, "moved", move=True)

    store.oracle.check()


@privileged.needs_root
def test_a_loop_device_over_an_image_of_the_store_is_not_written_to(store: Prepared) -> None:
    image = store.image(store.second)
    said = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True)
    if said.returncode:
        pytest.skip(f"this machine has no loop devices: {said.stderr}")
    try:
        with pytest.raises(errors.Invalid, match="lies in the primary storage"):
            store.engine.export_snapshot(store.first, Path(said.stdout.strip()), force=True)
    finally:
        subprocess.run(["losetup", "--detach", said.stdout.strip()], check=True)

    store.oracle.check()
