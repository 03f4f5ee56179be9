"""The server as an ASGI application: one request in, one reply out, whatever is sent (contract, section 2)."""

import logging

from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from snapengine import errors
from snapengine.rest import access, faults, message, replies, routes, target
from snapengine.rest.board import Board
from snapengine.rest.desk import Desk
from snapengine.rest.faults import Malformed
from snapengine.rest.metrics import Metrics
from snapengine.rest.replies import Coded
from snapengine.rest.said import Said

log = logging.getLogger(__name__)


class App:
    """What uvicorn calls for each request."""

    def __init__(self, desk: Desk, board: Board, metrics: Metrics) -> None:
        self._desk = desk
        self._board = board
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; its id stands in the reply's header X-Request-Id, in the log and in the journal."""
        if scope["type"] != "http":
            return
        said = Said(Request(scope, receive))
        try:
            reply = await self._reply(said)
        except ClientDisconnect:
            return
        reply.headers["X-Request-Id"] = said.id
        access.note(said, reply)
        self._metrics.note(said, reply)
        await reply(scope, receive, send)

    async def _reply(self, said: Said) -> Coded:
        try:
            return await self._answered(said)
        except Malformed as e:
            return replies.plain(e.status, e.text)
        except (errors.Error, OSError) as e:
            told = faults.of(e)
            return replies.failed(told) if told else self._broken(said)
        except ClientDisconnect:
            raise
        except Exception:
            return self._broken(said)

    def _broken(self, said: Said) -> Coded:
        log.exception("request %s", said.id)
        return replies.plain(500, "Internal Server Error")

    async def _answered(self, said: Said) -> Coded:
        segments = message.segments(said.request)
        if segments is None:
            return self._board.reply(said) or _unmapped(said)
        match = routes.match(said.request.method, segments)
        if match is None:
            return _unmapped(said)
        said.name, said.at = match.name, match.at
        if not match.calls:
            allowed = {"Allow": ", ".join(match.allowed)}
            return replies.plain(405, f"method {said.request.method} is not allowed here", allowed)
        return await self._desk.reply(said, match)


def _unmapped(said: Said) -> Coded:
    path = target.text(message.raw_path(said.request).encode("latin-1")).removeprefix(target.BASE)
    return replies.plain(404, f"no api mapping to {path[:200]}")
