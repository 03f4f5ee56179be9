"""A volume that is deleted while somebody reads it was there, or is not: never an error of the system's."""

from pathlib import Path

import pytest

from snapengine import errors, records
from snapengine.engine import Engine


def test_a_volume_that_goes_between_two_looks_at_it_is_not_found(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume = engine.create_volume("db", 2**20).uuid
    read_all = records._read_all

    def late(directory: Path, *args: object) -> object:
        if directory.exists():
            engine.delete_volumes((volume,))
        return read_all(directory, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(records, "_read_all", late)
    with pytest.raises(errors.NotFound):
        records.contents(engine.volume_path(volume).parent)
