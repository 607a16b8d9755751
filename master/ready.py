"""What comes next: the head of a backlog in memory, its tail on the disk.

Leasing needs no query while a window has entries, and memory stays bounded however long the backlog grows.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, NamedTuple, TypeVar

WINDOW = 8192
"""Entries kept after a spill, and read at a refill; up to twice as many are in memory."""


class Entry(NamedTuple):
    """What leasing needs to know of a ready task. Entries sort in the order in which they are to be leased."""

    rank: int
    """Its priority, negated."""
    seq: int
    """Its age; unique."""
    id: str
    job: str
    name: str
    payload: bytes | None
    """None: too big to keep in memory, read when it is leased."""
    time_limit: float
    attempts: int
    begin_by: float = inf
    """Epoch seconds until which the first attempt must begin."""


class Item(NamedTuple):
    """What a foreign program put into one of the tutorial's queues."""

    rank: int
    seq: int
    value: bytes


Key = tuple[int, int]
"""Rank and seq: the first two fields of what a window holds."""
START: Key = (-(2**62), 0)
E = TypeVar("E", Entry, Item)
Fetch = Callable[[Key, int], tuple[list[E], Key | None]]


class ReadyWindow(Generic[E]):
    """Entries in order of rank and seq.

    Those up to ``frontier`` are in memory, those behind it only on the disk, from where ``fetch(after, limit)`` brings
    the next ones, with the new frontier: None once nothing is left behind it.
    """

    def __init__(self, fetch: Fetch[E], window: int = WINDOW) -> None:
        self._fetch: Fetch[E] = fetch
        self._window = window
        self._heap: list[E] = []
        self._members: dict[int, E] = {}  # by seq; an entry of the heap that is not among them has been removed
        self._frontier: Key | None = START

    def push(self, entry: E) -> None:
        """Add what has become ready; it stands on the disk already."""
        if self._frontier is not None and entry[:2] > self._frontier:
            return  # it will come with its neighbours
        heappush(self._heap, entry)
        self._members[entry[1]] = entry
        if len(self._heap) > 2 * self._window:
            self._spill()

    def remove(self, seq: int) -> None:
        """Forget an entry that is not ready any more."""
        self._members.pop(seq, None)

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
            self._heap, self._frontier = self._fetch(self._frontier, self._window)
            self._members = {entry[1]: entry for entry in self._heap}
            heapify(self._heap)

    def pop(self) -> E:
        """Take out what `first` has just returned."""
        entry = heappop(self._heap)
        del self._members[entry[1]]
        return entry

    def _spill(self) -> None:
        self._heap.sort()
        self._frontier = self._heap[self._window - 1][:2]
        del self._heap[self._window :]
        self._members = {entry[1]: entry for entry in self._heap if self._members.get(entry[1]) is entry}
