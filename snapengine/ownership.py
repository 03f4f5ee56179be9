"""Whose files are: what a new image gets, as a setting says, and which directories nobody else may change."""

import grp
import os
import pwd
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from snapengine import errors

DEFAULT = "default"  # the setting that leaves a new image to whoever makes it, and to the umask
_MODE = re.compile(r"0?[0-7]{3}")
_MAY_NOT, _MUST = 0o113, 0o600  # bits of an image's mode: nobody runs it, not everybody writes to it; its owner does


def owner(text: str) -> str:
    """Return the setting text, USER:GROUP or DEFAULT, as it is kept; Invalid for names or numbers that nobody has."""
    if text == DEFAULT:
        return text
    user, colon, group = text.partition(":")
    if not (user and colon and group):
        raise errors.Invalid(what=f"{text[:80]!r} is no owner: give USER:GROUP, say libvirt-qemu:kvm, or {DEFAULT}")
    try:
        ids(text)
    except errors.Denied as e:
        raise errors.Invalid(what=e.what) from e
    return text


def mode(text: str) -> str:
    """Return the setting text, an octal mode or DEFAULT, as it is kept: 0640; Invalid for what no image may have."""
    if text == DEFAULT:
        return text
    if _MODE.fullmatch(text) is None:
        raise errors.Invalid(what=f"{text[:80]!r} is no mode: give three octal digits, say 0640, or {DEFAULT}")
    number = int(text, 8)
    if number & _MAY_NOT or number & _MUST != _MUST:
        what = f"an image can't have the mode {number:04o}: its owner reads and writes, nobody runs it"
        raise errors.Invalid(what=f"{what}, not everybody writes to it; give 0640, say")
    return f"{number:04o}"


def ids(text: str) -> tuple[int, int]:
    """Return the numbers of USER:GROUP, names or numbers; Denied where this host has no such user or group."""
    user, _, group = text.partition(":")
    try:
        return (
            int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid,
            int(group) if group.isdecimal() else grp.getgrnam(group).gr_gid,
        )
    except (KeyError, ValueError) as e:
        what = f"this host has no user or group of '{text}'; make them, or set 'snapengine config owner'"
        raise errors.Denied(what=what) from e


def require_own(path: Path) -> None:
    """
    Raise Denied where the directory at path is a link to elsewhere, or somebody else could plant files in it.

    It must belong to root or to this user, and not everybody may write to it, sticky or not. FileNotFoundError passes.
    """
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        raise errors.Denied(what=f"{path} is a symbolic link; a store's directories must be real ones")
    if status.st_mode & stat.S_IWOTH:
        raise errors.Denied(what=f"{path} can be written by everybody; mend it with 'chmod o-w {path}'")
    if status.st_uid not in (0, os.geteuid()):
        what = f"{path} belongs to another user, {_name(status.st_uid)}; run as that user, or mend it with 'chown'"
        raise errors.Denied(what=what)


def require_no_links(parts: Iterable[Path]) -> None:
    """Raise Denied where a directory of an account or a volume in these parts of a store is a link to elsewhere."""
    for part in parts:
        with suppress(FileNotFoundError):
            accounts = [part / name for name in os.listdir(part)]
            for path in (*accounts, *(path / name for path in accounts if path.is_dir() for name in os.listdir(path))):
                if path.is_symlink():
                    raise errors.Denied(what=f"{path} is a symbolic link; a store's directories must be real ones")


def unplanted(file: Path) -> Path:
    """Return file; Denied for a link that another user put where everybody may: the kernel's rule for opening one."""
    with suppress(FileNotFoundError, NotADirectoryError):
        link, directory = os.lstat(file), os.stat(file.parent)
        shared = directory.st_mode & stat.S_ISVTX and directory.st_mode & stat.S_IWOTH
        if stat.S_ISLNK(link.st_mode) and shared and link.st_uid not in (os.geteuid(), directory.st_uid):
            what = f"{file} is another user's link in a directory that everybody may write to; give another path"
            raise errors.Denied(what=what)
    return file


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)
