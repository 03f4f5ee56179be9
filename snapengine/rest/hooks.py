"""
Web hooks: the result of a job is POSTed to where its client wants it (contract, section 2).

Off until a host is allowed. The address that is connected to is one that was looked at, and no redirect is followed, so
a hook leads nowhere else; of a URL nothing but its origin is logged.
"""

import asyncio
import functools
import ipaddress
import logging
import re
import socket
import ssl
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import httptools

from snapengine.rest.faults import Malformed
from snapengine.rest.worker import Outcome

LOOPBACK = "localhost"  # among the allowed hosts: this machine by all its loopback names and addresses
PAUSES = (1.0, 2.0, 4.0, 8.0)  # seconds between the tries
SECONDS = 5.0  # for one try
AT_ONCE = 32  # tries
MAX_OWED = 1000  # deliveries that wait
_MAX_REPLY = 64 * 2**10
_URL = re.compile(r"[\x21-\x7e]{1,2000}", re.ASCII)

log = logging.getLogger(__name__)


class Failed(Exception):
    """A try came to nothing; the text says why, without the URL."""


class Hook(NamedTuple):
    """Where a result goes: the URL as the client gave it, and its parts."""

    url: str
    parts: SplitResult
    host: str
    port: int

    @property
    def origin(self) -> str:
        """Return what may be logged of it."""
        return f"{self.parts.scheme}://{self.parts.netloc}"


def parse(url: str, allowed: Collection[str]) -> Hook:
    """Return the hook that a client names; Malformed (400) for no URL, or one to a host that is not allowed."""
    if not allowed:
        raise Malformed(400, "header 'X-Web-Hook' is not allowed here: the server has no setting 'web_hooks'")
    try:
        parts = urlsplit(url if _URL.fullmatch(url) else "")
        usual = {"http": 80, "https": 443}.get(parts.scheme, 0)
        host, port = parts.hostname or "", usual if usual == 0 or parts.port is None else parts.port
    except ValueError:
        host, port = "", 0
    if not host or not port or parts.username is not None or parts.password is not None:
        what = "give a URL like 'http://localhost:5000/done', without a user"
        raise Malformed(400, f"invalid header 'X-Web-Hook': {what}")
    if not _is_allowed(host, allowed):
        raise Malformed(400, f"header 'X-Web-Hook' leads to {host[:100]}, which the server's setting 'web_hooks' lacks")
    return Hook(url, parts, host, port)


def _is_allowed(host: str, allowed: Collection[str]) -> bool:
    return _named(host) in allowed or (LOOPBACK in allowed and _is_loopback(host))


def _named(host: str) -> str:
    return host.lower().removesuffix(".")


def _is_loopback(host: str) -> bool:
    """Tell whether a name or address is this machine's own by its form; what else names may mean is nobody's to say."""
    name = _named(host)
    return name == LOOPBACK or name.endswith(f".{LOOPBACK}") or _is_own_address(name)


def _is_own_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class Hooks:
    """All that is owed to hooks. Deliveries never keep a call waiting, and end by themselves."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(map(_named, allowed))
        self._owed: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        # Where no name server answers, a thread is busy for longer than a try: logins and jobs have others.
        self._names = ThreadPoolExecutor(AT_ONCE, "names")

    def wanted(self, url: str | None) -> Hook | None:
        """Return the hook that a header names, None without one; errors as parse()."""
        return None if url is None else parse(url, self._allowed)

    def post(self, hook: Hook, job: str, outcome: Outcome, told: Callable[[], None]) -> None:
        """Deliver a result in the background, in several tries; told is called once it came there, or was given up."""
        if len(self._owed) >= MAX_OWED:
            log.warning("job %s is not told to %s: %d hooks wait already", job[:8], hook.origin, len(self._owed))
            return
        task = asyncio.create_task(self._delivered(hook, job, outcome, told))
        self._owed.add(task)
        task.add_done_callback(self._owed.discard)

    async def ended(self, seconds: float) -> None:
        """Let what is owed be delivered for so many seconds."""
        if self._owed:
            await asyncio.wait(self._owed, timeout=seconds)

    async def _delivered(self, hook: Hook, job: str, outcome: Outcome, told: Callable[[], None]) -> None:
        for pause in (0.0, *PAUSES):
            await asyncio.sleep(pause)
            try:
                async with self._turn:
                    await self._sent(hook, _request(hook, job, outcome))
                break
            except Failed as e:
                log.warning("job %s was not told to %s: %s", job[:8], hook.origin, e)
        await asyncio.to_thread(told)

    async def _sent(self, hook: Hook, request: bytes) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                if not (addresses := await self._addresses(hook)):
                    raise Failed("its name leads to no address that is allowed")
                status = await _answered(hook, addresses, request)
        except TimeoutError as e:
            raise Failed("it did not answer in time") from e
        except (OSError, ValueError, httptools.HttpParserError) as e:
            raise Failed(getattr(e, "strerror", None) or type(e).__name__) from e
        if not 200 <= status < 300:
            raise Failed(f"it answered {status}")

    async def _addresses(self, hook: Hook) -> list[str]:
        """Return the addresses of a hook's host; of one that is allowed as loopback those that are, and no other."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._names, socket.getaddrinfo, hook.host, hook.port, 0, 0, 6)
        addresses = [str(each[4][0]) for each in found]
        if _named(hook.host) not in self._allowed or _is_loopback(hook.host):
            addresses = [address for address in addresses if _is_own_address(address)]
        return addresses


def _request(hook: Hook, job: str, outcome: Outcome) -> bytes:
    path = f"{hook.parts.path or '/'}{'?' if hook.parts.query else ''}{hook.parts.query}"
    lines = [
        f"POST {path} HTTP/1.1", f"Host: {hook.parts.netloc}", "User-Agent: snapengine", "Accept: */*",
        "Content-Type: application/json;charset=UTF-8", f"Content-Length: {len(outcome.body)}", f"X-Job-UUID: {job}",
        f"X-Job-Success: {'true' if outcome.code is None else 'false'}", "Connection: close", "", "",
    ]  # fmt: skip
    return "\r\n".join(lines).encode("ascii") + outcome.body


class _Reply:
    """Whether a reply is whole, as the parser tells it."""

    is_whole = False

    def on_message_complete(self) -> None:
        self.is_whole = True


async def _answered(hook: Hook, addresses: list[str], request: bytes) -> int:
    """Send a request and return the status of its reply, which is read so far that its sender can end in peace."""
    reader, writer = await _connected(hook, addresses)
    try:
        writer.write(request)
        reply = _Reply()
        parser = httptools.HttpResponseParser(reply)
        left = _MAX_REPLY
        while left > 0 and not reply.is_whole and (piece := await reader.read(left)):
            left -= len(piece)
            parser.feed_data(piece)
        return int(parser.get_status_code())
    finally:
        writer.close()


async def _connected(hook: Hook, addresses: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    is_tls = hook.parts.scheme == "https"
    opened = functools.partial(
        asyncio.open_connection,
        port=hook.port,
        ssl=_tls() if is_tls else None,
        server_hostname=hook.host if is_tls else None,
    )
    for address in addresses[:-1]:
        with suppress(OSError):
            return await opened(address)
    return await opened(addresses[-1])


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()
