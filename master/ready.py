"""What comes next: the head of a backlog in memory, its tail on the disk.

Leasing needs no query while a window has entries, and memory stays bounded however long the backlog grows.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, NamedTuple, Self, TypeVar

WINDOW = 8192
"""Tasks kept after a spill, and read at a refill; up to twice as many are in memory, and one series more."""


class Entry(NamedTuple):
    """What leasing needs to know of a ready task, or of consecutive ones of a series. Entries sort in the order in which they
    are to be leased."""

    rank: int
    """Their priority, negated."""
    seq: int
    """Age of the first; unique."""
    prefix: str
    number: int
    """Of the first: with the prefix its id (see `taskyard.series`)."""
    job: str
    name: str
    payloads: list[bytes] | None
    """None: one that is too big to keep in memory, read when it is leased."""
    time_limit: float
    attempts: int
    begin_by: float = inf
    """Epoch seconds until which the first attempt must begin."""
    series: int = 0
    """Seq of the series in which they are kept; 0: a row of its own."""
    many: int = 1
    since: float = 0.0
    """Epoch seconds at which they became ready; 0: a release that did not keep it took them."""

    def part(self, begin: int, end: int) -> Self:
        """Those from index ``begin`` up to ``end``."""
        if begin == 0 and end == self.many:
            return self
        payloads = self.payloads[begin:end] if self.payloads is not None else None
        return self._replace(seq=self.seq + begin, number=self.number + begin, payloads=payloads, many=end - begin)


class Item(NamedTuple):
    """What a foreign program put into one of the tutorial's queues."""

    rank: int
    seq: int
    value: bytes

    @property
    def many(self) -> int:
        """One, always; see `Entry.many`."""
        return 1

    def part(self, begin: int, end: int) -> Self:
        """Itself; see `Entry.part`."""
        return self


Key = tuple[int, int]
"""Rank and seq: the first two fields of what a window holds."""
START: Key = (-(2**62), 0)
E = TypeVar("E", Entry, Item)
Fetch = Callable[[Key, int], tuple[list[E], Key | None]]


class ReadyWindow(Generic[E]):
    """Entries in order of rank and seq.

    Those up to ``frontier`` are in memory, those behind it only on the disk, from where ``fetch(after, limit)`` brings
    the next ones, with the new frontier: None once nothing is left behind it. ``nothing_there``: so it is now.
    """

    def __init__(self, fetch: Fetch[E], window: int = WINDOW, nothing_there: bool = False) -> None:
        self._fetch: Fetch[E] = fetch
        self._window = window
        self._heap: list[E] = []
        self._members: dict[int, E] = {}  # by seq; an entry of the heap that is not among them has been removed
        self._wide: dict[int, E] = {}  # of those, the ones of several tasks
        self._tasks = 0
        self._frontier: Key | None = None if nothing_there else START

    def push(self, entry: E) -> None:
        """Add what has become ready; it stands on the disk already."""
        if self._frontier is not None and entry[:2] > self._frontier:
            return  # it will come with its neighbours
        self._add(entry)
        if self._tasks > 2 * self._window:
            self._spill()

    def remove(self, seq: int) -> None:
        """Forget a task that is not ready any more."""
        entry = self._members.get(seq) or next((one for one in self._wide.values() if one.seq < seq < one.seq + one.many), None)
        if entry is None:
            return
        self._forget(entry)
        index = seq - entry.seq
        for begin, end in ((0, index), (index + 1, entry.many)):
            if begin < end:
                self._add(entry.part(begin, end))

    def first(self) -> E | None:
        """The entry that is next, left where it is; None when there is none, on the disk neither."""
        while True:
            while self._heap:
                first = self._heap[0]
                if self._members.get(first[1]) is first:
                    return first
                heappop(self._heap)
            if self._frontier is None:
                return None
            entries, self._frontier = self._fetch(self._frontier, self._window)
            self._hold(entries)
            heapify(self._heap)

    def pop(self, most: int = 1) -> E:
        """Take out what `first` has just returned, or of many tasks the first ``most``."""
        entry = heappop(self._heap)
        self._forget(entry)
        if entry.many > most:
            self._add(entry.part(most, entry.many))
            return entry.part(0, most)
        return entry

    def _add(self, entry: E) -> None:
        heappush(self._heap, entry)
        self._note(entry)

    def _note(self, entry: E) -> None:
        self._members[entry[1]] = entry
        self._tasks += entry.many
        if entry.many > 1:
            self._wide[entry[1]] = entry

    def _forget(self, entry: E) -> None:
        del self._members[entry[1]]
        self._wide.pop(entry[1], None)
        self._tasks -= entry.many

    def _hold(self, entries: list[E]) -> None:
        self._heap, self._members, self._wide, self._tasks = entries, {}, {}, 0
        for entry in entries:
            self._note(entry)

    def _spill(self) -> None:
        kept: list[E] = []
        tasks = 0
        for entry in sorted(self._members.values()):
            if tasks >= self._window:
                break
            kept.append(entry)
            tasks += entry.many
        self._frontier = (kept[-1][0], kept[-1][1] + kept[-1].many - 1)
        self._hold(kept)
