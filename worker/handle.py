"""One slot as the supervisor sees it: its process, its chunk, and what has come back of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from time import monotonic, monotonic_ns
from typing import Any

from taskyard.model import Lease
from worker import slot
from worker.reports import Word

SETTLE_SECONDS = 0.01
"""After this long both processes see the same shared memory, whatever the processors' store buffers held."""
CANCEL_SECONDS = 5.0
"""What a cancelled task that asks whether it is has to tidy up."""

_context = multiprocessing.get_context("spawn")


class Slot:
    """A slot process and the chunk that it was given. `start` makes it; `wait_on` tells what to watch."""

    def __init__(self, app: str) -> None:
        self._shared: Any = _context.RawArray("q", slot.AT_FIRST)
        self.conn, child = _context.Pipe()
        self.process = _context.Process(target=slot.main, args=(child, self._shared, app), name="slot", daemon=True)
        self.process.start()
        child.close()
        self.ready = False
        self.killed_for = 0.0
        """The time limit in s for which it was killed."""
        self.stopped = False
        """Whether it was killed on purpose, so that nobody is to blame."""
        self._chunk: list[Lease] = []
        self._open: set[int] = set()  # indexes of which nothing was heard and which were not given back
        self._retracting_since = 0.0
        self._cancelled: tuple[int, float] | None = None  # index of a task that is tidying up, and until when it may
        self._word: tuple[int, Word] | None = None

    # Work

    @property
    def idle(self) -> bool:
        """Whether it can be given a chunk."""
        return self.ready and not self._chunk

    @property
    def busy(self) -> bool:
        """Whether it has a chunk."""
        return bool(self._chunk)

    def give(self, chunk: list[Lease]) -> None:
        """Hand a chunk to an idle slot; raises OSError when it has died."""
        self._chunk, self._open = chunk, set(range(len(chunk)))
        self._shared[:] = slot.AT_FIRST
        self._retracting_since = 0.0
        self._cancelled = self._word = None
        self.conn.send([(lease.id, lease.name, lease.attempt, lease.payload) for lease in chunk])

    def reported(self, index: int) -> Lease | None:
        """A result has come; returns its lease, None if that was given back or cancelled meanwhile."""
        if index not in self._open:
            return None
        self._open.discard(index)
        if self._cancelled is not None and self._cancelled[0] == index:
            self._cancelled = None
            return None
        return self._chunk[index]

    def told(self, index: int, word: Word) -> None:
        """A task has told how far it is."""
        self._word = (index, word)

    def progress(self) -> tuple[str, Word] | None:
        """Id of the task that runs, and the newest of what it has told."""
        if self._word is None or self._word[0] not in self._open:
            return None
        return self._chunk[self._word[0]].id, self._word[1]

    def end_chunk(self) -> list[Lease]:
        """The chunk is over; returns what of it was not run."""
        left = [self._chunk[index] for index in sorted(self._open)]
        self._chunk, self._open = [], set()
        return left

    def running(self) -> tuple[Lease, float] | None:
        """What runs now, and for how many seconds; None between tasks."""
        index = self._shared[slot.RUNNING]
        if index not in self._open:
            return None
        return self._chunk[index], (monotonic_ns() - self._shared[slot.STARTED]) / 1e9

    def has_waiting(self) -> bool:
        """Whether its chunk holds something that has not begun."""
        return len(self._open) > 1 and not self._retracting_since

    def holding(self) -> int:
        """How many tasks of its chunk have no end yet."""
        return len(self._open)

    @property
    def watched(self) -> bool:
        """Whether something of its chunk must end by some time."""
        return self.retracting or self._cancelled is not None or any(self._chunk[index].time_limit for index in self._open)

    def held(self) -> Iterator[str]:
        """Ids of the tasks that it holds."""
        return (self._chunk[index].id for index in self._open)

    def adopt(self, lease: Lease) -> None:
        """A task that it holds was leased to this worker anew: from now on the new lease counts."""
        for index in self._open:
            if self._chunk[index].id == lease.id:
                self._chunk[index] = lease

    # Taking work away

    def cancel(self, task_id: str) -> Lease | None:
        """Stop a task if it is here; returns it if it runs. One that asks whether it is cancelled has `CANCEL_SECONDS`."""
        index = next((index for index in self._open if self._chunk[index].id == task_id), None)
        if index is None:
            return None
        if self._shared[slot.RUNNING] != index:
            self.retract()
            return None
        if self._shared[slot.ASKED] != index:
            self.kill()
        elif self._cancelled is None:
            self._shared[slot.CANCELLED] = index
            self._cancelled = (index, monotonic() + CANCEL_SECONDS)
        return self._chunk[index]

    def watch(self) -> None:
        """End its process if the time of what runs is over."""
        running = self.running()
        if running is not None and 0 < running[0].time_limit < running[1]:
            self.kill(running[0].time_limit)
        elif self._cancelled is not None and monotonic() > self._cancelled[1]:
            self.kill()

    def retract(self) -> None:
        """Let it begin nothing more of its chunk; `retracted` tells what that was."""
        if self._chunk and not self._retracting_since:
            self._shared[slot.LIMIT] = 0
            self._retracting_since = monotonic()

    def retracted(self) -> list[Lease]:
        """Of a retracted chunk, what will never begin; empty until that is certain."""
        if not self._retracting_since or monotonic() - self._retracting_since < SETTLE_SECONDS:
            return []
        running = self._shared[slot.RUNNING]
        sure = sorted(index for index in self._open if index > running >= 0)
        self._open.difference_update(sure)
        return [self._chunk[index] for index in sure]

    @property
    def retracting(self) -> bool:
        """Whether `retracted` will have something to tell."""
        return bool(self._retracting_since) and len(self._open) > 1

    def kill(self, time_limit: float = 0.0) -> None:
        """End the process at once: for the time limit that its task overran, or for no fault of the task."""
        if not self.killed_for and not self.stopped:
            self.killed_for, self.stopped = time_limit, not time_limit
            self.process.kill()

    def close(self) -> None:
        """Let an idle slot end by itself, any other at once; returns when it has."""
        self.conn.close()
        if self._chunk or not self.ready:
            self.process.kill()
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
