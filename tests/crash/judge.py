"""Cut a verb off at one point and judge what that left."""

import hashlib
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from snapengine import durable
from snapengine.engine import Engine
from tests import check, images, privileged
from tests.crash import cases, remains, state, stores, strace
from tests.crash.cases import VERBS, Case
from tests.crash.sabotage import broken
from tests.crash.strace import Call, Kill, Run

At = TypeVar("At")

ENDS = ("before", "after", "wrong")
BY_VERB, AGAIN = " settled by the next verb", " done again"
NEXT = "0123456789ab4def8123456789abcdee"  # one and the same, so that its images are known already
TOOLS_LIVE = 30.0  # seconds that a tool may outlive its engine


class Prepared(NamedTuple):
    """A case, and the calls of its verb that change files, or that only look at them."""

    case: Case
    calls: tuple[Call, ...]


class Failure(NamedTuple):
    """A call that fails, with the name of the error."""

    call: Call
    error: str


class Interrupt(NamedTuple):
    """A call of the engine's or of a tool's at which somebody presses Ctrl-C for the engine."""

    call: Call


class Outcome(NamedTuple):
    """
    How a verb that was cut off ended: "before", "after", or "wrong" and why; what says where it was to be cut off.

    exact: it was cut off just there, and not a moment later or not at all.
    """

    verb: str
    what: str
    end: str
    exact: bool
    why: str = ""


def kill(case: Case, at: Kill, name: str, engine: str = "") -> Outcome:
    """Kill the case's verb on a copy of its store, called name, and judge what that left; engine tells which one."""
    what = f"kill {'all' if at.whole else 'the engine'} at {at.point.name} {at.point.nth}"
    how = f"{engine}{BY_VERB}" if at.point.nth % 2 == 0 else engine
    return _judged(case, what, name, lambda root: _killed(case, root, at), how)


def fail(case: Case, at: Failure, name: str, engine: str = "") -> Outcome:
    """Let a system call of the case's verb fail, on a copy of its store, called name, and judge what that left."""
    what = f"{at.error} at {_place(at.call)}"
    cut = lambda root: strace.failed(verb(case, root), root, at.call, at.error)  # noqa: E731
    return _judged(case, what, name, cut, f"{engine}{AGAIN}" if at.error == "ENOSPC" else engine)


def interrupt(case: Case, at: Interrupt, name: str, engine: str = "") -> Outcome:
    """Press Ctrl-C at a call of the case's verb, on a copy of its store, called name, and judge what that left."""

    def cut(root: Path) -> Run:
        run = strace.interrupted(verb(case, root), root, at.call)
        assert run.said in ("ok", strace.INTERRUPTED), run.said
        return run

    return _judged(case, f"Ctrl-C at {_place(at.call)}", name, cut, engine)


def _place(call: Call) -> str:
    point = f"{call.point.name} {call.point.nth}"
    return f"{point}, of {call.path} {call.number}" if call.looks else point


def cut_broken(
    how: Callable[[Case, At, str, str], Outcome], case: Case, at: At, name: str, sabotage: str
) -> Outcome:
    """Do as how does, one of the functions above, with an engine that is broken on purpose."""
    with broken(sabotage):
        return how(case, at, name, sabotage)


_TOLD = ("Conflict: it is left", "Conflict: some are left")  # of verbs that go on, and tell of each thing alone


def full(case: Case, leave: int, name: str) -> Outcome:
    """
    Run the case's verb on a copy of its store, called name, with leave bytes of room on its disk, of which somebody
    took the rest after it was asked for; give the disk room again and judge what that left.

    The outcome is exact where there was too little room.
    """

    def cut(root: Path) -> Run:
        with privileged.filled(root.parent, leave), pytest.MonkeyPatch.context() as patch:
            patch.setattr(durable, "room", lambda directory: 2**60)
            said = strace.untraced(verb(case, root))
        assert said == "ok" or said.startswith(("NoSpace", *_TOLD)), said
        return Run((), said, said != "ok", 0.0)

    return _judged(case, f"{leave} bytes of room", name, cut, AGAIN)


def crashed(case: Case, at: Kill, name: str) -> Prepared:
    """Kill the case's verb on a copy of its store, called name, and return the case of recovering that."""
    root = _copy(case, name)
    strace.killed_within(verb(case, root), root, at.point)
    return listed(cases.make_recovery(root, case.root, case.name))


def prepared(name: str, store: Path) -> Prepared:
    """Return the case of the verb called name on the store at store, with the calls of it that change files."""
    return listed(cases.make_case(name, store))


def listed(case: Case, looks: bool = False) -> Prepared:
    """Return a case with the calls of its verb that change files, and with looks those that only look at them, too."""
    root = _copy(case, f"{case.name} listed")
    run = strace.listed(verb(case, root), root, looks)
    stores.remove(root)
    assert run.said == "ok", run.said
    return Prepared(case, run.calls)


def _judged(case: Case, what: str, name: str, cut: Callable[[Path], Run], how: str) -> Outcome:
    """Cut a verb off and judge what that left, unless just the same was left before and judged in the same way."""
    root, exact = _copy(case, name), False
    try:
        run = cut(root)
        exact = run.exact
        assert not run.said.startswith(("!", "ENOSPC")), run.said  # what the user can mend has an error of the engine's
        key = f"{case.root} {case.name} {how} {run.said == 'ok'} {remains.digest(root)}"
        known = hashlib.sha256(key.encode()).hexdigest()
        flags = how.endswith(BY_VERB), how.endswith(AGAIN)
        end = images.once(f"judged-{known}", lambda: judge(case, root, run.said, *flags).encode()).decode()
    except Exception:
        return Outcome(case.name, what, "wrong", exact, traceback.format_exc())
    finally:
        stores.remove(root)
    return Outcome(case.name, what, end, exact)


def _copy(case: Case, name: str) -> Path:
    return stores.copy(case.root, name, VERBS[case.name].moved)


def _killed(case: Case, root: Path, at: Kill) -> Run:
    """Kill the verb in time: where that came too late, again, with the call held longer, then with all calls held."""
    run, all_held = strace.killed(verb(case, root), root, at, 1), Kill(at.point, at.whole)
    for again, patience in ((at, 8), (all_held, 2), (all_held, 16), (at, 100)):
        if run.exact:
            break
        _copy(case, root.name.removeprefix(f"{case.root.name}-"))
        run = strace.killed(verb(case, root), root, again, patience)
    assert run.lived < TOOLS_LIVE, f"something lived on for {run.lived:.1f} s after the kill"
    return run


def verb(case: Case, root: Path) -> Callable[[], object]:
    """Return what runs the case's verb on root."""
    return partial(_run, case, root)


def _run(case: Case, root: Path) -> None:
    _run_as(case, root, case.name)


def _run_as(case: Case, root: Path, name: str) -> None:
    VERBS[name].run(stores.opened(root, case.root), stores.things(case.root))


def judge(case: Case, root: Path, said: str, by_verb: bool, again: bool = False) -> str:
    """
    Assert that what was left is the state before or after the verb, whole, and that the next command works.

    said as in Run: after "ok" only the state after the verb will do. by_verb: what was left is settled by the next verb
    on the volume, else by opening the store. again: the next command is the same verb, where nothing came of it.
    """
    told = VERBS[case.name]
    _check_unsettled(case, root)
    if by_verb or not told.journaled:
        engine = Engine.open(root, recover=False)
        for volume in [v.uuid for v in engine.list_volumes() if v.name in ("disk", told.on)]:
            engine.update_volume(volume)
    engine = Engine.open(root)
    assert {found.outcome for found in engine.recovered} <= {"undone", "finished"}, engine.recovered
    found = state.of(engine)
    assert told.steps or found in (case.before, case.after), f"neither before nor after: {found}"
    if told.steps:
        known = state.named_contents(case.before, case.after)
        assert state.named_contents(found) <= known, f"something holds what nothing of its name did: {found}"
    end = "after" if found == case.after else "before"
    assert said != "ok" or end == "after", "it said that it had worked"
    _put_right(case, root, end == "after" and (said == "ok" or not told.steps))
    if end == "before" and (again or told.steps) and not cases.is_harmed(case):
        check.full(engine, state.contents(engine), deep=False)
        _run(case, root)
        assert state.of(engine) == case.after, f"the same verb, again, does not end well: {state.of(engine)}"
    if told.beside is not None:
        told.beside(stores.opened(root, case.root), stores.things(case.root), said == "ok")
    _check_next(engine, stores.things(case.root).volume)
    return end


def _check_next(engine: Engine, volume: str) -> None:
    """Assert that all is whole, and after one more snapshot still."""
    contents = state.contents(engine)
    check.full(engine, contents, deep=False)
    snapshot = engine.create_snapshot(volume, "next", uuid=NEXT)
    check.full(engine, {**contents, snapshot.uuid: contents[volume]}, deep=False)


def _put_right(case: Case, root: Path, is_done: bool) -> None:
    """Bring what was to put a harmed store right, with which nothing else can be done, to its end."""
    if cases.is_harmed(case):
        if not is_done or case.verb is not None:
            _run_as(case, root, case.verb or case.name)
            assert case.verb or state.of(Engine.open(root)) == case.after, "done again it comes to something else"
        cases.clear(case, root)


def _check_unsettled(case: Case, root: Path) -> None:
    """Assert what holds as the crash left it: the volume's path holds its data, readers see before or after."""
    engine = Engine.open(root, recover=False)
    volumes = [volume for known in (case.before, case.after, *case.left) for volume in known.volumes]
    for volume in engine.list_volumes():
        allowed = {known.content for known in volumes if known.name == volume.name}
        content = state.digest(images.Images(), engine.volume_path(volume.uuid))
        assert content in allowed, f"the path of volume {volume.name} holds something else"
    if case.shown:
        found = state.shown(engine)
        shown = state.is_between(found, case.shown) if case.several else found in case.shown
        assert shown, f"readers see neither before nor after: {found}"
