"""How much to lease ahead: by time, not by count. Many short tasks a call, a long one alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence

from taskyard.model import Lease

AHEAD_SECONDS = 0.1
"""Work for each slot that this worker holds, about, counting what the slot runs."""
CHUNK_SECONDS = 0.02
"""Work that goes to a slot in one message, about."""
CHUNK_TASKS = 2000
STALE_SECONDS = 0.25
"""What has waited so long behind a task that turned out long is given back for others."""
WEIGHT = 0.3
"""Of the newest batch in the moving mean."""


class Pace:
    """Measured durations, by the task's name and over all."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._means: dict[str, float] = {}
        self._mean: float | None = None

    def learn(self, name: str, seconds: Sequence[float]) -> None:
        """Take the durations of some tasks of a name."""
        mean = sum(seconds) / len(seconds)
        self._means[name] = _moved(self._means.get(name), mean)
        self._mean = _moved(self._mean, mean)

    def is_long(self, name: str, seconds: float) -> None:
        """A running task has taken so long already."""
        self._means[name] = max(seconds, self._means.get(name, 0.0))
        self._mean = max(seconds, self._mean or 0.0)

    def to_hold(self) -> int:
        """How many tasks this worker should hold: at least one a slot, one while nothing is known."""
        if self._mean is None:
            return self._slots
        return max(self._slots, min(int(self._slots * AHEAD_SECONDS / max(self._mean, 1e-6)), 2 * self._slots * CHUNK_TASKS))

    def room(self, held: int) -> int:
        """How many more to lease when it holds so many; 0 for a few very short ones, which are not worth a round trip."""
        room = self.to_hold() - held
        return room if room * 4 >= self.to_hold() else 0

    def chunk(self, waiting: Collection[Lease], idle_slots: int) -> int:
        """How many of the waiting tasks the next of so many idle slots should get."""
        most = min(math.ceil(len(waiting) / max(1, idle_slots)), CHUNK_TASKS)
        expected = 0.0
        for count, lease in enumerate(itertools.islice(waiting, most)):
            expected += self._means.get(lease.name, CHUNK_SECONDS)
            if expected >= CHUNK_SECONDS:
                return count + 1
        return most


def _moved(mean: float | None, newest: float) -> float:
    return newest if mean is None else mean + WEIGHT * (newest - mean)
