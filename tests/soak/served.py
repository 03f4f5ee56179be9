"""Let clients work over HTTP, the command beside them, and kill the server; then see that nothing is lost."""

import time
from pathlib import Path

from snapengine.engine import Engine
from snapengine.rest import jobs
from tests.soak import crowd
from tests.soak.host import Host
from tests.soak.run import DEPTH, Crew, Report, reported
from tests.soak.worker import Life

CLIENTS, TYPED, READERS = 4, 1, 1


def soak(place: Path, seconds: float, seed: int, broken: str = "", kills: bool = True) -> Report:
    """Work in place, an empty directory, and return how it went."""
    crowd.make(Engine.init(place / "store", depth_limit=DEPTH))
    host = Host(place, broken)
    life = Life(place, "", 0, seed, time.monotonic() + seconds)
    lives = {f"w{n}": life._replace(name=f"w{n}", door=host.door) for n in range(CLIENTS)}
    lives |= {f"wc{n}": life._replace(name=f"wc{n}", is_typed=True) for n in range(TYPED)}
    lives |= {f"r{n}": life._replace(name=f"r{n}", door=host.door) for n in range(READERS)}
    crew = Crew(place, lives)

    def disturb() -> None:
        if fault := host.disturb(crew.chance):
            crew.note(fault)

    try:
        crew.work(disturb if kills else lambda: None)
    finally:
        fault = host.stop()
    if fault:
        crew.note(fault)
    for job in (place / "store" / jobs.DIRECTORY).glob("*.json"):
        found = jobs.read(place / "store", job.stem)
        if found is None or found.status == "running":
            crew.note(f"job {job.stem} never ended")
    crew.kills, crew.lived = host.kills, host.lived
    return reported(place, crew)
