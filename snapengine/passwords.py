"""
Passwords as accounts.json keeps them: salted scrypt over the SHA-512 that clients send (contract, section 2).

Pure but for the salt, which the operating system gives.
"""

import hashlib
import hmac
import os
import re

from snapengine import errors

LENGTHS = range(8, 256)  # characters
_COST, _BLOCK, _LANES = 2**14, 8, 1  # 16 MiB and some 50 ms for each attempt
_MEMORY = 2**26
_DIGEST = re.compile(r"[0-9a-f]{128}", re.ASCII)


def digest(password: str) -> str:
    """Return what a client sends of a password: the hex of its SHA-512. Invalid for one too short or too long."""
    if len(password) not in LENGTHS:
        raise errors.Invalid(what=f"a password has 8 to 255 characters, this one has {len(password)}")
    try:
        return hashlib.sha512(password.encode()).hexdigest()
    except UnicodeEncodeError as e:
        raise errors.Invalid(what="the password is not valid UTF-8; give another one") from e


def hashed(sent: str) -> str:
    """Return what to keep of a password whose digest is sent: `scrypt$<salt>$<key>`, both in hex."""
    salt = os.urandom(16)
    return f"scrypt${salt.hex()}${_key(sent, salt).hex()}"


def matches(sent: str, kept: str | None) -> bool:
    """
    Tell whether the digest sent is that of the password kept; takes as long for a wrong one, or where none is kept.

    What is no digest at all, or kept in another form, matches nothing.
    """
    form, _, rest = (kept or "").partition("$")
    salt, _, key = rest.partition("$")
    known = form == "scrypt" and re.fullmatch(r"[0-9a-f]{32}", salt, re.ASCII) is not None
    found = _key(sent[:1024], bytes.fromhex(salt) if known else bytes(16)).hex()
    return hmac.compare_digest(found.encode(), key.encode()) and known and _DIGEST.fullmatch(sent) is not None


def _key(sent: str, salt: bytes) -> bytes:
    text = sent.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=_COST, r=_BLOCK, p=_LANES, maxmem=_MEMORY)
