"""See that an image that a tool has written to is sound, and put right what a tool that was cut off left in it."""

from pathlib import Path

from snapengine import chain, driver, durable, errors, tables


def require_consistent(path: Path) -> driver.Check:
    """
    Return what is to be found in the tables of an image: leaks at most, which harm nothing.

    Raises Corrupt where the tables contradict each other: a cluster that is used twice, or counts as free. Whatever a
    tool writes to such an image, leaks that it gives back too, may land in what something else uses.
    """
    found = driver.check(path)
    if found.corruptions or found.check_errors:
        faults = f"qemu-img check found {found.corruptions} corruptions and {found.check_errors} errors"
        what = f"the tables of {path} contradict each other: {faults}"
        raise errors.Corrupt(what=f"{what}; nothing was changed: restore the image from a backup, or revert")
    return found


def check(path: Path) -> None:
    """
    Sync an image that a tool has written to, and see that it is sound, whatever the tool said; give back its leaks.

    Raises Corrupt for one that is not.
    """
    found = driver.check(path)
    if found.leaks and not (found.corruptions or found.check_errors):
        driver.repair(path)
        found = driver.check(path)  # a repair can exit 0 although its writes failed
    if found != driver.Check():
        raise errors.Corrupt(what=f"a tool left {path} damaged")
    durable.sync_file(path)


def recount(path: Path) -> None:
    """
    Count the clusters of an image anew where a tool that was cut off while it wrote has left counts that are too low.

    On a disk that is full a tool may have written that a cluster is used, but not that it is not free, as it ended.
    Whoever writes next would take that cluster once more, and what a guest wrote with it. Raises Corrupt where that
    does not help. May be cut off and done again.
    """
    if driver.check(path).corruptions:
        driver.repair(path, "all")
        require_consistent(path)


def mend(path: Path, bitmaps: tuple[str, ...]) -> tuple[str, ...]:
    """
    Do as check does for an image that had these dirty bitmaps before a tool opened it for writing.

    Returns those that it has no longer: a tool that is killed leaves them marked as in use, which nobody can read, and
    what is left of them is removed. May be cut off and done again.
    """
    left = chain.bitmaps(path) if bitmaps else ()
    for bitmap in left:
        if bitmap.in_use and bitmap.name in bitmaps:
            driver.remove_bitmap(path, bitmap.name)
    check(path)
    sound = {bitmap.name for bitmap in left if not bitmap.in_use}
    return tuple(name for name in bitmaps if name not in sound)


def inconsistent(fd: int, layer: chain.Layer) -> tuple[str, ...]:
    """Return the names of the dirty bitmaps of an open image that a QEMU which was killed left marked as in use."""
    found = tables.kept_bitmaps(fd, layer.header, path=layer.path)
    return tuple(bitmap.name for bitmap in found if bitmap.in_use)
