"""What the server shows beside the API: whether it is well."""

from snapengine import errors, store
from snapengine.engine import Engine
from snapengine.rest import message, replies
from snapengine.rest.operations import Operations
from snapengine.rest.replies import Coded
from snapengine.rest.said import Said


class Pages:
    """The pages outside the API; none needs an authorization, and none tells of an object."""

    def __init__(self, engine: Engine, operations: Operations) -> None:
        self._engine = engine
        self._operations = operations

    async def reply(self, said: Said) -> Coded | None:
        """Return the page at a request's path; None where there is none."""
        if message.raw_path(said.request) != "/healthz" or said.request.method != "GET":
            return None
        said.name = "healthz"
        try:
            store.open_store(self._engine.root)
        except (errors.Error, OSError):
            return replies.plain(503, "the primary storage can't be read")
        return replies.plain(503, "stopping") if self._operations.stopping else replies.plain(200, "ok")
