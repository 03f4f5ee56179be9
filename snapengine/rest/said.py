"""What is known of a request while it is answered: for its reply, the access log and the metrics."""

import secrets
import time

from starlette.requests import Request

from snapengine.rest import target
from snapengine.rest.things import At


class Said:
    """A request; id names it in the log, the journal and the reply's header, since is when it came (monotonic)."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.id = secrets.token_hex(8)
        self.since = time.monotonic()
        self.name = "unknown"  # of the call, once it is known
        self.at: At = {}
        self.account: str | None = None
        self.job: str | None = None

    def header(self, name: str) -> str | None:
        """Return the value of a header, None without it."""
        return self.request.headers.get(name)

    @property
    def wants_schema(self) -> bool:
        """Tell whether the client asks for a schema map."""
        return (self.header("x-json-schema") or "").lower() == "true"

    def location(self, job: str) -> str:
        """Return where a job is polled: on the host that the client used."""
        url = self.request.url
        host = self.header("host") or url.netloc
        return f"{url.scheme}://{host}{target.PREFIX}/api-jobs/{job}"
