"""The server: its parts put together, run until it is told to stop, and then brought to a good end."""

import asyncio
import contextlib
import functools
import logging
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from prometheus_client import CollectorRegistry

from snapengine import errors
from snapengine.engine import Engine
from snapengine.rest import sockets
from snapengine.rest.app import App
from snapengine.rest.board import Board
from snapengine.rest.connection import Connection
from snapengine.rest.desk import Desk
from snapengine.rest.index import Index
from snapengine.rest.lines import Lines
from snapengine.rest.measured import Measured
from snapengine.rest.metrics import Metrics
from snapengine.rest.operations import Operations
from snapengine.rest.options import Options
from snapengine.rest.workers import Workers

TELLING = 2.0  # seconds in which hooks are told of what has ended; a later server tells the others
UNDOING = 10.0  # seconds that a worker has to undo what it is at before it is killed
OWN_FILES = 256  # open ones that are no connections: pipes of workers, records, locks; and those just coming or going
AT_ONCE = 32  # connections accepted before any is looked at: each takes a file
log = logging.getLogger(__name__)


def require_tls(options: Options) -> None:
    """Raise Invalid for a certificate and a key that can't be used."""
    if options.tls_cert is None or options.tls_key is None:
        return
    for path in options.tls_cert, options.tls_key:
        try:
            open(path, "rb").close()  # whose error names the file, which the next one's does not
        except OSError as e:
            raise errors.Invalid(what=f"{path} can't be read: {e.strerror}; give the certificate and its key") from e
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.tls_cert, options.tls_key, lambda: "")
    except OSError as e:
        what = f"{options.tls_cert} is no certificate with the key {options.tls_key}"
        raise errors.Invalid(what=f"{what}; give both as PEM files, the key without a password") from e


class _Listening(uvicorn.Server):
    """uvicorn's server; it tells when it listens, and has no signal handlers, which would end it before its workers."""

    def __init__(self, config: uvicorn.Config, told: Callable[[], None]) -> None:
        super().__init__(config)
        self._told = told

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._told()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """
    A server on an open engine.

    ready is called with the addresses once it listens.
    """

    def __init__(self, engine: Engine, options: Options, ready: Callable[[Sequence[str]], None]) -> None:
        self._engine = engine
        self._options = options
        self._ready = ready
        self._workers = Workers(engine.root, options.workers, engine.wait)
        self._config = self._configured()

    def run(self, listening: Sequence[socket.socket]) -> None:
        """Serve until SIGTERM or SIGINT; then finish what runs within the grace time, or undo it, and return."""
        asyncio.run(self._served(listening))

    async def _served(self, listening: Sequence[socket.socket]) -> None:
        index, lines = Index(self._engine.root), Lines(self._options.waiting)
        numbers = CollectorRegistry()
        operations = Operations(index, self._workers, lines, Measured(numbers))
        desk = Desk(self._engine, index, operations, self._options)
        metrics = Metrics(numbers, self._engine, index, operations, lines, desk.registry)
        self._config.app = App(desk, Board(self._engine, operations, metrics), metrics)
        self._config.load()
        server = _Listening(self._config, functools.partial(self._tell, listening))
        if self._options.tls_cert is not None:  # uvicorn has no setting for how long a handshake may take
            loop, seconds = asyncio.get_running_loop(), self._options.idle_seconds
            setattr(loop, "create_server", functools.partial(loop.create_server, ssl_handshake_timeout=seconds))
        self._workers.start()
        self._on_signals(server, operations)
        desk.registry.resume()
        await server.serve([*listening])
        await self._end(operations, desk)

    def _configured(self) -> uvicorn.Config:
        options, limit = self._options, _raised_file_limit()

        class Bounded(Connection):
            seconds = options.idle_seconds
            most = min(options.connections, max(limit - OWN_FILES, AT_ONCE))
            spare = limit - min(OWN_FILES, limit) // 2  # what was just accepted, and what goes, is among the rest
            files = 0, 0.0
            waiting = ({}, {})

        return uvicorn.Config(
            lambda: None, loop="asyncio", http=Bounded, ws="none", lifespan="off", log_config=None,
            access_log=False, proxy_headers=False, server_header=False, backlog=AT_ONCE,
            timeout_keep_alive=int(options.idle_seconds) + 1,
            timeout_graceful_shutdown=int(options.grace + TELLING + UNDOING),
            ssl_certfile=options.tls_cert, ssl_keyfile=options.tls_key,
        )  # fmt: skip

    def _on_signals(self, server: uvicorn.Server, operations: Operations) -> None:
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if operations.stopping:  # told twice: the grace time is over
                self._workers.stop()
                return
            operations.stopping = True
            server.should_exit = True
            loop.call_later(self._options.grace, self._workers.stop)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)

    def _tell(self, listening: Sequence[socket.socket]) -> None:
        for each in listening:
            each.listen(sockets.BACKLOG)  # as many may wait in the kernel, where they take no file
        scheme = "https" if self._options.tls_cert else "http"
        names = [sockets.name(each) for each in listening]
        self._ready([name if name.startswith("unix:") else f"{scheme}://{name}" for name in names])

    async def _end(self, operations: Operations, desk: Desk) -> None:
        """Let what runs end by itself, or, at the end of the grace time, be undone; then end the workers."""
        while operations.running or desk.registry.count:
            await asyncio.sleep(0.02)
            if not self._workers.are_alive():
                break
        await desk.hooks.ended(TELLING)
        self._workers.stop()
        await self._workers.ended(UNDOING)


def _raised_file_limit() -> int:
    """Allow as many open files, connections among them, as the system lets us have, and return how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
