"""One slot as the supervisor sees it: its process, its chunk, and what has come back of it."""

from __future__ import annotations

import multiprocessing
import pickle
from collections.abc import Iterator, Sequence
from time import monotonic, monotonic_ns
from typing import Any

from taskyard.series import LeaseSeries, join_id
from worker import slot
from worker.chunk import Chunk
from worker.reports import Word

SETTLE_SECONDS = 0.01
"""After this long both processes see the same shared memory, whatever the processors' store buffers held."""
CANCEL_SECONDS = 5.0
"""What a cancelled task that asks whether it is has to tidy up."""

_context = multiprocessing.get_context("spawn")


class Slot:
    """A slot process and the chunk that it was given."""

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
        self.ended = 0
        """Tasks that have ended since the supervisor set it to 0."""
        self._chunk = Chunk()
        self._retracting_since = 0.0
        self._cancelled: tuple[int, float] | None = None  # index of a task that is tidying up, and until when it may
        self._word: tuple[int, Word] | None = None

    # Work

    @property
    def idle(self) -> bool:
        """Whether it can be given a chunk."""
        return self.ready and not self._chunk.size

    @property
    def busy(self) -> bool:
        """Whether it has a chunk."""
        return self._chunk.size > 0

    def give(self, chunk: Sequence[LeaseSeries]) -> None:
        """Hand a chunk to an idle slot; raises OSError when it has died."""
        self._chunk = Chunk(chunk)
        self._retracting_since = 0.0
        self._cancelled = self._word = None
        self._shared[:] = slot.AT_FIRST
        series = [(lease.prefix, lease.first, lease.name, lease.attempt, lease.payloads) for lease in chunk]
        self.conn.send_bytes(pickle.dumps(series, protocol=5))  # in a fifth of the time that `send` takes to pickle it

    def reported(self, first: int, values: list[bytes]) -> list[tuple[LeaseSeries, list[bytes]]]:
        """Results have come; returns them with their leases, but for those given back or cancelled meanwhile."""
        self.ended += len(values)
        if self._cancelled is not None and first <= self._cancelled[0] < first + len(values):
            self._chunk.end(self._cancelled[0], self._cancelled[0] + 1)
            self._cancelled = None
        ended = self._chunk.end(first, first + len(values))
        return [(lease, values[index - first : index - first + len(lease.payloads)]) for index, lease in ended]

    def told(self, index: int, word: Word) -> None:
        """A task has told how far it is."""
        self._word = (index, word)

    def progress(self) -> tuple[str, Word] | None:
        """Id of the task that runs, and the newest of what it has told."""
        told = self._chunk.one(self._word[0]) if self._word is not None else None
        if self._word is None or told is None:
            return None
        return join_id(told.prefix, told.first), self._word[1]

    def end_chunk(self) -> list[LeaseSeries]:
        """The chunk is over; returns what of it was not run."""
        left = [lease for _, lease in self._chunk.end(0, self._chunk.size)]
        self._chunk = Chunk()
        return left

    def running(self) -> tuple[LeaseSeries, float] | None:
        """What runs now, and for how many seconds; None between tasks."""
        lease = self._chunk.one(self._shared[slot.RUNNING])
        return None if lease is None else (lease, (monotonic_ns() - self._shared[slot.STARTED]) / 1e9)

    def end_running(self) -> tuple[LeaseSeries, float] | None:
        """What runs now has an end, by the death of the process; returns the same."""
        running, index = self.running(), self._shared[slot.RUNNING]
        self._chunk.end(index, index + 1)
        return running

    def has_waiting(self) -> bool:
        """Whether its chunk holds something that has not begun."""
        return self.holding() > 1 and not self._retracting_since

    def waiting(self) -> Iterator[LeaseSeries]:
        """What of its chunk comes after what runs."""
        return (lease for _, lease in self._chunk.open(self._shared[slot.RUNNING] + 1, self._chunk.size))

    def holding(self) -> int:
        """How many tasks of its chunk have no end yet."""
        return self._chunk.holding()

    @property
    def watched(self) -> bool:
        """Whether something of its chunk must end by some time."""
        return self.retracting or self._cancelled is not None or self._chunk.has_limit

    def adopt(self, lease: LeaseSeries) -> list[LeaseSeries]:
        """Tasks were leased to this worker: for those that it holds already, the new lease counts from now on. Returns
        the others."""
        return self._chunk.adopt(lease)

    # Taking work away

    def cancel(self, task_id: str) -> LeaseSeries | None:
        """Stop a task if it is here; returns it if it runs. One that asks whether it is cancelled has `CANCEL_SECONDS`."""
        index = self._chunk.find(task_id)
        lease = self._chunk.one(index)
        if lease is None:
            return None
        if self._shared[slot.RUNNING] != index:
            self.retract()
            return None
        if self._shared[slot.ASKED] != index:
            self.kill()
        elif self._cancelled is None:
            self._shared[slot.CANCELLED] = index
            self._cancelled = (index, monotonic() + CANCEL_SECONDS)
        return lease

    def watch(self) -> None:
        """End its process if the time of what runs is over."""
        running = self.running()
        if running is not None and 0 < running[0].time_limit < running[1]:
            self.kill(running[0].time_limit)
        elif self._cancelled is not None and monotonic() > self._cancelled[1]:
            self.kill()

    def retract(self) -> None:
        """Let it begin nothing more of its chunk; `retracted` tells what that was."""
        if self._chunk.size and not self._retracting_since:
            self._shared[slot.LIMIT] = 0
            self._retracting_since = monotonic()

    def retracted(self) -> list[LeaseSeries]:
        """Of a retracted chunk, what will never begin; empty until that is certain."""
        if not self._retracting_since or monotonic() - self._retracting_since < SETTLE_SECONDS:
            return []
        running = self._shared[slot.RUNNING]
        return [lease for _, lease in self._chunk.end(running + 1, self._chunk.size)] if running >= 0 else []

    @property
    def retracting(self) -> bool:
        """Whether `retracted` will have something to tell."""
        return bool(self._retracting_since) and self.holding() > 1

    def kill(self, time_limit: float = 0.0) -> None:
        """End the process at once: for the time limit that its task overran, or for no fault of the task."""
        if not self.killed_for and not self.stopped:
            self.killed_for, self.stopped = time_limit, not time_limit
            self.process.kill()

    def close(self) -> None:
        """Let an idle slot end by itself, any other at once; returns when it has."""
        self.conn.close()
        if self._chunk.size or not self.ready:
            self.process.kill()
        self.process.join(1.0)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.process.close()
