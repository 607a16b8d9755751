"""How many workers are wanted: a function of the load, and a governor that goes up at once and down after a quiet time."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from math import ceil
from typing import NamedTuple


class Policy(NamedTuple):
    """What the user wants."""

    least: int = 1
    most: int = 20
    within: float = 10.0
    """Seconds in which what waits should be worked off."""
    quiet: float = 30.0
    """Seconds for which fewer workers must have been enough before some are taken away."""


class Load(NamedTuple):
    """What there is to do, and what does it."""

    tasks: int
    """That may run now: ready or leased, but for those of workers that drain."""
    seconds: float
    """One of them takes; 0: not known."""
    busy: float = 0.0
    """Slots that worked of late, on average."""
    slots: int = 1
    """Of each worker."""
    elsewhere: int = 0
    """Slots of workers that are not ours to take away: on other hosts, for instance."""


def wanted(load: Load, policy: Policy) -> int:
    """Workers that this load wants: enough to work off what waits ``within`` the time, and as many as are busy anyway.

    Never more slots than tasks for the former; one, at least, while anything is to be done.
    """
    to_catch_up = min(load.tasks, max(1, ceil(load.tasks * load.seconds / policy.within)))
    to_keep_up = ceil(load.busy)
    workers = ceil((max(to_catch_up, to_keep_up) - load.elsewhere) / load.slots)
    return min(max(workers, policy.least), policy.most)


class Governor:
    """Follows what is wanted: up at once, down to the most that was wanted within the last ``quiet`` seconds.

    Moments are seconds of any clock that only goes forwards.
    """

    def __init__(self, policy: Policy, workers: int, now: float) -> None:
        self._policy = policy
        self._wanted: deque[tuple[float, int]] = deque([(now, workers)])  # as if what there is were wanted now
        self._begun = now

    def decide(self, load: Load, now: float) -> int:
        """How many workers there should be. Until ``quiet`` seconds have passed since the start, none is taken away."""
        self._wanted.append((now, wanted(load, self._policy)))
        while self._wanted[0][0] <= now - self._policy.quiet and len(self._wanted) > 1:
            self._wanted.popleft()
        most = max(workers for _, workers in self._wanted)
        return min(max(most, self._policy.least), self._policy.most)


class Meter:
    """How long tasks take, and how many slots work: means over the last seconds, so that one look's chance decides nothing."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._ended: deque[tuple[float, int, float]] = deque()
        self._busy: deque[tuple[float, int]] = deque()
        self._last = 0.0

    def learn(self, now: float, ended: int, run_seconds: float, busy: int) -> None:
        """Take a look's counters: attempts that have ended since the master's start, the time that they took, and busy slots."""
        if self._ended and ended < self._ended[-1][1]:
            self._ended.clear()  # another master, which has begun to count anew
        if not self._ended and ended:
            self._last = run_seconds / ended
        self._ended.append((now, ended, run_seconds))
        self._busy.append((now, busy))
        while self._ended[0][0] < now - self._window:
            self._ended.popleft()
        while self._busy[0][0] < now - self._window:
            self._busy.popleft()

    @property
    def busy(self) -> float:
        """Slots that worked, on average."""
        return sum(busy for _, busy in self._busy) / max(1, len(self._busy))

    def seconds(self, ages: Sequence[float]) -> float:
        """How long a task takes: as those that ended of late; where none did, as those that ended last, but at least as long as
        those that run now have run already, on average (``ages``). 0: nobody knows."""
        (_, before, run_before), (_, ended, run_seconds) = self._ended[0], self._ended[-1]
        if ended > before:
            self._last = (run_seconds - run_before) / (ended - before)
            return self._last
        return max(self._last, sum(ages) / max(1, len(ages)))
