"""What all parts of the engine share: where the store is, and how long a verb waits."""

from pathlib import Path

from snapengine import store
from snapengine.store import Store


class Opened:
    """
    An open primary storage.

    wait is how long, in seconds, a verb waits for another operation on the same volume before it raises Locked.
    """

    def __init__(self, root: Path, wait: float) -> None:
        self.root = root
        self.wait = wait

    @property
    def _store(self) -> Store:
        return store.open_store(self.root)
