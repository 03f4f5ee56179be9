"""
The page /docs: the API as a person reads it in a browser, and tries it out. Its files are in assets.

It tells nothing that is secret, so it needs no session. Its own form opens one, and that stays in the page's memory.
"""

import functools
from pathlib import Path

from snapengine.rest.replies import Coded

_ASSETS = Path(__file__).with_name("assets")
_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    # Nothing comes from another host or goes there. swagger-ui.css and what it is told draw little pictures as data:.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

FILES = {"/docs": _ASSETS / "index.html"} | {
    f"/docs/{path.name}": path for path in sorted(_ASSETS.iterdir()) if path.suffix in _KINDS and path.stem != "index"
}


def page(path: str) -> Coded:
    """Return a file of the page; path is one of FILES."""
    file = FILES[path]
    return Coded(_content(file), 200, _HEADERS, f"{_KINDS[file.suffix]};charset=UTF-8")


@functools.cache
def _content(file: Path) -> bytes:
    """Return what a file holds: all that ask for it share that."""
    return file.read_bytes()
