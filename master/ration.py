"""Bounds the memory that reading one message may take.

Ten bytes of a pickle can have the unpickler keep a table of 68 GB (CPython issue 115952), and 64 MiB of them be 14 GB of empty
sets. The system refuses what is over the bound, and reading ends with a MemoryError instead of the master.
"""

from __future__ import annotations

import os
import resource
import threading
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

from taskyard import wire

BYTES, TIMES = 256 * 2**20, 4
"""A message may take so much, and so many times its length: lists of short texts take more than they are long."""
SHARE, LEAST = 0.75, 16 * 2**20
"""Nor may it bring this process over that share of its container's memory, whose end would be its own; but twice its length and a
little more it may take in any case."""
_lock = threading.Lock()
_used = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def load(message: bytes) -> Any:
    """What `taskyard.wire.load` makes of a message. Raises what that raises, and MemoryError."""
    with _lock:
        limits = resource.getrlimit(resource.RLIMIT_DATA)
        words = os.pread(_used, 200, 0).split()
        resident, now = (int(words[place]) * resource.getpagesize() for place in (1, 5))
        room = max(SHARE * memory - resident, LEAST + 2 * len(message))
        most = now + int(min(BYTES + TIMES * len(message), room))
        resource.setrlimit(resource.RLIMIT_DATA, (min((most, *filter(_is_bound, limits))), limits[1]))
        try:
            return wire.load(message)
        finally:
            resource.setrlimit(resource.RLIMIT_DATA, limits)


def _memory_of_container() -> float:
    """Bytes, by the cgroup (v2, v1)."""
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # there is none; "max"
            return float(int(Path(file).read_text()))
    return inf


memory = _memory_of_container()


def _is_bound(limit: int) -> bool:
    return limit != resource.RLIM_INFINITY
