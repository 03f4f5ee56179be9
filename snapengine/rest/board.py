"""What the server shows beside the API: its health, its metrics, what the API looks like to programs and people."""

from snapengine import errors, store
from snapengine.engine import Engine
from snapengine.rest import message, openapi, reference, replies
from snapengine.rest.metrics import CONTENT_TYPE, Metrics
from snapengine.rest.operations import Operations
from snapengine.rest.replies import Coded
from snapengine.rest.said import Said


class Board:
    """The pages outside the API; none needs an authorization, and none tells of an object."""

    def __init__(self, engine: Engine, operations: Operations, metrics: Metrics) -> None:
        self._engine = engine
        self._operations = operations
        self._metrics = metrics
        self._pages = {"/healthz": self._health, "/metrics": self._numbers, "/openapi.json": self._openapi}

    def reply(self, said: Said) -> Coded | None:
        """Return the page at a request's path; None where there is none."""
        path = message.raw_path(said.request)
        page = self._pages.get(path)
        if page is None and path not in reference.FILES:
            return None
        said.name = path[1:].partition("/")[0]
        if said.request.method not in ("GET", "HEAD"):
            return replies.plain(405, "give a GET or a HEAD", {"Allow": "GET, HEAD"})
        return page() if page is not None else reference.page(path)

    def _health(self) -> Coded:
        try:
            store.open_store(self._engine.root)
        except (errors.Error, OSError):
            return replies.plain(503, "the primary storage can't be read")
        return replies.plain(503, "stopping") if self._operations.stopping else replies.plain(200, "ok")

    def _numbers(self) -> Coded:
        return Coded(self._metrics.page(), 200, media_type=CONTENT_TYPE)

    def _openapi(self) -> Coded:
        return replies.json(openapi.document())
