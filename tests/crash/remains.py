"""What a crash has left, as one digest: two crashes that left the same need to be judged only once."""

import hashlib
import os
import re
from pathlib import Path

from tests.crash import stores

_DATE = re.compile(rb'"[A-Z][a-z]{2} \d+, \d{4} \d+:\d\d:\d\d [AP]M"')


def digest(root: Path) -> str:
    """
    Return a digest of all names, contents, modes and second names below the store at root, and beside it.

    Where the store lies counts for nothing, nor do dates in records and who held a lock. Whatever else may differ makes
    another digest: inodes and times that a journal's entry holds, say.
    """
    names: dict[int, str] = {}
    seen = hashlib.sha256()
    for path in sorted(p for place in (root, stores.beside(root)) for p in [place, *place.rglob("*")] if p.exists()):
        status = path.lstat()
        name = os.path.relpath(path, root).replace(root.name, "ROOT")
        first = names.setdefault(status.st_ino, name)
        seen.update(f"\0{name}\0{first}\0{status.st_mode}\0".encode())
        if path.is_file() and path.name != ".lock" and first == name:
            seen.update(_content(path, root))
    return seen.hexdigest()


def _content(path: Path, root: Path) -> bytes:
    data = path.read_bytes()
    if ".json" in path.name:
        data = _DATE.sub(b'"DATE"', data.replace(str(root).encode(), b"ROOT"))
    return hashlib.sha256(data).digest()
