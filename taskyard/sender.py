"""The thread of a client that sends: many calls in one message, as many as there are, and what was cancelled."""

from __future__ import annotations

from collections.abc import Callable

from taskyard import outbox
from taskyard.calls import BY_VALUE
from taskyard.errors import BadRequest, PayloadTooLarge, QueueFull, StoreFull
from taskyard.functions import why_refused
from taskyard.futures import Key, OpenCalls
from taskyard.kept import Kept
from taskyard.options import Options
from taskyard.outbox import Outbox, Parcel
from taskyard.transport import SHORT_BYTES, RemoteQueue

SEND_TASKS = 2000
"""Tasks in one submit, at most; what came in while the last one was under way goes together."""
FULL_PAUSE = 0.5
"""Seconds until a submit that the queue had no room for is tried again."""


class Sender:
    """Sends open calls to the queue. ``note_known``: is told of calls with keys of which some were there before; ``may_lose``:
    whether the queue is one that may lose what it has acknowledged, so that it is kept for `send_again`."""

    def __init__(
        self,
        queue: RemoteQueue,
        calls: OpenCalls,
        job: str,
        note_known: Callable[[list[Key]], None],
        may_lose: bool = False,
    ) -> None:
        self.unsent = 0
        """Calls that the queue does not have yet."""
        self._queue = queue
        self._calls = calls
        self._news = calls.news
        self._job = job
        self._note_known = note_known
        self._outbox = Outbox()
        self._kept = Kept(calls) if may_lose else None
        self._idle = False
        """Whether the thread waits for calls to send."""
        self._posted: tuple[bytes, list[Parcel]] | None = None
        """A message that is on its way, and what it has."""
        self._sent_below = 0
        """Calls with smaller numbers are in the queue, or have failed."""
        self._sent_keys: set[Key] = set()
        self._lost: set[Key] = set()
        """Calls that the queue had and has lost, until it has them again."""
        self._met: list[Key] = []
        """Calls with keys of which some were there before, of the batch that is being sent."""
        self._functions_are_taken = False

    def post(self, options: Options, key: Key, payloads: list[bytes]) -> None:
        """Add calls that are open, under the lock of `OpenCalls`."""
        begins = not self._outbox or len(self._calls) == len(payloads)
        try:
            self.unsent += len(payloads)
            if self._sent_keys:
                self._sent_keys.discard(key)  # of one that was cancelled
            self._outbox.post(options, key, payloads)
            if begins and self._idle and outbox.count(self._outbox) == 1 and self._may_be_posted(options, payloads[0]):
                self._post_now()
        finally:  # also when Ctrl-C comes now: nobody else wakes the thread for these
            if begins:
                self._news.notify_all()

    def _may_be_posted(self, options: Options, payload: bytes) -> bool:
        return len(payload) < SHORT_BYTES and (self._functions_are_taken or options.name != BY_VALUE)

    def _post_now(self) -> None:
        """Send a call from here, if that needs no waiting: sooner than by waking the thread, which takes the answer."""
        batch = list(self._outbox)
        message = self._queue.post("submit", list(map(tuple, outbox.to_series(batch, self._job, self._calls.prefix))))
        if message is not None:
            self._idle, self._posted = False, (message, batch)  # nothing between: an interrupt would leave it unanswered
            self._outbox.clear()

    def is_sent(self, key: Key) -> bool:
        """Whether the queue has a call, or refused it."""
        return (key < self._sent_below if isinstance(key, int) else key in self._sent_keys) and key not in self._lost

    def send_again(self, keys: set[Key]) -> set[Key]:
        """Send calls that the queue has lost once more; returns which of them can be, with those that are on their way."""
        with self._news:
            parcels = [] if self._kept is None else self._kept.take(keys)
            for parcel in parcels:
                self._lost.update(parcel.all_keys())
            self._outbox.extendleft(reversed(parcels))
            self.unsent += outbox.count(parcels)
            self._news.notify_all()
            return keys & self._lost

    def run(self) -> None:
        """Send until no more calls are taken and none is open. Raises what ends the traffic for good, as `WrongKey`."""
        most = SEND_TASKS
        while True:
            with self._news:
                while not self._has_work():
                    self._idle = True
                    self._news.wait()
                self._idle = False
                message, batch = self._posted or (None, self._outbox.take(most))
                self._posted = None
                cancelled = [self._calls.cancelled.popleft() for _ in range(min(SEND_TASKS, len(self._calls.cancelled)))]
                if not (batch or cancelled or self._outbox or self._calls) and self._calls.stopping:
                    return
            if message is None and self._tell_cancelled(cancelled):  # first: its key may be another call's already
                cancelled = []
            taken = self._submit(batch, message) if message is not None else self._submit(self._wanted(batch))
            if cancelled and message is not None and self._tell_cancelled(cancelled):
                cancelled = []
            if taken:
                self._note_sent(batch)
                if self._met:
                    known, self._met = self._met, []
                    self._note_known(known)
                most, batch = min(2 * most, SEND_TASKS), []
            if batch or cancelled:
                with self._news:  # again, and fewer of them, once there may be room
                    self._outbox.extendleft(reversed(batch))
                    self._calls.cancelled.extendleft(reversed(cancelled))
                    self._news.wait(FULL_PAUSE)
                most = max(1, outbox.count(batch) // 2) if batch else most

    def _has_work(self) -> bool:
        calls = self._calls
        return bool(self._outbox or self._posted or calls.cancelled or (calls.stopping and not calls))

    def _wanted(self, batch: list[Parcel]) -> list[Parcel]:
        """Without calls that were cancelled meanwhile."""
        wanted: list[Parcel] = []
        for parcel in batch:
            if all(map(self._calls.__contains__, parcel.all_keys())):
                wanted.append(parcel)
            else:
                wanted.extend(outbox.without(parcel, map(self._calls.__contains__, parcel.all_keys())))
        return wanted

    def _note_sent(self, batch: list[Parcel]) -> None:
        with self._news:
            for _, key, payloads in batch:
                if isinstance(key, int):
                    self._sent_below = max(self._sent_below, key + len(payloads))  # less: it was sent again
                else:
                    self._sent_keys.add(key)
            self._sent_keys &= self._calls.keys()
            if self._lost:
                self._lost.difference_update(*(parcel.all_keys() for parcel in batch))
            if self._kept is not None:
                self._kept.add(batch)
            self.unsent -= outbox.count(batch)
            if not self.unsent:
                self._news.notify_all()

    def _tell_cancelled(self, ids: list[str]) -> bool:
        """Send what was cancelled; returns whether the queue's disk had room."""
        try:
            if ids:
                self._queue.cancel(ids)
        except StoreFull:
            return False
        return True

    def _submit(self, batch: list[Parcel], message: bytes | None = None) -> bool:
        """Send a batch, unless it was posted as this message; returns whether the queue had room. Calls that it refuses for good
        fail, each on its own."""
        batch = self._without_refused(batch)
        if not batch:
            return True
        size = outbox.count(batch)
        try:
            if message is not None:
                new = int(self._queue.answer(message))
            else:
                new = self._queue.submit_series(outbox.to_series(batch, self._job, self._calls.prefix))
        except (QueueFull, StoreFull):
            return False
        except (BadRequest, PayloadTooLarge) as error:
            if size == 1:
                self._calls.fail(batch[0].all_keys(), error)
                return True
            left = Outbox(batch)
            return self._submit(left.take(size // 2)) and self._submit(list(left))
        if new < size:
            self._met += [parcel.key for parcel in batch if self._calls.is_keyed(parcel.key)]
        return True

    def _without_refused(self, batch: list[Parcel]) -> list[Parcel]:
        """Without functions by value that no worker takes: these fail now rather than when nobody has come for a while."""
        if self._functions_are_taken or not any(parcel.options.name == BY_VALUE for parcel in batch):
            return batch
        workers = [worker for worker in self._queue.workers() if not worker.left]
        refused = why_refused(workers)
        if not refused:
            self._functions_are_taken = bool(workers)  # if these workers go, others will come
            return batch
        for parcel in batch:
            if parcel.options.name == BY_VALUE:
                self._calls.fail(parcel.all_keys(), BadRequest(refused))
        return [parcel for parcel in batch if parcel.options.name != BY_VALUE]
