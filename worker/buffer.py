"""Leases that wait for a slot."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from taskyard.series import LeaseSeries, part, split_id


class Buffer:
    """Leases in the order in which they are to be run; iterating gives them in series.

    When a connection ends, the master gives out anew what was leased on it: what waits here is worthless then. So leases
    arrive with the generation of their connection (see `taskyard.transport.RemoteQueue.generation`).
    """

    def __init__(self) -> None:
        self.tasks = 0
        """How many wait."""
        self._waiting: deque[LeaseSeries] = deque()
        self._arrived: deque[tuple[int, Sequence[LeaseSeries]]] = deque()
        self._generation = 0

    def __iter__(self) -> Iterator[LeaseSeries]:
        return iter(self._waiting)

    def append(self, lease: LeaseSeries) -> None:
        """Let it wait as the last one."""
        self._waiting.append(lease)
        self.tasks += len(lease.payloads)

    def take(self, tasks: int) -> list[LeaseSeries]:
        """The first so many tasks, or all there are."""
        taken: list[LeaseSeries] = []
        tasks = min(tasks, self.tasks)
        self.tasks -= tasks
        while tasks:
            lease = self._waiting.popleft()
            size = len(lease.payloads)
            if size > tasks:
                self._waiting.appendleft(part(lease, tasks, size))
                lease, size = part(lease, 0, tasks), tasks
            taken.append(lease)
            tasks -= size
        return taken

    def take_last(self, tasks: int) -> list[LeaseSeries]:
        """The last so many tasks."""
        first = self.take(self.tasks - tasks)
        last = self.take(self.tasks)
        self.put_back(first)
        return last

    def put_back(self, leases: Sequence[LeaseSeries]) -> None:
        """Let those that were taken be the first again."""
        self._waiting.extendleft(reversed(leases))
        self.tasks += sum(len(lease.payloads) for lease in leases)

    def drop(self, task_id: str) -> None:
        """Forget a task that was cancelled."""
        for lease in self.take(self.tasks):
            index = index_of(task_id, lease)
            if index is None:
                self.append(lease)
                continue
            for begin, end in ((0, index), (index + 1, len(lease.payloads))):
                if begin < end:
                    self.append(part(lease, begin, end))

    def arrive(self, generation: int, leases: Sequence[LeaseSeries]) -> None:
        """Take what was leased, for `arrived`; from any thread."""
        self._arrived.append((generation, leases))

    def arrived(self, generation: int) -> Iterator[LeaseSeries]:
        """What has arrived since the last call; what waits of connections before ``generation`` is dropped."""
        self._drop_older_than(generation)
        while self._arrived:
            theirs, leases = self._arrived.popleft()
            self._drop_older_than(theirs)  # it may be newer than the caller knew
            if theirs == self._generation:
                yield from leases

    @property
    def has_arrived(self) -> bool:
        """Whether `arrived` has something to tell."""
        return bool(self._arrived)

    def _drop_older_than(self, generation: int) -> None:
        if generation > self._generation:
            self._generation = generation
            self._waiting.clear()
            self.tasks = 0


def index_of(task_id: str, lease: LeaseSeries) -> int | None:
    """Where in a series a task stands; None if it is not of it."""
    prefix, number = split_id(task_id)
    index = number - lease.first
    return index if prefix == lease.prefix and 0 <= index < len(lease.payloads) else None
