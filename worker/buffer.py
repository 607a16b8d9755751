"""Leases that wait for a slot."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from taskyard.model import Lease


class Buffer(deque[Lease]):
    """Leases in the order in which they are to be run.

    When a connection ends, the master gives out anew what was leased on it: what waits here is worthless then. So leases
    arrive with the generation of their connection (see `taskyard.transport.RemoteQueue.generation`).
    """

    def __init__(self) -> None:
        super().__init__()
        self._arrived: deque[tuple[int, list[Lease]]] = deque()
        self._generation = 0

    def arrive(self, generation: int, leases: list[Lease]) -> None:
        """Take what was leased, for `arrived`; from any thread."""
        self._arrived.append((generation, leases))

    def arrived(self, generation: int) -> Iterator[Lease]:
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

    def drop(self, task_id: str) -> None:
        """Forget a task that was cancelled."""
        kept = [lease for lease in self if lease.id != task_id]
        self.clear()
        self.extend(kept)

    def _drop_older_than(self, generation: int) -> None:
        if generation > self._generation:
            self._generation = generation
            self.clear()
