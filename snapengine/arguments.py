"""Arguments that every verb takes, checked once and in one place (contract, section 1). Pure."""

import re

from snapengine import errors, units

MAX_NAME = 255
MAX_DESCRIPTION = 2048
MAX_TAG = 2048
MAX_TAGS = 200  # of one kind; with both kinds as long as can be, a record stays below inventory.MAX_RECORD
MAX_SIZE = 2 * 2**50  # 32 MiB of L1 table over clusters of 64 KiB: QEMU's own limit (qcow2 specification, "L1 table")
MAX_QUOTA = 10**6
DEPTH_RANGE = range(2, 120)
DEPTH_TAG = "volumeMaxIncrementalSnapshotNum::"

_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def name(text: str) -> str:
    """Return text trimmed; Invalid unless 1 to 255 characters are left, without line breaks and tabs between them."""
    trimmed = _text("name", text).strip()
    if set("\n\t") & set(trimmed):
        raise errors.Invalid(what=f"a name stands on one line, without tabs: {trimmed[:64]!r}")
    if not 1 <= len(trimmed) <= MAX_NAME:
        raise errors.Invalid(what=f"a name has 1 to {MAX_NAME} characters, this one has {len(trimmed)}")
    return trimmed


def account(text: str) -> str:
    """Return text; Invalid unless it is 1 to 64 letters, digits, `.`, `_`, `-`, as names of accounts are."""
    if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", text, re.ASCII) is None:
        raise errors.Invalid(what=f"{text[:64]!r} is no account: give 1 to 64 letters, digits, '.', '_' or '-'")
    return text


def description(text: str | None) -> str | None:
    """Return text, None for an empty one, which is none; Invalid when it has more than 2048 characters."""
    if text is not None and len(_text("description", text)) > MAX_DESCRIPTION:
        raise errors.Invalid(what=f"a description has at most {MAX_DESCRIPTION} characters, this one has {len(text)}")
    return text or None


def changes(new_name: str | None, new_description: str | None) -> dict[str, str | None]:
    """Return the fields that an update changes: what is None stays; Invalid as name() and description() say."""
    found: dict[str, str | None] = {}
    if new_name is not None:
        found["name"] = name(new_name)
    if new_description is not None:
        found["description"] = description(new_description)
    return found


def tags(given: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return the tags without repetitions, in their order.

    Invalid for one that is empty or over 2048 characters, for two depth limits, and for more than 200.
    """
    limits = [tag for tag in dict.fromkeys(given) if tag.startswith(DEPTH_TAG)]
    if len(limits) > 1:
        raise errors.Invalid(what=f"{' and '.join(limits[:2])} are two depth limits; give one")
    for tag in given:
        if not 1 <= len(_text("tag", tag)) <= MAX_TAG:
            raise errors.Invalid(what=f"a tag has 1 to {MAX_TAG} characters, this one has {len(tag)}")
        if tag.startswith(DEPTH_TAG):
            depth(tag.removeprefix(DEPTH_TAG))
    found = tuple(dict.fromkeys(given))
    if len(found) > MAX_TAGS:
        raise errors.Invalid(what=f"an object has at most {MAX_TAGS} tags of a kind, this one would have {len(found)}")
    return found


def depth(number: str | int) -> int:
    """Return a depth limit; Invalid unless it is a whole number from 2 to 119."""
    text = str(number)
    if not (text.isascii() and text.isdigit() and int(text[:9]) in DEPTH_RANGE):
        raise errors.Invalid(what=f"{text[:32]!r} is no depth limit: give a whole number from 2 to 119")
    return int(text)


def quota(number: int) -> int:
    """Return a quota; Invalid unless it is 0 to 1,000,000."""
    if not 0 <= number <= MAX_QUOTA:
        raise errors.Invalid(what=f"{number} is no quota: give a whole number from 0 to {MAX_QUOTA}")
    return number


def size(number: int) -> int:
    """Return a virtual size (bytes) rounded up to 512; Invalid when it is not positive or beyond qcow2's limit."""
    if not isinstance(number, int) or not 0 < number <= MAX_SIZE:
        raise errors.Invalid(what=f"size {number!r} is out of range: give 1 byte to {units.format_size(MAX_SIZE)}")
    return units.round_up(number)


def _text(what: str, text: str) -> str:
    """Return text; Invalid when it has control characters but line breaks and tabs, or can't stand in UTF-8."""
    if _UNFIT.search(text):
        raise errors.Invalid(what=f"the {what} has control characters or broken UTF-8: {text[:64]!r}")
    return text
