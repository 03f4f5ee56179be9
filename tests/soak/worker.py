"""A process that works on volumes of its own and on the shared one, and writes down all that it does."""

import fcntl
import os
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec

from snapengine import errors, lock
from snapengine.engine import Engine
from tests.soak import broken, crowd, looking, own
from tests.soak.crowd import Shared
from tests.soak.diary import Diary, Line, models
from tests.soak.model import Model, differences, stepped
from tests.soak.own import Owner, Task
from tests.soak.remote import Door, Lost, Remote
from tests.soak.typed import Typed

UNREST = "unrest"  # a file that is locked from a kill of the server until the last of its processes has ended
COMMON = 0.35  # of the verbs, how many are on the shared volume


class Life(NamedTuple):
    """
    One process: where it works, as who, the how manieth of this name it is, and until when (monotonic clock).

    It goes through a server's door, or types commands, or calls the library.
    """

    place: Path
    name: str
    nth: int
    seed: int
    until: float
    sabotage: str = ""
    door: Door | None = None
    is_typed: bool = False

    def engine(self, chance: Random) -> Engine:
        """Return the engine that this process works with: the library, one behind a server, or the command."""
        root = self.place / "store"
        if self.door is not None:
            return Remote(root, self.door, chance)
        return Typed(root) if self.is_typed else Engine.open(root)

    @property
    def diary(self) -> Diary:
        return Diary(self.place / f"{self.name}.diary")


def calm(place: Path) -> None:
    """Wait until nothing of a killed server is at work any more."""
    with open(place / UNREST, "a") as unrest:
        fcntl.flock(unrest, fcntl.LOCK_SH)


class Waits:
    """How long this process waited for locks in its present verb, and for whom last."""

    def __init__(self) -> None:
        self.seconds, self.holder = 0.0, ""
        self._wait_for = lock._wait_for
        setattr(lock, "_wait_for", self._timed)

    def _timed(self, fd: int, kind: int, path: Path, deadline: float, wait: float) -> None:
        started, holder = time.monotonic(), "" if lock.try_flock(fd, kind) else lock._holder(fd)
        try:
            self._wait_for(fd, kind, path, deadline, wait)
        finally:
            if holder:
                self.seconds, self.holder = self.seconds + time.monotonic() - started, holder


def live(life: Life) -> None:
    """Work until the time is over, or a kill; whatever is not as it must be goes into the diary as a fault."""
    os.setsid()
    try:
        with broken.broken(life.sabotage):
            _Worker(life).work()
    except BaseException:
        life.diary.write(Line("fault", "work", told=traceback.format_exc()))


class _Worker:
    """The worker at work: what it knows, and the diary."""

    def __init__(self, life: Life) -> None:
        self._life, self._diary, self._waits = life, life.diary, Waits()
        alive = os.open(life.place / f"{life.name}.alive", os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(alive, fcntl.LOCK_EX)  # until the last process of the one before has ended
        chance = Random(f"{life.seed} {life.name} {life.nth}")
        engine = life.engine(chance)
        self._owner = Owner(life.name, engine, chance, alive, life.place)
        lines = self._diary.read()
        self._shared = Shared(engine, chance, crowd.made(lines))
        self._model = self._resumed()

    def _resumed(self) -> Model:
        """Return what is there of this process's volumes: what one of these models says, and no other."""
        known, found = models(self._diary.read()), looking.found(self._owner.engine, self._life.name)
        told = [differences(model, found) for model in known]
        assert [] in told, f"{self._life.name} finds neither before nor after: {told}"
        chosen = known[told.index([])]
        found |= {name: volume for name, volume in chosen.items() if volume.deleted}
        self._diary.write(Line("done", "resume", found))
        return found

    def work(self) -> None:
        chance = self._owner.chance
        left_out = own.NOT_SERVED if self._life.door else ()
        weights = {name: weight for name, (weight, _) in own.VERBS.items() if name not in left_out}
        often = {name: weight for name, (weight, _) in crowd.VERBS.items() if name not in left_out}
        while time.monotonic() < self._life.until:
            try:
                if chance.random() < COMMON:
                    self._in_common(*chance.choices(list(often), list(often.values())))
                else:
                    (name,) = chance.choices(list(weights), list(weights.values()))
                    task = own.VERBS[name][1](self._owner, self._model)
                    if task is not None:
                        self._alone(name, task)
            except Lost:
                calm(self._life.place)
                self._model = self._resumed()

    def _alone(self, name: str, task: Task) -> None:
        """Do a verb on volumes of this process: nobody else touches them, so nothing but a refusal may come between."""
        due = stepped(self._model, *task.steps)
        self._diary.write(Line("begun", name, due))
        why = self._timed(name, task.do, (errors.Conflict,))
        self._model = self._seen(due) if not why.told else self._model
        self._diary.write(msgspec.structs.replace(why, model=self._model))

    def _seen(self, due: Model) -> Model:
        """Return the model with what the trash holds now; all else must be as it is due, and is looked at later."""
        engine, new = self._owner.engine, dict(due)
        items = [item for item in engine.list_trash() if item.kind == "ActiveImage"]
        for name, volume in due.items():
            if not volume.deleted:
                path = engine.volume_path(engine.find_volume(name))
                kept = [path.with_name(f"{i.uuid}.trash.qcow2") for i in items if i.volume_uuid == path.stem]
                new[name] = msgspec.structs.replace(volume, trash=tuple(looking.content(item) for item in kept))
        told = differences(due, new)
        assert told == [], told
        return new

    def _in_common(self, name: str) -> None:
        """Do a verb on the shared volume, where others may have been quicker."""
        shared = self._shared
        uuid_ = uuid.UUID(int=shared.chance.getrandbits(128), version=4).hex
        if name == crowd.DELETE:
            if not shared.made:
                return
            uuid_ = shared.made.pop(shared.chance.choice((-1, shared.chance.randrange(len(shared.made)))))
        self._diary.write(Line("begun", name, told=uuid_))
        refusals = (errors.Conflict, errors.NotFound)
        line = self._timed(name, lambda: crowd.VERBS[name][1](shared, uuid_), refusals)
        if name == crowd.CREATE and line.what == "done":
            shared.made.append(uuid_)
        self._diary.write(msgspec.structs.replace(line, told=uuid_ if line.what == "done" else line.told))

    def _timed(self, name: str, do: Callable[[], object], refusals: tuple[type[errors.Error], ...]) -> Line:
        """Do it and return the line that tells how it went; only these errors are no fault."""
        self._waits.seconds, self._waits.holder, started, why = 0.0, "", time.monotonic(), ""
        try:
            do()
        except refusals as e:
            why = str(e) or type(e).__name__
        took = time.monotonic() - started
        what = "refused" if why else "done"
        return Line(what, name, told=why, took=took, waited=self._waits.seconds, held=self._waits.holder)
