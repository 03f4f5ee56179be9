"""
A connection: uvicorn's own, with bounds on who sends nothing, or slowly, or without end.

Until a request's headers are whole a client has so many seconds and 64 KiB, whether the connection is new or was used
before; of those of a next request, sent while a call runs, it has 64 KiB too. What stands behind a body in pieces, a
trailer, is no header, and none is kept. Who takes less than about 64 KiB of a reply in that time is dropped, whatever
is left of it. Where there are too many clients, one that waits makes room for each new one: who has asked nothing yet
before who has, the longest first; so no crowd of idle ones keeps others out. Who closes its sending side while a call
runs still gets the reply. Clients that have not ended their TLS handshake, which may take as long as headers, can't be
told apart yet: where they take all files but those of the server's own, new ones are dropped.
"""

import asyncio
import itertools
import os
import socket
import time
from typing import Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS = 64 * 2**10  # bytes, with the request line
MAX_COUNT = 100  # headers; a short one takes thirty times its bytes of memory
_SECONDS = 30.0


class Connection(HttpToolsProtocol):
    """One client's connection."""

    seconds = _SECONDS
    most = 10_000
    spare = 65_536  # files that may be open before a new client is dropped
    files: ClassVar[tuple[int, float]] = (0, 0.0)  # how many were open, and when they were counted
    waiting: ClassVar[tuple[dict["Connection", None], ...]]  # who never asked anything, and the others, oldest first

    def __init__(self, *args: Any, **more: Any) -> None:
        """Begin with a client, over TLS before its handshake; one for whom there is no file to spare is dropped."""
        self._require_file()
        super().__init__(*args, **more)

    @classmethod
    def _require_file(cls) -> None:
        """Count one more, and anew where there seem to be too many, ten times a second at most: it takes a while."""
        (count, since), now = cls.files, time.monotonic()
        if count >= cls.spare and now - since > 0.1:
            count, since = len(os.listdir("/proc/self/fd")), now
        cls.files = count + 1, since
        if count >= cls.spare:
            raise ConnectionAbortedError

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family != socket.AF_UNIX:
            # Headers and body are two writes: else each reply waits 40 ms for the client's acknowledgement.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = 0
        self._in_headers = True
        self._deadline: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._wait()
        if len(self.connections) > self.most:
            next(itertools.chain(*self.waiting))._close()

    def data_received(self, data: bytes) -> None:
        """Read on, unless these are headers without end."""
        self._read += len(data)
        if self._in_headers and self._read > MAX_HEADERS + len(data):
            self.send_400_response("The headers are too large.")
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """Begin with the headers of a request, which may be the next while another one is answered."""
        self._in_headers, self._read = True, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer would count as one, and there may be trailers without end."""
        if self._in_headers:
            if len(self.headers) == MAX_COUNT:
                raise ValueError("too many headers")  # which the parser makes an error of its own
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Give the call the time that it needs."""
        self._in_headers = False
        self._stop_waiting()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self.pipeline and not self.transport.is_closing():
            self._wait()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection for the reply to a call that runs; TLS can't be half closed."""
        if self.scheme == "https" or self.cycle is None or self.cycle.response_complete:
            return None
        self.cycle.keep_alive = False
        return True

    def pause_writing(self) -> None:
        """Wait until the client has taken what is ready for it, and no longer than it may be idle."""
        super().pause_writing()
        self._stuck = self.loop.call_later(self.seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with the reply."""
        self._stop_stuck()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        self._stop_stuck()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._stop_waiting()
        self._in_headers, self._read = True, 0
        self._deadline = self.loop.call_later(self.seconds, self._close)
        self.waiting[self.cycle is not None][self] = None

    def _close(self) -> None:
        self._stop_waiting()
        self.transport.close()

    def _stop_stuck(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _stop_waiting(self) -> None:
        for each in self.waiting:
            each.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
