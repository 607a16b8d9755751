"""What waits to be sent: calls in the order in which they were made, joined and cut as messages need it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from taskyard.futures import Key
from taskyard.options import Options
from taskyard.series import NOT_NUMBERED, TaskSeries

LONGEST = 1000
"""Calls in a parcel that more may join."""


class Parcel(NamedTuple):
    """Calls with consecutive numbers and the same options; one call only, if it has a key."""

    options: Options
    key: Key
    """Of the first."""
    payloads: list[bytes]

    def all_keys(self) -> Iterable[Key]:
        """Of all its calls."""
        return [self.key] if isinstance(self.key, str) else range(self.key, self.key + len(self.payloads))

    def follows(self) -> Key:
        """The number of the call that may join them; none may where there is a key, or enough of them."""
        return NOT_NUMBERED if isinstance(self.key, str) or len(self.payloads) >= LONGEST else self.key + len(self.payloads)

    def part(self, begin: int, end: int) -> Parcel:
        """Its calls from index ``begin`` up to ``end``."""
        if begin == 0 and end >= len(self.payloads):
            return self
        assert isinstance(self.key, int)
        return Parcel(self.options, self.key + begin, self.payloads[begin:end])


def count(parcels: Iterable[Parcel]) -> int:
    """How many calls they have."""
    return sum(len(parcel.payloads) for parcel in parcels)


class Outbox(deque[Parcel]):
    """Parcels in the order in which their calls were made."""

    def post(self, options: Options, key: Key, payloads: list[bytes]) -> None:
        """Add calls: to the last parcel where they go on with it, so that nothing is made for each of them."""
        last = self[-1] if self else None
        if last is not None and last.options is options and isinstance(key, int) and last.follows() == key:
            last.payloads.extend(payloads)
        else:
            self.append(Parcel(options, key, payloads))

    def take(self, most: int) -> list[Parcel]:
        """Take out the first calls, so many at most."""
        taken: list[Parcel] = []
        while self and most > 0:
            parcel = self.popleft()
            size = len(parcel.payloads)
            if size > most:
                self.appendleft(parcel.part(most, size))
                parcel = parcel.part(0, most)
            taken.append(parcel)
            most -= size
        return taken


def without(parcel: Parcel, is_wanted: Iterable[bool]) -> list[Parcel]:
    """A parcel's calls that are wanted, in as many parcels as that takes; ``is_wanted``: one word for each call."""
    if isinstance(parcel.key, str):
        return [parcel] if all(is_wanted) else []
    parts: list[Parcel] = []
    begin = 0
    for index, wanted in enumerate(is_wanted):
        if not wanted:
            parts.append(parcel.part(begin, index))
            begin = index + 1
    parts.append(parcel.part(begin, len(parcel.payloads)))
    return [part for part in parts if part.payloads]


def to_series(parcels: Iterable[Parcel], job: str, prefix: str) -> list[TaskSeries]:
    """As they are submitted now."""
    series: list[TaskSeries] = []
    for options, key, payloads in parcels:
        numbered = (key, NOT_NUMBERED) if isinstance(key, str) else (prefix, key)
        task = options.task("", job, b"")
        series.append(TaskSeries._make((*numbered, job, task.name, payloads, *task[4:])))
    return series
