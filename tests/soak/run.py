"""Let processes work at once and kill some of them; then see that nothing of what they had done is lost."""

import fcntl
import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import NamedTuple

from snapengine.engine import Engine
from tests import check
from tests.crash import state
from tests.soak import crowd, looking, reader, worker
from tests.soak.diary import Diary, Line, models
from tests.soak.model import differences
from tests.soak.worker import Life

WORKERS, READERS = 6, 2
DEPTH = 6
PATIENCE = 120.0  # seconds
FAIR = 30.0  # seconds that nobody may wait for a lock
DEAD = 60.0  # seconds in which all that a killed process has started must be gone


class Report(NamedTuple):
    """How it went; faults is empty where all is well, waited is the longest wait for a lock, with verb and holder."""

    done: Counter[str]
    refused: int
    kills: int
    lived: float
    waited: tuple[float, str, str]
    faults: list[str]


def soak(place: Path, seconds: float, seed: int, sabotage: str = "", kills: bool = True) -> Report:
    """Work in place, an empty directory, and return how it went."""
    engine = Engine.init(place / "store", depth_limit=DEPTH)
    crowd.make(engine)
    names = [*(f"w{n}" for n in range(WORKERS)), *(f"r{n}" for n in range(READERS))]
    until = time.monotonic() + seconds
    crew = Crew(place, {name: Life(place, name, 0, seed, until, sabotage) for name in names})
    crew.work(crew.kill_one if kills else lambda: None)
    return reported(place, crew)


def reported(place: Path, crew: "Crew") -> Report:
    """Return how it went, once all processes have ended and what they left was looked at."""
    faults = crew.faults
    if not faults:
        try:
            _check(place, crew.names)
        except Exception:
            faults.append(f"at the end: {traceback.format_exc()}")
    lines = [line for name in crew.names for line in Diary(place / f"{name}.diary").read()]
    waited = max(((line.waited, line.verb, line.held) for line in lines), default=(0.0, "", ""))
    if waited[0] > FAIR:
        faults.append(f"{waited[1]} waited {waited[0]:.1f} s for {waited[2]}")
    done = Counter(line.verb for line in lines if line.what == "done")
    return Report(done, sum(line.what == "refused" for line in lines), crew.kills, crew.lived, waited, faults)


class Crew:
    """The processes, one for each of these lives, and who has been killed."""

    def __init__(self, place: Path, lives: dict[str, Life]) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._place, self._lives = place, lives
        first = next(iter(lives.values()))
        self._until, self.chance = first.until, Random(first.seed)
        self._running: dict[str, BaseProcess] = {}
        self.kills, self.lived = 0, 0.0
        self.names = [*lives]

    @property
    def faults(self) -> list[str]:
        """What the processes have noted as a fault."""
        found = [(name, line) for name in self.names for line in Diary(self._place / f"{name}.diary").read()]
        return [f"{name}: {line.verb}: {line.told}" for name, line in found if line.what == "fault"]

    def work(self, disturb: Callable[[], None]) -> None:
        """Start all, disturb them now and then, and wait for them to end."""
        for name in self.names:
            self._start(name)
        while time.monotonic() < self._until and all(process.exitcode is None for process in self._running.values()):
            time.sleep(self.chance.uniform(0.1, 0.8))
            if time.monotonic() < self._until:
                disturb()
        for name, process in self._running.items():
            if time.monotonic() < self._until:  # one has met a fault
                process.kill()
            process.join(PATIENCE)
            if process.exitcode is None:
                self.note("it never ended", name)
                process.kill()

    def _start(self, name: str) -> None:
        life = self._lives[name] = self._lives[name]._replace(nth=self._lives[name].nth + 1)
        live = reader.live if name.startswith("r") else worker.live
        process = self._context.Process(target=live, args=(life,))
        process.start()
        self._running[name] = process

    def kill_one(self) -> None:
        """Kill a process, in half of the cases with all that it has started, and start the next of its name."""
        name = self.chance.choice(self.names)
        process = self._running[name]
        assert process.pid is not None
        if self.chance.random() < 0.5:
            with suppress(ProcessLookupError):  # it has none of its own yet
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.join()
        self.kills += 1
        self.lived = max(self.lived, self._gone(name, process.pid))
        self._start(name)

    def _gone(self, name: str, pid: int) -> float:
        """Return after how many seconds all that a killed process had started was gone."""
        started = time.monotonic()
        with suppress(ProcessLookupError):
            while time.monotonic() < started + DEAD:
                os.killpg(pid, 0)
                time.sleep(0.002)
            self.note(f"what it had started lived on for {DEAD} s", name)
        return time.monotonic() - started

    def note(self, what: str, name: str | None = None) -> None:
        """Note a fault, of a process or of all."""
        name = name or self.names[0]
        Diary(self._place / f"{name}.diary").write(Line("fault", "driver", told=what))


def _check(place: Path, names: list[str]) -> None:
    """Assert that all is there that was acknowledged, nothing else but what may be, and that the store is sound."""
    for name in names:
        with open(place / f"{name}.alive", "a") as alive:
            fcntl.flock(alive, fcntl.LOCK_EX)
    engine = Engine.open(place / "store")
    assert {found.outcome for found in engine.recovered} <= {"undone", "finished"}, engine.recovered
    for name in names:
        lines = Diary(place / f"{name}.diary").read()
        if name.startswith("w"):
            told = [differences(model, looking.found(engine, name)) for model in models(lines)]
            assert [] in told, f"{name}: {told}"
    _check_shared(engine, [Diary(place / f"{name}.diary").read() for name in names])
    check.full(engine, state.contents(engine))


def _check_shared(engine: Engine, diaries: list[list[Line]]) -> None:
    volume = engine.find_volume(crowd.SHARED)
    there = {s.uuid: s.name for s in engine.list_snapshots(volume)}
    for lines in diaries:
        lost = set(crowd.made(lines)) - set(there)
        assert not lost, f"snapshots that were made are gone: {lost}"
        back = {line.told for line in lines if line.verb == crowd.DELETE and line.what == "done"} & set(there)
        assert not back, f"snapshots that were deleted are there: {back}"
    known = {*crowd.BASES.values()}
    held = {uuid: looking.content(engine.snapshot_path(uuid)) for uuid in there}
    assert set(held.values()) <= known, "a snapshot of the shared volume has a content that nobody wrote"
    assert looking.content(engine.volume_path(volume)) in known
    assert {there[uuid]: content for uuid, content in held.items() if there[uuid] in crowd.BASES} == crowd.BASES
