"""The access log: a line of JSON for each request, without secrets: neither bodies, headers, queries nor sessions."""

import logging
import time

import msgspec

from snapengine.rest.replies import Coded
from snapengine.rest.said import Said

log = logging.getLogger("snapengine.access")

_SECRET = ("logOut", "validateSession", "getApiJob")  # the uuid in their path is as good as a password


def note(said: Said, reply: Coded) -> None:
    """Write down a request and its reply."""
    if not log.isEnabledFor(logging.INFO):
        return
    client = said.request.client
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "request": said.id,
        "client": client.host if client else None,
        "account": said.account,
        "method": said.request.method,
        "api": said.name,
        "object": None if said.name in _SECRET else said.at.get("uuid", "")[:64] or None,
        "volume": said.at.get("volumeUuid", "")[:64] or None,
        "job": None if said.job is None else said.job[:8],
        "status": reply.status_code,
        "code": reply.code,
        "milliseconds": round((time.monotonic() - said.since) * 1000, 1),
        "bytes": len(reply.body),
    }
    log.info("%s", msgspec.json.encode({key: value for key, value in line.items() if value is not None}).decode())
