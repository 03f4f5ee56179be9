"""Whether a volume is Enabled: verbs that change the image of a Disabled one refuse (hold.require_ready)."""

import msgspec

from snapengine import hold, operation, store
from snapengine.inventory import State
from snapengine.store import Store


def change(opened: Store, volume: str, state: State, wait: float) -> None:
    """
    Enable or disable a volume; of one that is so already that is no change.

    One durable replacement of its record: a crash leaves the old one or the new one. Raises NotFound, Locked.
    """
    with hold.volume(opened, store.find_volume(opened.root, volume), "change volume state", wait) as work:
        if work.volume.state != state:
            operation.rewrite(work, msgspec.structs.replace(work.volume, state=state))
