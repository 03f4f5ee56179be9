"""The errors: every kind has its exit code and its code of the contract, and the drawing tells the truth."""

import pickle
import re
from collections.abc import Iterator

import pytest

from snapengine import errors

A = "ec8f396d8a5d48ce8bd949d469c0be62"
# Of CONTRACT.md, section 2.
CODES = {"SYS.1000", "SYS.1003", "SYS.1006", "SYS.1007", "VOLUME.1000", "PS.1000", "ID.1003", "VOLUME_SNAPSHOT.1000",
         "VOLUME_SNAPSHOT.1001"}  # fmt: skip

EXAMPLES: list[tuple[errors.Error, str]] = [
    (errors.Error(), "internal error"),
    (errors.Invalid(what="a name has 1 to 255 characters"), "a name has 1 to 255 characters"),
    (
        errors.Unprinted(why="No space left on device"),
        "the command was done, but its answer can't be written to the standard output: No space left on device; "
        "don't run it again",
    ),
    (
        errors.Ambiguous(kind="volume", name="db", matches="a (db), b (db)"),
        "volume 'db' is ambiguous; it could be a (db), b (db); give a uuid",
    ),
    (
        errors.NotFound(kind="volume", name="a\nb", hint="'snapengine volume list' shows those that are"),
        "volume 'a\\nb' was not found; 'snapengine volume list' shows those that are",
    ),
    (
        errors.NotFound(kind="volume", name="db", hint="'snapengine volume list' shows those that are"),
        "volume 'db' was not found; 'snapengine volume list' shows those that are",
    ),
    (errors.NoStorage(root="/srv/x"), "no primary storage at /srv/x; create one with 'snapengine init'"),
    (errors.Conflict(what="/srv/x is a primary storage already"), "/srv/x is a primary storage already"),
    (errors.Protected(what="snapshot db/s1 (u)", why="it is needed"), "snapshot db/s1 (u) stays: it is needed"),
    (
        errors.WrongStatus(uuid=A, name="s1", state="Enabled", status="Deleting", done="cloned"),
        f"snapshot {A} (s1) is Enabled, Deleting; only an Enabled, Ready one can be cloned",
    ),
    (errors.Busy(what="it changes all the time"), "it changes all the time"),
    (
        errors.Locked(what=f"vol-{A}", holder="revert (pid 7)", seconds=60.0),
        f"vol-{A} is locked by revert (pid 7); waited 60 s, try again or give a longer --wait",
    ),
    (
        errors.Copying(what=f"vol-{A}", holder="create full snapshot (pid 7)", seconds=60.0),
        f"vol-{A} is locked by create full snapshot (pid 7); waited 60 s, try again or give a longer --wait",
    ),
    (
        errors.InUse(volume=A, path="/x/v.qcow2", holder="qemu-system-x86_64 (pid 7, guest db)"),
        f"volume {A} is in use: /x/v.qcow2 is open in qemu-system-x86_64 (pid 7, guest db); shut the VM down first",
    ),
    (errors.Corrupt(what="record x is damaged"), "record x is damaged; run 'snapengine verify'"),
    (
        errors.Refused(path="/x/v.qcow2", why="it is encrypted", check="encryption"),
        "refused image /x/v.qcow2: it is encrypted",
    ),
    (errors.NoSpace(what="no room: make some"), "no room: make some"),
    (
        errors.OverQuota(account="web", used=200, wanted=1, quota=200),
        "the snapshot quota of account web is 200; with 200 there, 1 more would be too many; "
        "delete some, or raise it with 'snapengine account quota web N'",
    ),
    (errors.Denied(what="permission denied: run as root"), "permission denied: run as root"),
    (
        errors.CommandFailed(command="qemu-img check x", status=2, stderr="it said this"),
        "qemu-img check x failed with exit code 2: it said this",
    ),
]


def kinds(kind: type[errors.Error] = errors.Error) -> Iterator[type[errors.Error]]:
    """Give kind and all kinds below it, but for those of others, as the server's."""
    if kind.__module__ == errors.__name__:
        yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def named(error: errors.Error) -> str:
    return type(error).__name__


def test_every_kind_has_an_example() -> None:
    assert {type(error) for error, _ in EXAMPLES} == set(kinds())


@pytest.mark.parametrize(("error", "text"), EXAMPLES, ids=[named(error) for error, _ in EXAMPLES])
def test_the_text_is_made_of_the_facts(error: errors.Error, text: str) -> None:
    assert str(error) == text


@pytest.mark.parametrize("error", [error for error, _ in EXAMPLES], ids=named)
def test_an_error_crosses_a_process_border_whole(error: errors.Error) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), str(back), vars(back)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
def test_every_kind_has_an_exit_code_and_a_code_of_the_contract(kind: type[errors.Error]) -> None:
    assert kind.exit_code in range(1, 9)
    assert (kind.exit_code == 1) is (kind is errors.Error)
    assert kind.code in CODES
    assert kind.description and not kind.description.endswith(".")
    assert kind.__doc__


@pytest.mark.parametrize(
    ("kind", "exit_code"),
    [(errors.Invalid, 2), (errors.NotFound, 3), (errors.Conflict, 4), (errors.Busy, 5), (errors.Corrupt, 6),
     (errors.NoSpace, 7), (errors.Denied, 8), (errors.CommandFailed, 8)],
)  # fmt: skip
def test_the_exit_codes_are_those_of_the_command_lines_table(kind: type[errors.Error], exit_code: int) -> None:
    assert {k.exit_code for k in kinds(kind)} == {exit_code}


ROW = re.compile(r"(?P<indent>[ │├└─]*)(?P<name>\w+) {2,}.*?(?:exit (?P<exit>\d))? *(?P<code>[A-Z_]+\.\d+)?")


def drawn() -> list[re.Match[str]]:
    """Return the rows of the drawing in the module's docstring."""
    assert errors.__doc__
    return [row for line in errors.__doc__.splitlines() if "──" in line and (row := ROW.fullmatch(line))]


def test_the_drawing_has_every_kind_that_differs_from_the_one_above_it() -> None:
    def differs(kind: type[errors.Error]) -> bool:
        above = kind.__bases__[0]
        return issubclass(above, errors.Error) and (kind.exit_code, kind.code) != (above.exit_code, above.code)

    names = [row["name"] for row in drawn()]
    assert len(names) == len(set(names))
    assert set(names) <= {kind.__name__ for kind in kinds()}
    assert set(names) >= {kind.__name__ for kind in kinds() if differs(kind)}


def test_the_drawing_tells_the_tree_and_the_codes_as_they_are() -> None:
    above = [errors.Error]
    for row in drawn():
        kind: type[errors.Error] = getattr(errors, row["name"])
        depth = row["indent"].index("──") // 4
        del above[depth:]
        assert kind.__bases__ == (above[-1],), f"{kind.__name__} is drawn below {above[-1].__name__}"
        assert row["exit"] in (None, str(kind.exit_code))
        assert row["code"] in (None, kind.code)
        if depth == 1:
            assert row["exit"] and row["code"]
        above.append(kind)
