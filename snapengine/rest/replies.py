"""The replies that there are: JSON for what was done and for business errors, plain text for malformed transport."""

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from snapengine.rest import answers, faults
from snapengine.rest.worker import Outcome

PIECE = 64 * 2**10  # bytes
_JSON = "application/json;charset=UTF-8"
_TEXT = "text/plain;charset=UTF-8"


class Coded(Response):
    """
    A reply that knows the contract's code of the error that it tells, for the log; None where it tells none.

    A large body goes out piece by piece, as its client takes it: what a connection has not taken yet is a copy.
    """

    code: str | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the reply."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for at in range(0, len(self.body) or 1, PIECE):
            last = at + PIECE >= len(self.body)
            await send({"type": "http.response.body", "body": self.body[at : at + PIECE], "more_body": not last})


def json(body: bytes) -> Coded:
    """Return a reply with what a call answers."""
    return Coded(body, 200, media_type=_JSON)


def ended(outcome: Outcome) -> Coded:
    """Return the reply to a call that ended: 200, or 503 with the error."""
    reply = Coded(outcome.body, 200 if outcome.code is None else 503, media_type=_JSON)
    reply.code = outcome.code
    return reply


def failed(told: faults.Fault) -> Coded:
    """Return the reply that tells a business error."""
    return ended(Outcome(answers.fault(told), told.code))


def accepted(body: bytes) -> Coded:
    """Return the reply to a call that goes on as a job, or to a poll of one that runs."""
    return Coded(body, 202, media_type=_JSON)


def plain(status: int, text: str, headers: dict[str, str] | None = None) -> Coded:
    """Return a reply in plain text."""
    return Coded(f"{text}\n", status, headers, _TEXT)
