"""snapengine serve: the API over HTTP, in the foreground."""

import contextlib
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

import snapengine
from snapengine import errors, passwords
from snapengine.cli import session, settings, show

if TYPE_CHECKING:
    from snapengine.rest.options import Options

_PREFIX = "SNAPENGINE_SERVE_"
_PASSWORD = "SNAPENGINE_ADMIN_PASSWORD"


@click.command(cls=settings.Verb)
@click.option("--host", metavar="ADDRESS", help="Where to listen. Default: 127.0.0.1.")
@click.option("--port", type=int, metavar="N", help="The TCP port; 0 takes a free one. Default: 8080.")
@click.option("--socket", "path", metavar="PATH", help="Listen at a unix socket, mode 0660, instead.")
@click.option("--tls-cert", metavar="FILE", help="A certificate, PEM: serve HTTPS.")
@click.option("--tls-key", metavar="FILE", help="The certificate's key, PEM.")
@click.option("--insecure", is_flag=True, help="Serve other machines without TLS.")
@click.option("--config", metavar="FILE", envvar="SNAPENGINE_SERVE_CONFIG", help="A TOML file with all settings.")
def serve(
    host: str | None, port: int | None, path: str | None, tls_cert: str | None, tls_key: str | None, insecure: bool,
    config: str | None,
) -> None:  # fmt: skip
    """
    Serve the volume snapshot API over HTTP until a SIGTERM or Ctrl-C.

    An empty or new directory becomes a primary storage first. At the first start the account admin gets a password, a
    random one that is printed, unless SNAPENGINE_ADMIN_PASSWORD gives one. What runs at the end is finished within a
    grace time, or undone. docs/rest.md describes the settings, which a file and the environment may give too.

    \b
    snapengine --root /srv/volumes serve --port 8080
    """
    from snapengine.rest import server, sockets  # late: the web framework; only serve needs it

    said = {"host": host, "port": port, "socket": path, "tls_cert": tls_cert, "tls_key": tls_key}
    chosen = _options({**said, "insecure": insecure or None}, config)
    server.require_tls(chosen)
    listening = sockets.opened(chosen, _passed())
    try:
        _make_storage()
        engine = session.engine()
        _first_password(engine)
        _log(chosen)
        server.Server(engine, chosen, _ready).run(listening)
    finally:
        sockets.remove(chosen, _passed())


def _options(said: dict[str, object], config: str | None) -> "Options":
    from snapengine.rest import options  # late, as above

    return options.of(
        options.Source(_file(config), lambda name: f"{name} in {config}"),
        options.Source(_environment(), lambda name: f"{_PREFIX}{name.upper()}", is_text=True),
        options.Source(said, lambda name: f"--{name.replace('_', '-')}"),
    )


def _file(path: str | None) -> dict[str, object]:
    if path is None:
        return {}
    import tomllib  # late: only for a file

    try:
        with open(path, "rb") as f:
            return tomllib.load(f)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else e
        raise errors.Invalid(what=f"the settings in {path} can't be read: {why}") from e


def _environment() -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in os.environ.items():
        name = key.removeprefix(_PREFIX).lower()
        if key.startswith(_PREFIX) and name != "config":
            found[name] = value
    return found


def _make_storage() -> None:
    """Make a primary storage where the root is empty or new: whoever starts a server there wants one."""
    root = settings.current().root
    if not os.path.lexists(root) or (os.path.isdir(root) and not os.listdir(root)):
        if given := os.environ.get(_PASSWORD):
            with _naming_it():
                passwords.digest(given)
        snapengine.Engine.init(root)
        click.echo(f"made a primary storage at {root}", err=True)


def _first_password(engine: "snapengine.Engine") -> None:
    given = os.environ.get(_PASSWORD) or None
    with _naming_it():
        made = engine.first_password(given)
    if made is not None and given is None:
        click.echo(f"the password of account admin is {made}; it is shown only now", err=True)


@contextlib.contextmanager
def _naming_it() -> Iterator[None]:
    """Let a refusal of the password say where it came from."""
    try:
        yield
    except errors.Invalid as e:
        raise errors.Invalid(what=f"{_PASSWORD}: {e}") from e


def _passed() -> int:
    """Return how many sockets systemd has opened for us (sd_listen_fds(3))."""
    ours = os.environ.get("LISTEN_PID") == str(os.getpid())
    count = os.environ.get("LISTEN_FDS", "")
    return int(count) if ours and count.isdecimal() and int(count) <= 64 else 0


def _ready(addresses: Sequence[str]) -> None:
    """Say where the server listens, to people and to systemd (sd_notify(3))."""
    if show.in_json():
        show.raw(_document(addresses))
    else:
        for address in addresses:
            show.line(f"listening on {address}")
    sys.stdout.flush()
    if path := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, contextlib.suppress(OSError):
            s.sendto(b"READY=1", f"\0{path[1:]}" if path.startswith("@") else path)


def _document(addresses: Sequence[str]) -> bytes:
    from snapengine.cli import wire  # late, as above

    return wire.document({"addresses": addresses})


def _log(chosen: "Options") -> None:
    """Write the access log, and what goes wrong inside, to stderr."""
    import logging  # late, as above

    handler = logging.StreamHandler(sys.stderr)
    for name, level in (("snapengine.access", logging.INFO if chosen.access_log else logging.CRITICAL),
                        ("snapengine.rest", logging.WARNING), ("asyncio", logging.WARNING),
                        ("uvicorn.error", logging.ERROR)):  # fmt: skip
        log = logging.getLogger(name)
        log.setLevel(level)
        log.addHandler(handler)
        log.propagate = False
