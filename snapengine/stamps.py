"""
What tells that a file or directory was not touched since it was read, so that what was read of it may be remembered.

Times move in ticks: what is touched twice within one looks the same both times. So nothing is remembered of what was
touched a moment ago, or, as its times say after the clock was put back, will be.
"""

import os
import time

MOMENT = 100_000_000  # nanoseconds, ten times the coarsest tick of a file system's clock that is worth it

Stamp = tuple[int, int, int, int, int]


def of(status: os.stat_result) -> Stamp:
    """
    Return the stamp: device, inode, when it was written to and when changed (nanoseconds), bytes.

    Its owner can set back the time when it was written to, but not when it was changed.
    """
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size


def is_settled(stamp: Stamp) -> bool:
    """Tell whether a later touch would be seen in the stamp: the last one is longer ago than a moment."""
    return time.time_ns() - max(stamp[2:4]) > MOMENT
