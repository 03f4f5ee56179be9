"""The verbs that the crash tests cut off, each on one of the stores (stores.py)."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from snapengine import cost, errors
from snapengine.engine import Engine
from tests import images
from tests.crash import state, stores
from tests.crash.harms import HARMS
from tests.crash.state import State
from tests.crash.stores import Things
from tests.oracle import CLUSTER, MIB, Oracle

GIVEN = "0123456789ab4def8123456789abcdef"


class Verb(NamedTuple):
    """
    A verb, and the store that it works on: stores.STORES tells how that is made of the plain one.

    moved: the store lies at another root than its records say. journaled: opening the store settles what a crash left;
    else the next verb on the volume does. several: it works on several volumes, which readers see one after the other.
    on: the name of the volume that it works on, after it. steps: it has several commit points, and called again goes on
    where it was cut off. beside: asserts what must hold of the files beside the store in the end, and is told whether
    the verb said that it had worked.
    """

    store: str
    run: Callable[[Oracle, Things], object]
    moved: bool = False
    journaled: bool = True
    several: bool = False
    on: str = "disk"
    steps: bool = False
    beside: Callable[[Oracle, Things, bool], object] | None = None


class Case(NamedTuple):
    """
    A verb with a prepared store at root, and the states before and after it.

    shown is what the records may show of a store that was cut off and not put right yet; empty where anything goes.
    several: as for Verb. left is the state as a crash left it, of which a recovery may leave a part; verb is what it
    recovers from. called are the methods of the engine that the verb called.
    """

    name: str
    root: Path
    before: State
    after: State
    shown: tuple[State, ...]
    several: bool = False
    left: tuple[State, ...] = ()
    called: frozenset[str] = frozenset()
    verb: str | None = None


class Noting(Engine):
    """An engine that notes which of its methods are called."""

    called: set[str] = set()

    def __getattribute__(self, name: str) -> object:
        Noting.called.add(name)
        return super().__getattribute__(name)


VERBS = {
    "create": Verb("plain", lambda o, t: o.create(t.volume, "new", uuid=GIVEN)),
    "create a full one": Verb("at the limit", lambda o, t: o.create(t.volume, "new")),
    "create with a bitmap": Verb("bitmap", lambda o, t: o.create(t.volume, "new")),
    "revert": Verb("plain", lambda o, t: o.revert(t.second)),
    "revert, nothing to keep": Verb("clean", lambda o, t: o.revert(t.third)),
    "revert again": Verb("clean", lambda o, t: o.revert(t.second)),
    "create a volume": Verb("plain", lambda o, t: o.volume("another", type="Root", uuid=GIVEN)),
    "import": Verb("plain", lambda o, t: o.import_raw(t.raw, "another")),
    "import a chain": Verb("plain", lambda o, t: o.import_chain(stores.chain(t.raw), "another")),
    "import what others may write to": Verb("open to all", lambda o, t: o.import_image(_top(o), "another")),
    "import a chain that others may write to": Verb("open to all", lambda o, t: o.import_chain(_top(o), "another")),
    "restore": Verb("plain", lambda o, t: o.restore(t.item)),
    "restore, nothing to keep": Verb("clean", lambda o, t: o.restore(t.item)),
    "restore as a snapshot": Verb("plain", lambda o, t: o.restore_as_snapshot(t.item, "new")),
    "purge": Verb("clean", lambda o, t: o.purge()),
    "revert from a damaged image": Verb("damaged", lambda o, t: _revert_lost(o, t)),
    "restore over a missing image": Verb("missing", lambda o, t: _restore_over_lost(o, t)),
    "repair": Verb("worn", lambda o, t: _repair(o), steps=True),
    "repair names": Verb("misnamed", lambda o, t: _repair(o), steps=True),
    "repair other names": Verb("misnamed otherwise", lambda o, t: _repair(o), steps=True),
    "rebuild": Verb("recordless", lambda o, t: _rebuild(o), steps=True),
    "shrink": Verb("zeros", lambda o, t: o.shrink(o.engine.find_snapshot("zeros"))),
    "shrink, nothing to gain": Verb("plain", lambda o, t: o.shrink(t.first)),
    "clone": Verb("plain", lambda o, t: o.clone(t.second, "another")),
    "clone, linked": Verb("plain", lambda o, t: o.clone(t.second, "another", linked=True)),
    "create on a clone": Verb("linked", lambda o, t: o.create(_clone(o), "on a clone")),
    "create a full one on a clone": Verb("linked, at the limit", lambda o, t: o.create(_clone(o), "new")),
    "revert on a clone": Verb("linked, snapshot", lambda o, t: o.revert(_snapshot(o, "on a clone"))),
    "flatten": Verb("bitmap", lambda o, t: o.flatten(t.volume)),
    "flatten, nothing to keep": Verb("clean", lambda o, t: o.flatten(t.volume)),
    "flatten a linked clone": Verb("linked", lambda o, t: o.flatten(_clone(o))),
    "set reflinks": Verb("plain", lambda o, t: o.engine.set_reflinks("off")),
    "set the images' owner": Verb("plain", lambda o, t: o.engine.set_image_owner("root:root")),
    "set the images' mode": Verb("plain", lambda o, t: o.engine.set_image_mode("0640")),
    "resize": Verb("plain", lambda o, t: o.resize(t.volume, 2 * MIB)),
    "resize, more tables": Verb("small clusters", lambda o, t: o.resize(t.volume, 40 * MIB)),
    "delete a volume": Verb(
        "two volumes", lambda o, t: o.delete_volumes(stores.other(o)), journaled=False, on="other"
    ),
    "recover a volume": Verb(
        "one deleted", lambda o, t: o.recover_volume(_deleted(o)), journaled=False, on="other"
    ),
    "expunge a volume": Verb("one deleted", lambda o, t: o.expunge_volume(_deleted(o)), on="other"),
    "update": Verb("plain", lambda o, t: o.engine.update_snapshot(t.second, name="new"), journaled=False),
    "set the depth limit": Verb("plain", lambda o, t: o.engine.set_depth_limit(7)),
    "create in a moved store": Verb("plain", lambda o, t: o.create(t.volume, "new"), moved=True, journaled=False),
    "delete by commit": Verb("plain", lambda o, t: o.delete(t.third, direction="commit")),
    "delete by pull": Verb("plain", lambda o, t: o.delete(t.third, direction="pull")),
    "delete by pull without reflinks": Verb("reflinks off", lambda o, t: o.delete(t.third, direction="pull")),
    "delete by pull with a bitmap": Verb("bitmap", lambda o, t: o.delete(t.third, direction="pull")),
    "delete by commit with a bitmap": Verb("bitmap", lambda o, t: o.delete(t.third, direction="commit")),
    "delete by commit with bitmaps": Verb(
        "bitmaps", lambda o, t: o.delete(_snapshot(o, "marked"), direction="commit")
    ),
    "delete by commit after the volume grew": Verb(
        "grown", lambda o, t: o.delete(t.third, _snapshot(o, "marked"), direction="commit")
    ),
    "delete a covered one": Verb("covered", lambda o, t: o.delete(t.third)),
    "delete a leaf": Verb("plain", lambda o, t: o.delete(t.second, descendants=True)),
    "delete with descendants": Verb("plain", lambda o, t: o.delete(t.first, descendants=True)),
    "delete with descendants by commit": Verb(
        "plain", lambda o, t: o.delete(t.first, descendants=True, direction="commit")
    ),
    "delete by clone": Verb("plain on XFS", lambda o, t: o.delete(t.third)),
    "delete by a clone that is a copy": Verb("reflinks off", lambda o, t: _delete_by_copy(o, t.third)),
    "undo": Verb("plain", lambda o, t: o.undo(t.volume)),
    "create a group": Verb(
        "two volumes", lambda o, t: o.create_group("new", t.volume, stores.other(o), uuid=GIVEN), several=True
    ),
    "create a group, one full": Verb(
        "two volumes at the limit", lambda o, t: o.create_group("new", t.volume, stores.other(o)), several=True
    ),
    "revert to a group": Verb("two volumes", lambda o, t: o.revert_group(_group(o)), several=True),
    "revert to a group, nothing to keep": Verb(
        "two volumes, clean", lambda o, t: o.revert_group(_group(o)), several=True
    ),
    "ungroup": Verb("two volumes", lambda o, t: o.engine.ungroup(_group(o)), several=True),
    "update a group": Verb(
        "two volumes", lambda o, t: o.engine.update_group(_group(o), name="new"), journaled=False
    ),
    "delete a group": Verb("two volumes", lambda o, t: _delete_group(o), journaled=False, several=True, steps=True),
    "import and remove the source": Verb(
        "sources beside",
        lambda o, t: o.engine.import_volume(
            stores.beside(o.engine.root) / "image.raw", "another", format="raw", move=True
        ),
        beside=lambda o, t, worked: _moved(o, t, worked, "image.raw"),
    ),
    "import a chain and remove the sources": Verb(
        "sources beside",
        lambda o, t: o.engine.import_chain(_top(o), "another", move=True),
        beside=lambda o, t, worked: _moved(o, t, worked, "image.top.qcow2"),
    ),
    "export": Verb(
        "sources beside",
        lambda o, t: o.engine.export_snapshot(t.second, stores.beside(o.engine.root) / "copy.qcow2", force=True),
        beside=lambda o, t, worked: _exported(o, t, worked),
    ),
    "update a volume": Verb(
        "plain", lambda o, t: o.engine.update_volume(t.volume, name="new", description="d"), journaled=False, on="new"
    ),
    "attach": Verb("plain", lambda o, t: o.engine.attach_volume(t.volume, "vm"), journaled=False),
    "detach": Verb("attached", lambda o, t: o.engine.detach_volume(t.volume), journaled=False),
    "keep a checksum": Verb("plain", lambda o, t: o.engine.checksum_snapshot(t.first), journaled=False),
    "tag a volume": Verb("plain", lambda o, t: o.engine.add_tag(t.volume, "new", user=True), journaled=False),
    "tag a snapshot": Verb("plain", lambda o, t: o.engine.add_tag(t.second, "new"), journaled=False),
    "remove a tag": Verb("attached", lambda o, t: o.engine.remove_tag(t.volume, "old"), journaled=False),
    "disable a volume": Verb(
        "two volumes", lambda o, t: o.engine.set_volume_state(stores.other(o), "Disabled"), journaled=False, on="other"
    ),
    "set a password": Verb("attached", lambda o, t: o.engine.set_password("other", "a long secret")),
    "set the first password": Verb("plain", lambda o, t: o.engine.first_password("a long secret")),
    "create an access key": Verb("attached", lambda o, t: o.engine.create_access_key("other")),
    "delete an access key": Verb("attached", lambda o, t: o.engine.delete_access_key(_key(o))),
    "create an account": Verb("plain", lambda o, t: o.engine.create_account("new")),
    "set a quota": Verb("attached", lambda o, t: o.engine.set_quota("other", 90)),
    "recover": Verb("plain", lambda o, t: None),  # opening the engine does it
}


def _delete_by_copy(oracle: Oracle, snapshot: str) -> None:
    """Delete a snapshot as where a pull would look at nothing for so long that the lowest layer is copied instead."""
    with pytest.MonkeyPatch.context() as slow:
        slow.setattr(cost, "_HOLE", 1.0)
        slow.setattr(cost, "_ZERO", 1.0)
        oracle.delete(snapshot, direction="pull")


def _delete_group(oracle: Oracle) -> None:
    """Delete a group whole, or fail as the verb does that deletes each of its snapshots alone and tells of each."""
    if not all(oracle.delete_group(_group(oracle))):
        raise errors.Conflict(what="some are left")


def _key(oracle: Oracle) -> str:
    return oracle.engine.list_access_keys()[0].uuid


def _top(oracle: Oracle) -> Path:
    return stores.beside(oracle.engine.root) / "image.top.qcow2"


def _moved(oracle: Oracle, things: Things, worked: bool, name: str) -> None:
    """Assert that an image is in the store or still whole at its own place, and only in the store if it was said so."""
    source = stores.beside(oracle.engine.root) / name
    if not any(volume.name == "another" for volume in oracle.engine.list_volumes()):
        read = images.read(source) if source.suffix == ".qcow2" else source.read_bytes()
        assert read[CLUSTER:] == things.raw.read_bytes()[CLUSTER:], "the source is gone or damaged"
    assert not (worked and source.exists()), "the source was to be removed"


def _exported(oracle: Oracle, things: Things, worked: bool) -> None:
    """Assert that the export is whole or not there, and that the next one works and removes what this one left."""
    target = stores.beside(oracle.engine.root) / "copy.qcow2"
    assert target.exists() or not worked
    for _ in range(2):
        assert not target.exists() or images.read(target) == oracle.expected[things.second]
        oracle.engine.export_snapshot(things.second, target, force=True)
    assert sorted(path.name for path in target.parent.iterdir() if "image" not in path.name) == [target.name]


def _deleted(oracle: Oracle) -> str:
    return oracle.engine.find_deleted_volume("other")


def _group(oracle: Oracle) -> str:
    return oracle.engine.find_group("before")


def _clone(oracle: Oracle) -> str:
    return next(volume.uuid for volume in oracle.engine.list_volumes() if volume.name == "clone")


def _snapshot(oracle: Oracle, name: str) -> str:
    return next(snapshot.uuid for snapshot in oracle.engine.list_snapshots() if snapshot.name == name)


def _revert_lost(oracle: Oracle, things: Things) -> None:
    oracle.engine.revert(things.second)
    oracle.expected[things.volume] = oracle.expected[things.second]


def _restore_over_lost(oracle: Oracle, things: Things) -> None:
    """Restore the item that there is, unless the recovery of a killed restore has done so."""
    if things.item in {item.uuid for item in oracle.engine.list_trash()}:
        oracle.engine.restore_trash(things.item)
    oracle.expected[things.volume] = oracle.expected.pop(things.item)


def _repair(oracle: Oracle) -> None:
    left = oracle.engine.repair().left
    if left:
        raise errors.Conflict(what=f"it is left: {left}")


def _rebuild(oracle: Oracle) -> None:
    left = oracle.engine.rebuild(oracle.engine.root).left
    if left:
        raise errors.Conflict(what=f"it is left: {left}")


def make_case(name: str, store: Path) -> Case:
    """Return the case of the verb called name on the store at store, which is left as it is."""
    root = stores.copy(store, f"after {name}", VERBS[name].moved)
    oracle = stores.opened(root, store)
    oracle.engine, Noting.called = Noting.open(root), set()
    VERBS[name].run(oracle, stores.things(store))
    called = frozenset(Noting.called)
    before, after = state.of(Engine.open(store, recover=False)), state.of(oracle.engine)
    shown = _shown(name, before, after)
    case = Case(name, store, before, after, shown, VERBS[name].several, called=called)
    clear(case, root)
    if VERBS[name].beside is None:
        oracle.check()
    stores.remove(root)
    return case


def is_harmed(case: Case) -> bool:
    """Tell whether something is wrong with the case's store, which its verb, or one that was cut off, puts right."""
    return VERBS[case.verb or case.name].store in HARMS


def clear(case: Case, root: Path) -> None:
    """Remove the damaged image that the case's verb has kept on root: one, as it was, and none where it was missing."""
    kept = [*root.rglob("*.damaged.qcow2")]
    assert len(kept) == (VERBS[case.verb or case.name].store == "damaged"), f"kept are {kept}"
    for path in kept:
        assert path.read_bytes().startswith(bytes(4)) and path.stat().st_size > CLUSTER
        path.unlink()


def make_recovery(crashed: Path, store: Path, verb: str) -> Case:
    """Return the case of opening crashed, a copy of the store on which verb was cut off."""
    shutil.copy(stores.known(store), stores.known(crashed))
    engine, several = Engine.open(crashed, recover=False), VERBS[verb].several
    before, left = state.shown(engine), (state.of(engine),) if several else ()
    root = stores.copy(crashed, "recovered")
    after = state.of(Engine.open(root))
    stores.remove(root)
    return Case("recover", crashed, after, after, _shown(verb, before, after), several, left, verb=verb)


def _shown(verb: str, *states: State) -> tuple[State, ...]:
    """Return what the records may show between these states; where there are steps, what goes goes one by one."""
    return () if verb == "purge" or VERBS[verb].steps else tuple(state.without_contents(each) for each in states)
