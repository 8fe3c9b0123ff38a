"""What is known about the memory of a node."""

from __future__ import annotations

import re
from pathlib import Path

_COUNTERS = Path("/proc/vmstat")
_KILLS = re.compile(rb"^oom_kill (\d+)$", re.MULTILINE)


def count_memory_kills() -> int | None:
    """Return how many processes the kernel has ended for lack of memory since the machine started.

    This includes processes that exceeded the limit of their container or job. A process that was
    ended cannot report it, and Ray reports its end in the same words as that of a process that
    crashed, but the other processes of the machine can see that the number has grown. Returns None
    if the kernel does not count.
    """
    try:
        found = _KILLS.search(_COUNTERS.read_bytes())
    except OSError:
        return None
    return int(found[1]) if found else None
