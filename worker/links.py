"""The three conversations with the queue, a thread and a connection each: leasing, settling, heartbeat."""

from __future__ import annotations

import os
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic, time
from typing import Any

from taskyard import __version__
from taskyard.calls import PYTHON
from taskyard.errors import PayloadTooLarge, StoreFull
from taskyard.log import get_logger
from taskyard.pulse import BEAT_SECONDS
from taskyard.series import LeaseSeries, OutcomeSeries, part
from taskyard.transport import SHORT_BYTES, RemoteQueue
from worker.offer import Offer
from worker.reports import Word
from worker.usage import Usage

LEASE_WAIT = 20.0
SETTLE_BATCH = 5000
"""Outcomes in one call, about."""
POST_TASKS = 16
"""Outcomes that are sent by whoever has them."""
PROGRESS_SECONDS = 0.5
"""The heart beats at most so often, however much news of tasks' progress there is."""
FULL_PAUSE = 1.0
"""Seconds until what a full disk refused is settled again."""

logger = get_logger("worker")


class Leaser:
    """Leases as many tasks as `want` says there is room for, one long poll after the other."""

    def __init__(self, queue: RemoteQueue, session: str, take: Callable[[int, list[LeaseSeries]], None]) -> None:
        self.queue = queue
        self._session = session
        self._take = take
        self._wanted = 0
        self._news = threading.Condition()
        self._stopping = False
        self.names: list[str] = []

    def want(self, count: int) -> None:
        """There is room for ``count`` more tasks."""
        if count != self._wanted:
            with self._news:
                self._wanted = count
                self._news.notify()

    def stop(self) -> None:
        """Lease nothing more after what is under way."""
        with self._news:
            self._stopping = True
            self._news.notify()

    def run(self) -> None:
        """Serve until `stop`."""
        while True:
            with self._news:
                while self._wanted <= 0 and not self._stopping:
                    self._news.wait()
                if self._stopping:
                    return
                wanted = self._wanted
            leases = self.queue.lease_series(self._session, wanted, LEASE_WAIT, self.names)
            if leases:
                with self._news:
                    self._wanted = 0  # until the supervisor has counted again
                self._take(self.queue.generation, leases)


class Settler:
    """Sends outcomes, many at a time, and keeps each until the queue has taken it."""

    def __init__(self, queue: RemoteQueue, session: str) -> None:
        self._queue = queue
        self._session = session
        self._outcomes: deque[OutcomeSeries] = deque()
        self._news = threading.Condition()
        self._posted: tuple[bytes, list[OutcomeSeries]] | None = None
        """A message that is on its way, and what it says."""
        self._sending = 0
        """Outcomes that are on their way."""
        self._stopping = False

    def add(self, outcomes: list[OutcomeSeries]) -> None:
        """Outcomes to settle."""
        if outcomes:
            with self._news:
                self._outcomes.extend(outcomes)
                if not self._sending:
                    self._post()
                self._news.notify_all()

    def stop(self, seconds: float) -> int:
        """Wait until all is settled, at most so long; returns how many outcomes are not."""
        with self._news:
            self._stopping = True
            self._news.notify_all()
            self._news.wait_for(lambda: not self._outcomes and not self._sending, seconds)
            return self._sending + _count(self._outcomes)

    def run(self) -> None:
        """Serve until `stop`, and until all is settled."""
        while True:
            with self._news:
                while not self._outcomes and not self._posted and not self._stopping:
                    self._news.wait()
                if not self._outcomes and not self._posted:
                    return
                if self._posted:
                    message, batch = self._posted
                    self._posted = None
                else:
                    message, batch = None, self._next_batch()
                    self._sending = _count(batch)
            self._settle(batch, message)
            with self._news:
                self._sending = 0
                self._news.notify_all()

    def _post(self) -> None:
        """Send a few outcomes from here, if that needs no waiting: sooner than by waking the thread, which takes the answer."""
        values = self._outcomes[0].values if len(self._outcomes) == 1 else []
        if 0 < len(values) <= POST_TASKS and sum(map(len, values)) < SHORT_BYTES:
            batch = [self._outcomes[0]]
            message = self._queue.post("settle", self._session, list(map(tuple, batch)))
            if message is not None:
                self._posted, self._sending = (message, batch), len(values)
                self._outcomes.clear()

    def _next_batch(self) -> list[OutcomeSeries]:
        batch, size = [], 0
        while self._outcomes and size < SETTLE_BATCH:
            batch.append(self._outcomes.popleft())
            size += len(batch[-1].values)
        return batch

    def _settle(self, batch: list[OutcomeSeries], message: bytes | None = None) -> None:
        """Settle; ``message``: by this, which was posted."""
        told = False
        while batch:
            try:
                posted, message = message, None
                if posted is not None:
                    self._queue.answer(posted)
                else:
                    self._queue.settle_series(self._session, batch)
                return
            except StoreFull as error:
                if not told:
                    logger.error("outcomes wait for room on the master's disk", outcomes=_count(batch), error=str(error))
                    told = True
                threading.Event().wait(FULL_PAUSE)
            except PayloadTooLarge as error:
                first, batch = _halves(batch)
                if first:
                    self._settle(first)
                else:
                    batch = [_too_large(batch[0], error)]


def _count(batch: Iterable[OutcomeSeries]) -> int:
    return sum(len(series.values) for series in batch)


def _halves(batch: list[OutcomeSeries]) -> tuple[list[OutcomeSeries], list[OutcomeSeries]]:
    """A batch in two parts, the first of which is empty if that is one task."""
    if len(batch) > 1:
        middle = len(batch) // 2
        return batch[:middle], batch[middle:]
    size = len(batch[0].values)
    return [part(batch[0], 0, size // 2)] * (size > 1), [part(batch[0], size // 2, size)]


def _too_large(outcome: OutcomeSeries, error: PayloadTooLarge) -> OutcomeSeries:
    cause = f"exception: PayloadTooLarge: what the task returned can't be kept: {error}"
    return outcome._replace(kind="failed", values=[b""], cause=cause)


class Heart:
    """Keeps the leases, hears what to stop, and shows by a file's age whether all that works."""

    def __init__(self, queue: RemoteQueue, session: str, health_file: Path, cancelled: Callable[[list[str]], None]) -> None:
        self._queue = queue
        self._session = session
        self._health_file = health_file
        self._cancelled = cancelled
        self._at_once = threading.Event()
        self._soon = threading.Event()
        self._gone = threading.Event()
        self._leaving = False
        self.draining = False
        self.info: dict[str, Any] = {}
        self.is_well: Callable[[], bool] = lambda: True
        self.measure: Callable[[], Usage] = Usage
        self.told_to_drain: Callable[[], None] = lambda: None
        """Called at each beat whose answer says so."""

    def introduce(self, slots: int, offer: Offer) -> None:
        """What each beat tells of this worker."""
        self.info = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "python": PYTHON,
            "version": __version__,
            "started": time(),
            "slots": slots,
            "busy": 0,
            "tasks": offer.names,
            "schedules": offer.schedules,
            "progress": {},
        }

    def drain(self) -> None:
        """Tell the queue now that this worker takes no more."""
        self.draining = True
        self.info["draining"] = True
        self._beat_at_once()

    def tell_progress(self, words: dict[str, Word]) -> None:
        """How far the running tasks are; if there is news, the queue is told soon."""
        if words != self.info.get("progress", {}):
            self.info["progress"] = words
            self._soon.set()

    def leave(self, seconds: float) -> None:
        """End the session; waits at most so long, and not for a queue that is not there: it will notice by itself."""
        self._leaving = True
        self._beat_at_once()
        deadline = monotonic() + seconds
        while self._queue.connected and monotonic() < deadline and not self._gone.wait(0.05):
            pass

    def run(self) -> None:
        """Beat until `leave`."""
        while not self._leaving:
            if self.is_well():  # else its tasks go to others once their lease ends
                orders = self._queue.heartbeat(self._session, self.info | self.measure()._asdict())
                self._health_file.touch()
                if orders.stop:
                    self._cancelled(orders.stop)
                if orders.drain:
                    self.told_to_drain()
            self._at_once.wait(PROGRESS_SECONDS)
            self._soon.wait(BEAT_SECONDS - PROGRESS_SECONDS)
            self._at_once.clear()
            self._soon.clear()
        self._queue.leave(self._session)
        self._gone.set()

    def _beat_at_once(self) -> None:
        self._at_once.set()
        self._soon.set()
