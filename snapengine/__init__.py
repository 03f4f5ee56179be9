"""Local snapshot engine for KVM hosts: external qcow2 snapshots, snapshot trees and their inventories."""

from typing import TYPE_CHECKING

from snapengine.version import __version__

if TYPE_CHECKING:
    from snapengine.engine import Engine

__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> object:
    """Load Engine when it is first asked for: the command line's start-up imports this package too."""
    if name == "Engine":
        from snapengine.engine import Engine  # late: see ARCHITECTURE.md, "Late imports"

        return Engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
