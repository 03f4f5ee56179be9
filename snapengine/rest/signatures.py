"""
Signed requests: `Authorization: ZStack KEYID:base64(HMAC-SHA1(secret, METHOD\\nDATE\\nPATH))` (contract, section 2).

PATH is the path without `/zstack` and without the query, DATE the Date header exactly as sent. Pure.
"""

import base64
import email.utils
import hashlib
import hmac
import re

SKEW = 15 * 60  # seconds
_OFFSETS = {
    **dict.fromkeys(("GMT", "UTC", "Z", "Etc/UTC", "-0000"), "+0000"),
    **dict.fromkeys(("CST", "Asia/Shanghai"), "+0800"),
}
_OFFSET = re.compile(r"[+-]\d{4}", re.ASCII)


def instant(date: str) -> float | None:
    """Return the instant (seconds) of a Date header; None for what is none. CST is Shanghai's, as clients there say."""
    told, _, zone = date.strip().rpartition(" ")
    offset = _OFFSETS.get(zone, zone)
    if _OFFSET.fullmatch(offset) is None:  # else the library would take CST for Chicago's, and others for local time
        return None
    try:
        return email.utils.parsedate_to_datetime(f"{told} {offset}").timestamp()
    except (ValueError, OverflowError):
        return None


def sign(secret: str, method: str, date: str, path: str) -> str:
    """Return the signature of a request."""
    text = f"{method}\n{date}\n{path}".encode("utf-8", "surrogateescape")
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha1).digest()).decode()


def is_signed(secret: str, method: str, date: str, path: str, signature: str) -> bool:
    """Tell whether a signature is that of a request; takes as long for a wrong one."""
    given = signature.encode("utf-8", "surrogateescape")
    return hmac.compare_digest(sign(secret, method, date, path).encode(), given)
