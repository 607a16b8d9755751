"""What a slot was given, and which of its tasks have no end yet."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from operator import itemgetter

from taskyard.series import LeaseSeries, part
from worker.buffer import index_of

Part = tuple[int, LeaseSeries]
"""Some tasks of a chunk, with the index of the first."""


class Chunk:
    """Leases in the order in which they are run. Tasks are numbered through all of them: that is their index."""

    def __init__(self, leases: Sequence[LeaseSeries] = ()) -> None:
        self._parts: list[Part] = []
        self._spans: dict[str, tuple[int, int]] = {}  # by prefix: between which numbers all its tasks lie
        size = 0
        for lease in leases:
            self._parts.append((size, lease))
            size += len(lease.payloads)
            end = lease.first + len(lease.payloads)
            lowest, highest = self._spans.get(lease.prefix, (lease.first, end))
            self._spans[lease.prefix] = min(lowest, lease.first), max(highest, end)
        self.size = size
        """How many tasks it had at first."""
        self.has_limit = any(lease.time_limit for lease in leases)
        """Whether a time limit must be watched."""
        self._open = bytearray(b"\1") * size  # by index

    def holding(self) -> int:
        """How many tasks have no end yet."""
        return self._open.count(1)

    def open(self, begin: int, end: int) -> Iterator[Part]:
        """Of the tasks from index ``begin`` up to ``end`` those without an end, in as few parts as there can be."""
        if begin < 0:
            return
        for start, lease in self._parts[max(0, self._place(begin)) :]:
            if start >= end:
                return
            stop = min(end, start + len(lease.payloads))
            index = max(begin, start)
            while (index := self._open.find(1, index, stop)) >= 0:
                after = self._open.find(0, index, stop)
                after = stop if after < 0 else after
                yield index, part(lease, index - start, after - start)
                index = after

    def one(self, index: int) -> LeaseSeries | None:
        """The lease of one task; None once that has an end."""
        return next((lease for _, lease in self.open(index, index + 1)), None)

    def end(self, begin: int, end: int) -> list[Part]:
        """As `open`; from now on they have an end."""
        ended = list(self.open(begin, end))
        for index, lease in ended:
            self._open[index : index + len(lease.payloads)] = bytes(len(lease.payloads))
        return ended

    def find(self, task_id: str) -> int:
        """The index of a task without an end; -1 if it is not here."""
        for begin, lease in self.open(0, self.size):
            index = index_of(task_id, lease)
            if index is not None:
                return begin + index
        return -1

    def adopt(self, lease: LeaseSeries) -> list[LeaseSeries]:
        """Let this lease count for those of its tasks that are here and have no end yet; returns the others."""
        lowest, highest = self._spans.get(lease.prefix, (0, 0))
        if lease.first >= highest or lease.first + len(lease.payloads) <= lowest:
            return [lease]
        others, done = [], 0
        mine = [part for part in self.open(0, self.size) if part[1].prefix == lease.prefix]
        for index, old in sorted(mine, key=lambda part: part[1].first):
            begin = max(0, old.first - lease.first)
            end = min(len(lease.payloads), old.first + len(old.payloads) - lease.first)
            if begin < end:
                self._replace(index + lease.first + begin - old.first, part(lease, begin, end))
                others.append((done, begin))
                done = end
        others.append((done, len(lease.payloads)))
        return [part(lease, begin, end) for begin, end in others if begin < end]

    def _replace(self, index: int, lease: LeaseSeries) -> None:
        place = self._place(index)
        start, old = self._parts[place]
        end = index + len(lease.payloads)
        parts = (start, part(old, 0, index - start)), (index, lease), (end, part(old, end - start, len(old.payloads)))
        self._parts[place : place + 1] = [part for part in parts if part[1].payloads]

    def _place(self, index: int) -> int:
        return bisect_right(self._parts, index, key=itemgetter(0)) - 1
