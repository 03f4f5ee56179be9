"""An image with another name, as `cp -al` makes them, is not written to: what is written to one shows in both."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from snapengine import errors
from tests import images, prepared
from tests.prepared import Prepared


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepared.make(tmp_path_factory.mktemp("shared") / "master")


@pytest.fixture
def store(master: Prepared, tmp_path: Path) -> Prepared:
    return master.copied(tmp_path / "storage")


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


WRITTEN: dict[str, tuple[Callable[[Prepared], Path], Callable[[Prepared], object]]] = {
    "create": (lambda s: s.image(s.volume), lambda s: s.engine.create_snapshot(s.volume, "new")),
    "restore": (lambda s: s.image(s.item), lambda s: s.engine.restore_trash(s.item)),
    "restore as a snapshot": (lambda s: s.image(s.item), lambda s: s.engine.restore_trash_as_snapshot(s.item, "new")),
    "restore over a lost image": (lambda s: s.image(s.item), lambda s: _without_active(s)),
    "delete by pull": (
        lambda s: s.image(s.item),
        lambda s: s.engine.delete_snapshots((s.second,), direction="pull"),
    ),
    "delete by commit": (
        lambda s: s.image(s.second),
        lambda s: s.engine.delete_snapshots((s.second,), direction="commit"),
    ),
}


def _without_active(store: Prepared) -> None:
    os.truncate(store.image(store.volume), 0)
    store.engine.restore_trash(store.item)


@pytest.mark.parametrize(("shared", "verb"), WRITTEN.values(), ids=WRITTEN)
def test_a_verb_that_would_write_to_it_or_let_a_vm_do_so_refuses(
    store: Prepared, tmp_path: Path, shared: Callable[[Prepared], Path], verb: Callable[[Prepared], object]
) -> None:
    other = tmp_path / "other.qcow2"
    os.link(shared(store), other)
    before, content = files(store.directory), other.read_bytes()

    with pytest.raises(errors.Conflict, match=f"{shared(store)} has another name elsewhere"):
        verb(store)
    assert other.read_bytes() == content
    left = files(store.directory)
    assert {name: left[name] for name in left if left[name]} == {name: before[name] for name in before if left[name]}
    assert os.listdir(store.root / "journal") == []


def test_a_copy_in_its_place_mends_it_as_the_message_says(store: Prepared, tmp_path: Path) -> None:
    os.link(store.image(store.item), tmp_path / "other.qcow2")
    held = images.read(store.image(store.item))
    with pytest.raises(errors.Conflict) as caught:
        store.engine.restore_trash(store.item)

    command = str(caught.value).partition("in its place: '")[2].rstrip("'")
    assert os.system(command) == 0
    store.oracle.restore(store.item)
    assert images.read(store.image(store.volume)) == held
    store.oracle.check()
