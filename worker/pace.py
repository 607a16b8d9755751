"""How much to lease ahead: by time, not by count. Many short tasks a call, a long one alone."""

from __future__ import annotations

import math
from collections.abc import Iterable

from taskyard.series import LeaseSeries

AHEAD_SECONDS = 0.1
"""Work for each slot that this worker holds, about, beside what the slot runs."""
CHUNK_SECONDS = 0.02
"""Work that goes to a slot in one message, about."""
CHUNK_TASKS = 2000
TOO_MUCH_SECONDS = 1.0
"""Of what turns out to be more work than this for each slot, all but `AHEAD_SECONDS` is given back."""
STALE_SECONDS = 0.25
"""What has waited so long behind a task that turned out long is given back for others. So often a worker looks whether it holds
too much."""
WEIGHT = 0.3
"""Of the newest tasks in the moving mean."""


class Pace:
    """Measured durations, by the task's name and over all."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._means: dict[str, float] = {}
        self._mean: float | None = None

    def learn(self, name: str, seconds: float) -> None:
        """Take the mean duration of some tasks of a name."""
        self._means[name] = _moved(self._means.get(name), seconds)
        self._mean = _moved(self._mean, seconds)

    def is_long(self, name: str, seconds: float) -> None:
        """A running task has taken so long already."""
        self._means[name] = max(seconds, self._means.get(name, 0.0))
        self._mean = max(seconds, self._mean or 0.0)

    def to_hold(self) -> int:
        """How many tasks this worker should hold: at least one a slot, one while nothing is known."""
        if self._mean is None:
            return self._slots
        return self._slots + min(int(self._slots * AHEAD_SECONDS / max(self._mean, 1e-6)), 2 * self._slots * CHUNK_TASKS)

    def room(self, held: int) -> int:
        """How many more to lease when it holds so many; 0 while all slots have work and the rest is not worth a round trip."""
        room = self.to_hold() - held
        return room if room * 4 >= self.to_hold() or held < self._slots else 0

    def too_many(self, waiting: Iterable[LeaseSeries], tasks: int, slots: int, rate: float) -> int:
        """How many of the last of so many tasks, which wait for so many slots, are more than they should have: mostly none.

        ``rate``: tasks that have ended in each second of late, for each slot. One task that took long moves a mean, but not that.
        """
        if tasks <= slots * TOO_MUCH_SECONDS * rate:
            return 0
        keep, seconds, ahead = 0, 0.0, slots * AHEAD_SECONDS
        for lease in waiting:
            mean = self._means.get(lease.name, 0.0)  # of a name that is not known yet the first one will tell
            if seconds < ahead:
                keep += min(math.ceil((ahead - seconds) / max(mean, 1e-6)), len(lease.payloads))
            seconds += len(lease.payloads) * mean
        return max(0, tasks - max(keep, slots)) if seconds > slots * TOO_MUCH_SECONDS else 0

    def chunk(self, waiting: Iterable[LeaseSeries], tasks: int, idle_slots: int) -> int:
        """How many of so many waiting tasks the next of so many idle slots should get."""
        most = min(math.ceil(tasks / max(1, idle_slots)), CHUNK_TASKS)
        count, seconds = 0, CHUNK_SECONDS
        for lease in waiting:
            mean = max(self._means.get(lease.name, CHUNK_SECONDS), CHUNK_SECONDS / CHUNK_TASKS)
            fit = min(math.ceil(seconds / mean), len(lease.payloads))
            count += fit
            seconds -= fit * mean
            if seconds <= 0 or count >= most:
                break
        return min(count, most)


def _moved(mean: float | None, newest: float) -> float:
    return newest if mean is None else mean + WEIGHT * (newest - mean)
