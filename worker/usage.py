"""What this worker's processes take of the machine: its own, its slots', and whatever tasks have started.

Read from Linux's /proc; elsewhere nothing is known, and 0 is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import NamedTuple

PROC = Path("/proc")
SHORTEST = 0.4
"""Seconds between two looks, at least: the system counts in hundredths."""


class Usage(NamedTuple):
    """Of all processes together."""

    cpu: float = 0.0
    """Processors used since the last look."""
    memory: int = 0
    """Bytes resident; what processes share counts for each."""


class Meter:
    """Looks at a process and all that descend from it."""

    def __init__(self, pid: int | None = None, proc: Path = PROC, now: Callable[[], float] = monotonic) -> None:
        self._root = pid or os.getpid()
        self._proc = proc
        self._now = now
        self._ticks: dict[int, int] = {}
        """Of each process, as last looked at."""
        self._looked = now()
        self._last = Usage(memory=self._read())

    def look(self) -> Usage:
        """What they take now; within `SHORTEST` of the last look, what was told then."""
        now = self._now()
        seconds = now - self._looked
        if seconds >= SHORTEST:
            before, self._looked = self._ticks, now
            memory = self._read()
            ticks = sum(many - before.get(pid, 0) for pid, many in self._ticks.items())
            self._last = Usage(round(max(0.0, ticks / os.sysconf("SC_CLK_TCK") / seconds), 3), memory)
        return self._last

    def _read(self) -> int:
        """Note each process's time; returns their memory."""
        self._ticks, pages = {}, 0
        for pid in self._family(self._root):
            folder = self._proc / str(pid)
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()  # the name before may hold anything
                self._ticks[pid] = int(fields[11]) + int(fields[12])
                pages += int((folder / "statm").read_text().split()[1])
            except (OSError, ValueError, IndexError):  # it has just ended
                continue
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _family(self, pid: int) -> Iterator[int]:
        yield pid
        try:
            for children in (self._proc / str(pid) / "task").glob("*/children"):
                for child in children.read_text().split():
                    yield from self._family(int(child))
        except (OSError, ValueError):
            return
