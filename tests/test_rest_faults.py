"""The server's own errors: what their texts say, and that they come whole out of a worker process."""

import pickle

import pytest

from snapengine import errors
from snapengine.rest import faults

A = "ec8f396d8a5d48ce8bd949d469c0be62"
# Of CONTRACT.md, section 2.
CODES = {
    "SYS.1003", "SYS.1004", "SYS.1006", "SYS.1013", "SYS.1017", "ID.1000", "ID.1001", "ID.1006",
    "VOLUME.1001", "VOLUME_SNAPSHOT.1002",
}  # fmt: skip
BUSY = errors.Busy(what="it changes all the time")

EXAMPLES: list[tuple[errors.Error, str]] = [
    (
        faults.Missing(field="volumeUuid", uuid=A, type="VolumeVO"),
        f"invalid field[volumeUuid], resource[uuid:{A}, type:VolumeVO] not found",
    ),
    (faults.Forbidden(type="VolumeVO", uuid=A), f"permission denied: VolumeVO {A} belongs to another account"),
    (faults.Unsupported(why="there is one host"), "not supported: there is one host"),
    (faults.Cancelled(what="the server stops"), "the server stops"),
    (faults.WrongLogin(), "wrong account name or password"),
    (faults.NoSession(what="Session expired"), "Session expired"),
    (
        faults.TooManySessions(account="web", count=500),
        "account web has 500 sessions; log out, or wait until one ends",
    ),
    (faults.NotDeleted(cause=BUSY), "it changes all the time"),
    (faults.BatchNotDeleted(cause=BUSY), "it changes all the time"),
    (faults.NotFlattened(cause=BUSY), "it changes all the time"),
]


def own() -> set[type[errors.Error]]:
    """Return the kinds that the server raises."""
    kinds = {kind for kind in vars(faults).values() if isinstance(kind, type) and issubclass(kind, errors.Error)}
    return kinds - {faults.Caused}  # what the two have in common that tell a cause


def test_every_kind_has_an_example() -> None:
    assert {type(error) for error, _ in EXAMPLES} == own()


def test_the_codes_are_the_contracts() -> None:
    assert {kind.code for kind in own()} == CODES


@pytest.mark.parametrize(("error", "text"), EXAMPLES, ids=[type(error).__name__ for error, _ in EXAMPLES])
def test_the_text_is_made_of_the_facts(error: errors.Error, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=[type(error).__name__ for error, _ in EXAMPLES])
def test_an_error_crosses_a_process_border_whole(error: errors.Error) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), faults.of(back)) == (type(error), str(error), faults.of(error))
