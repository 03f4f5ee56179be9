"""A place where verbs are recorded, cut off, and what that left is judged."""

import traceback
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from random import Random
from typing import NamedTuple

from snapengine.engine import Engine
from tests.crash import cases, judge, stores
from tests.crash.cases import VERBS, Case
from tests.powercut import cuts, disk, sabotage
from tests.powercut.cuts import Cut
from tests.powercut.disk import Recording

ENDS = judge.ENDS
RECOVERED = 0.25  # of the cuts of a verb, how many are of its recovery


class Outcome(NamedTuple):
    """
    How a cut ended: "before", "after", or "wrong" and why; acknowledged: the verb had said before it that it was done.

    verb is its name, with "recovery of" before it where that was cut; disk, of a wrong one, is where it is kept.
    """

    verb: str
    weather: str
    cut: Cut
    acknowledged: bool
    end: str
    why: str = ""
    disk: Path | None = None


class Stage:
    """
    Work on disks of one kind of file system ("ext4", "xfs"), in an empty directory.

    kept is where the disks go whose cut ended wrong, if they are to be kept.
    """

    def __init__(self, directory: Path, kind: str, kept: Path | None = None) -> None:
        self._directory, self._kept = directory, kept
        self._name, self._kind = kind, disk.KINDS[kind]
        self._place = directory / "disk"
        self._place.mkdir()
        self._cases: dict[str, tuple[Path, Case]] = {}

    def tried(
        self, verb: str, seed: int, number: int, broken: str | None = None, recoveries: bool = True
    ) -> Iterator[Outcome]:
        """
        Record a verb and give how number cuts of it end, chosen by the seed, as is the weather.

        broken names a sabotage of the engine while it is recorded. With recoveries some of the cuts are of the
        recovery from one of the others.
        """
        chance = Random(f"{verb} {seed}")
        case = self.prepared(verb)[1]
        again = int(number * RECOVERED) if recoveries and VERBS[verb].journaled else 0
        recording = self.recorded(verb, disk.WEATHERS[seed % len(disk.WEATHERS)], broken)
        chosen = cuts.choose(recording.told, number - again, chance)
        yield from self._judged(verb, case, recording, chosen)
        if again:
            yield from self._recoveries(case, recording, again, chance)

    def _recoveries(self, case: Case, recording: Recording, number: int, chance: Random) -> Iterator[Outcome]:
        """Cut the verb off somewhere in its middle, record the recovery from that, and give how cuts of it end."""
        (*_, first) = cuts.choose(recording.told, 3, chance)
        base = disk.cut(recording, first, self._directory / "crashed.img")
        root = self._root(case)
        again = disk.recorded(base, self._place, self._kind, lambda: Engine.open(root), recording.weather)
        assert again.said == "ok", again.said
        chosen = cuts.choose(again.told, number, chance)
        for outcome in self._judged(f"recovery of {case.name}", case, again._replace(said=""), chosen):
            yield outcome

    def syncs(self, verb: str) -> list[str]:
        """Return where the engine syncs in a verb, as sabotage.broken takes it."""
        (base, case), found = self.prepared(verb), self._directory / "syncs"
        found.write_text("")
        work = judge.verb(case, self._root(case))

        def run() -> None:
            with open(found, "a") as f, sabotage.listing(lambda site: print(site, file=f, flush=True)):
                work()

        assert disk.recorded(base, self._place, self._kind, run, "calm").said == "ok"
        return list(dict.fromkeys(found.read_text().splitlines()))

    def recorded(self, verb: str, weather: str, broken: str | None = None) -> Recording:
        """Return the recording of a verb in this weather; broken as in tried."""
        base, case = self.prepared(verb)
        work = judge.verb(case, self._root(case))

        def run() -> None:
            with sabotage.broken(broken) if broken else nullcontext():
                work()

        recording = disk.recorded(base, self._place, self._kind, run, weather)
        assert recording.said == "ok", recording.said
        return recording

    def _judged(self, name: str, case: Case, recording: Recording, chosen: list[Cut]) -> Iterator[Outcome]:
        for number, at in enumerate(chosen):
            acknowledged = at.issued >= recording.told.ended and recording.said == "ok"
            image = disk.cut(recording, at, self._directory / "cut.img")
            try:
                with disk.mounted(image, self._place, self._kind):
                    end = judge.judge(case, self._root(case), "ok" if acknowledged else "", number % 2 == 1)
                yield Outcome(name, recording.weather, at, acknowledged, end)
            except Exception:
                kept = self._keep(recording, at) if self._kept else None
                yield Outcome(name, recording.weather, at, acknowledged, "wrong", traceback.format_exc(), kept)

    def _keep(self, recording: Recording, at: Cut) -> Path:
        """Keep the disk as a cut left it, before anything was put right on it."""
        assert self._kept is not None
        self._kept.mkdir(exist_ok=True)
        number = len(list(self._kept.iterdir()))
        return disk.cut(recording, at, self._kept / f"{self._name}-{number}-{self._directory.name}.img")

    def _root(self, case: Case) -> Path:
        return case.root.with_name(f"{case.root.name}-cut")

    def prepared(self, verb: str) -> tuple[Path, Case]:
        """Return an image with the store of a verb, and its case, made when it is first asked for."""
        if verb not in self._cases:
            image = disk.copy(self._stored(VERBS[verb].store), self._image(f"verb {verb}"))
            store = self._store(VERBS[verb].store)
            with disk.mounted(image, self._place, self._kind):
                case = cases.make_case(verb, store)
                assert stores.copy(store, "cut", VERBS[verb].moved) == self._root(case)
            self._cases[verb] = image, case
        return self._cases[verb]

    def _stored(self, store: str) -> Path:
        image = self._image(f"store {store}")
        if not image.exists():
            disk.make(image, self._kind)
            with disk.mounted(image, self._place, self._kind):
                stores.make(self._store(store), store)
        return image

    def _image(self, name: str) -> Path:
        return self._directory / f"{name.replace(' ', '-').replace(',', '')}.img"

    def _store(self, name: str) -> Path:
        return self._place / name.replace(" ", "-")


def verbs(kind: str) -> list[str]:
    """Return the names of the verbs that can be tried on this kind of file system."""
    return [name for name, verb in VERBS.items() if name != "recover" and (kind == "xfs" or "XFS" not in verb.store)]
