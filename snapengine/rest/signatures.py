"""
Signed requests: `Authorization: ZStack KEYID:base64(HMAC-SHA1(secret, METHOD\\nDATE\\nPATH))` (contract, section 2).

PATH is the path without `/zstack` and without the query, DATE the Date header exactly as sent. Pure.
"""

import base64
import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta

SKEW = 15 * 60  # seconds
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ZONES = {"GMT": 0, "UTC": 0, "Z": 0, "Etc/UTC": 0, "CST": 8, "Asia/Shanghai": 8}  # hours
_DATE = re.compile(
    r"(?:[A-Za-z]{3}, )?(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) ([A-Za-z/]{1,20}|[+-]\d{4})", re.ASCII
)


def instant(date: str) -> float | None:
    """Return the instant (seconds) of a Date header; None for what is none. CST is Shanghai's, as clients there say."""
    match = _DATE.fullmatch(date.strip())
    if match is None or match[2] not in _MONTHS or (zone := _offset(match[7])) is None:
        return None
    day, year, hour, minute, second = (int(match[n]) for n in (1, 3, 4, 5, 6))
    try:
        told = datetime(year, _MONTHS.index(match[2]) + 1, day, hour, minute, second, tzinfo=UTC)
        return (told - zone).timestamp()
    except (ValueError, OverflowError):
        return None


def _offset(zone: str) -> timedelta | None:
    if zone in _ZONES:
        return timedelta(hours=_ZONES[zone])
    if zone[0] not in "+-":
        return None
    hours, minutes = int(zone[1:3]), int(zone[3:5])
    return timedelta(hours=hours, minutes=minutes) * (1 if zone[0] == "+" else -1)


def sign(secret: str, method: str, date: str, path: str) -> str:
    """Return the signature of a request."""
    text = f"{method}\n{date}\n{path}".encode("utf-8", "surrogateescape")
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha1).digest()).decode()


def is_signed(secret: str, method: str, date: str, path: str, signature: str) -> bool:
    """Tell whether a signature is that of a request; takes as long for a wrong one."""
    given = signature.encode("utf-8", "surrogateescape")
    return hmac.compare_digest(sign(secret, method, date, path).encode(), given)
