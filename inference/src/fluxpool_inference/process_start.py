"""When this process was started, by the kernel's word: before the first line of Python ran."""

import os
import time
from pathlib import Path

_STARTED_AFTER_COMMAND = 19
"""Place of `starttime` in /proc/PID/stat, counted from what follows the command; see proc(5)."""


def started_at() -> float:
    """The moment, as `time.monotonic()` tells moments, to a hundredth of a second."""
    fields = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
    since_boot = int(fields[_STARTED_AFTER_COMMAND]) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot)
