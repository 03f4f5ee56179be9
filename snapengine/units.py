"""Sizes and times: bytes and UTC instants inside, people's and the contract's forms outside."""

import os
import re
import time
from datetime import UTC, datetime

SECTOR = 512
END = 253_402_300_800  # Jan 1, 10000: no date of the contract's form tells of this instant or a later one
KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
HUGE = TIB  # an image claims any size without holding a byte: to read or write more zeros than that may never end

_SUFFIX: dict[str, int] = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB, "P": 2**50}
_SIZE = re.compile(r"(\d{1,30}(?:\.\d{1,30})?)\s*(?:([KMGTP])(?:I?B)?|B)?", re.ASCII | re.IGNORECASE)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DATE = re.compile(r"(\w{3}) ([1-9]\d?), (\d{4}) ([1-9]|1[0-2]):(\d\d):(\d\d) (AM|PM)", re.ASCII)
_SPAN: dict[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: str) -> int:
    """
    Return the bytes that text names: a plain number, or a number with K, M, G, T or P (powers of 1024).

    Raises ValueError for anything else, negative numbers, and fractions that are not whole bytes.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"'{text}' is not a size; write bytes or 512M, 10G, 1T")
    whole, _, fraction = match[1].partition(".")
    scale = int("1" + "0" * len(fraction))
    size, rest = divmod(int(whole + fraction) * _SUFFIX[(match[2] or "").upper()], scale)
    if rest:
        raise ValueError(f"'{text}' is not a whole number of bytes")
    return size


def format_size(size: int) -> str:
    """Return size (bytes) for people: `1.2 GiB`, `512 B`."""
    value = float(size)
    for suffix in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(value, 1) < 1024:
            break
        value /= 1024
    else:
        suffix = "PiB"
    return f"{value:.1f}".removesuffix(".0") + f" {suffix}"


def allocated(status: os.stat_result) -> int:
    """Return the bytes that a file of this status takes on its disk."""
    return status.st_blocks * SECTOR  # always units of 512 bytes (stat(2))


def round_up(size: int, step: int = SECTOR) -> int:
    """Return size rounded up to a multiple of step."""
    return -(-size // step) * step


def format_date(instant: float) -> str:
    """Return a UTC instant (seconds) in the contract's form: `Jun 7, 2017 9:20:17 PM`, English in every locale."""
    t = time.gmtime(instant)
    hour = t.tm_hour % 12 or 12
    half = "AM" if t.tm_hour < 12 else "PM"
    return f"{_MONTHS[t.tm_mon - 1]} {t.tm_mday}, {t.tm_year} {hour}:{t.tm_min:02}:{t.tm_sec:02} {half}"


def parse_date(text: str) -> int:
    """
    Return the UTC instant (seconds) of a date in the contract's form; ValueError for anything else.

    A day that its month does not have counts on into the next month: a record's date is checked by its form alone.
    """
    match = _DATE.fullmatch(text)
    if match is None or match[1] not in _MONTHS:
        raise ValueError(f"'{text}' is not a date like 'Jun 7, 2017 9:20:17 PM'")
    hour = int(match[4]) % 12 + (12 if match[7] == "PM" else 0)
    first = datetime(int(match[3]), _MONTHS.index(match[1]) + 1, 1, hour, int(match[5]), int(match[6]), tzinfo=UTC)
    return int(first.timestamp()) + (int(match[2]) - 1) * 86400


def local_time(text: str) -> str:
    """Return a date of the contract's form as people read it: local time, ISO."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(parse_date(text)))


def parse_span(text: str) -> int:
    """Return the seconds that text names: `30`, `90s`, `15m`, `12h`, `7d`, `2w`; ValueError for anything else."""
    match = re.fullmatch(r"(\d{1,100})([smhdw]?)", text.strip(), re.ASCII)
    if match is None:
        raise ValueError(f"'{text}' is not a time span; write 90s, 15m, 12h, 7d or 2w")
    return int(match[1]) * _SPAN[match[2] or "s"]
