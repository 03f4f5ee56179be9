"""Whether a name is there, for decisions that lose data when they are wrong: what can't be told is never a no."""

import os
from pathlib import Path


def is_there(path: Path) -> bool:
    """Tell whether anything has this name, a link that leads nowhere too; raises OSError where that can't be told."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
