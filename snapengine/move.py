"""What replaces a volume's active image, as one of several that are replaced together."""

from typing import NamedTuple

import msgspec

from snapengine.hold import Held, Image
from snapengine.intent import Entry
from snapengine.operation import Making


class Move(NamedTuple):
    """
    What replaces a volume's active image old: the entry, and what makes the image that takes over.

    Both are as for operation.over_active. second is the second name that making gives to old, None for none.
    """

    work: Held
    old: Image
    entry: Entry
    making: Making
    second: str | None = None

    @property
    def member(self) -> Entry:
        """Return the entry as a member of that of an operation on several volumes."""
        return msgspec.structs.replace(self.entry, modified=self.old.layer.modified, second=self.second)
