"""Passwords and access keys on the command line: what is said of them, and that no secret is told twice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from snapengine.engine import Engine
from tests.command_line import START, CommandLine, environment, terminal

SECRET = "correct horse battery"


def passwd(root: Path, typed: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", START, "--root", str(root), "account", "passwd", *words]
    return subprocess.run(command, input=typed, capture_output=True, text=True, env=environment(), timeout=60)


def everything(root: Path) -> str:
    """Return what all files of a store hold."""
    files = (Path(at, name) for at, _, names in os.walk(root) for name in names)
    return "".join(path.read_bytes().decode("latin-1") for path in files)


def test_a_password_comes_from_the_standard_input_and_is_told_nowhere(engine: Engine) -> None:
    ended = passwd(engine.root, f"{SECRET}\nmore\n", "admin", "-v")

    assert (ended.returncode, ended.stdout) == (0, "")
    assert SECRET not in ended.stderr and SECRET not in everything(engine.root)
    assert '"password":"scrypt$' in (engine.root / "accounts.json").read_text().replace(": ", ":")
    assert (engine.root / "accounts.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "typed, words, code",
    [("", ("admin",), 2), ("\n", ("admin",), 2), ("short\n", ("admin",), 2), ("x" * 256 + "\n", ("admin",), 2),
     (f"{SECRET}\n", ("nobody",), 3), (f"{SECRET}\n", (), 2), (f"{SECRET}\n", ("admin", SECRET), 2)],
    ids=["nothing", "empty", "short", "long", "no such account", "no account", "an argument"],
)  # fmt: skip
def test_a_bad_password_is_refused_in_one_line(
    engine: Engine, typed: str, words: tuple[str, ...], code: int
) -> None:
    before = (engine.root / "accounts.json").read_bytes()

    ended = passwd(engine.root, typed, *words)

    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (code, "", 1), ended
    assert ended.stderr.startswith("error: ")
    assert (engine.root / "accounts.json").read_bytes() == before


@pytest.mark.parametrize(
    "keys, code, told",
    [(f"{SECRET}\n{SECRET}\n", 0, ""), (f"{SECRET}\nanother {SECRET}\n", 2, "the two passwords are not the same"),
     ("\x04", 130, "interrupted; nothing was changed"), ("\x03", 130, "interrupted; nothing was changed")],
    ids=["twice the same", "two others", "end of input", "interrupted"],
)  # fmt: skip
def test_a_password_is_asked_for_twice_on_a_terminal_and_never_shown(
    engine: Engine, keys: str, code: int, told: str
) -> None:
    before = (engine.root / "accounts.json").read_bytes()

    ended, shown = terminal(engine.root, "account", "passwd", "admin", keys=keys)

    assert ended == code and shown.startswith("new password of admin: ") and told in shown, (ended, shown)
    assert SECRET not in shown and "Traceback" not in shown
    assert ((engine.root / "accounts.json").read_bytes() != before) == (code == 0)


def test_a_key_shows_its_secret_once(engine: Engine) -> None:
    cli = CommandLine(engine.root)

    made = cli.json("access-key", "create", "admin")

    assert set(made) == {"uuid", "secret", "createDate"} and len(made["secret"]) == 40
    listed = cli.text("access-key", "list")
    assert made["uuid"] in listed and made["secret"] not in listed
    (key,) = cli.json("access-key", "list")["inventories"]
    assert (key["uuid"], key["accountName"], made["secret"] in str(key)) == (made["uuid"], "admin", False)
    assert made["secret"] not in cli.text("account", "list", "--output", "json")
    assert cli.json("access-key", "delete", made["uuid"]) == {}
    assert cli.json("access-key", "list")["inventories"] == []
    assert "access-key list" in cli.error(3, "access-key", "delete", made["uuid"])
    for wrong in ("x", "", "../..", "\x1b[31m"):
        cli.error(3, "access-key", "delete", wrong)
    cli.error(3, "access-key", "create", "nobody")
    cli.error(2, "access-key", "create", "")


def test_an_account_has_a_bounded_number_of_keys(engine: Engine) -> None:
    for _ in range(20):
        engine.create_access_key("admin")

    assert "delete one first" in CommandLine(engine.root).error(4, "access-key", "create", "admin")
