"""What all parts of the engine share: where the store is, and how long a verb waits."""

from pathlib import Path

from snapengine import store
from snapengine.store import Store


class Opened:
    """
    An open primary storage.

    wait is how long, in seconds, a verb waits for another operation on the same volume before it raises Locked. request
    names the call of a server that asked for the verbs, in their journal entries; fresh is a uuid that was made for it:
    what a verb makes gets that, unless its caller gives one.
    """

    def __init__(self, root: Path, wait: float, request: str | None = None, fresh: str | None = None) -> None:
        self.root = root
        self.wait = wait
        self.request = request
        self.fresh = fresh

    @property
    def _store(self) -> Store:
        return store.open_store(self.root)._replace(request=self.request, fresh=self.fresh)
