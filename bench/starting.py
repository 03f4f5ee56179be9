"""How the command `snapengine` is started."""

import sys
from pathlib import Path


def line(*words: str) -> list[str]:
    """Return a command line of snapengine, by the script that pip installs where there is one."""
    script = Path(sys.executable).with_name("snapengine")
    return [*([str(script)] if script.exists() else [sys.executable, "-m", "snapengine"]), *words]
