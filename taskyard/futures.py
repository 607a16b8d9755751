"""Calls that have no end yet: a future for each, or a block for many in a row."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED, FINISHED, PENDING
from contextlib import contextmanager
from itertools import repeat
from typing import TYPE_CHECKING, Any

from taskyard.calls import MANY, unpack_outcomes
from taskyard.codec import decode, decode_error
from taskyard.model import Running
from taskyard.series import NOT_NUMBERED, ResultSeries, join_id, split_id

if TYPE_CHECKING:
    from taskyard.exchange import Exchange

Key = int | str
"""Of an open call: the number that ends its task's id, or the whole id where another client may have made it too."""
End = bytes | BaseException
"""What a task returned, still encoded, or raised."""


_unseen = threading.RLock()
"""Held while a future gets its end that nobody waits for, or its condition because somebody begins to."""


def _after_fork() -> None:
    """Another thread, which the child has not, may hold it."""
    global _unseen
    _unseen = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


class TaskFuture(Future[Any]):
    """A future that knows its task. `cancel` works until the task has ended, also while it runs: its process is stopped.

    It has its condition, and the lists of those that wait for it, only from when somebody looks: without these it costs a
    fifth, mostly of the garbage collector's time.
    """

    _state = PENDING
    _result: Any = None
    _exception: BaseException | None = None
    _made: threading.Condition | None = None

    def __init__(self, key: Key, exchange: Exchange) -> None:
        self.key = key
        self.exchange = exchange
        """Where it was made."""

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        if self._made is None:
            made, waiters, callbacks = threading.Condition(), [], []  # type: ignore[var-annotated]
            with _unseen:
                if self._made is None:
                    self._waiters, self._done_callbacks = waiters, callbacks
                    self._made = made
        return self._made

    def done(self) -> bool:
        """Whether it has its end."""
        return self._state != PENDING

    def result(self, timeout: float | None = None) -> Any:
        """See `concurrent.futures.Future.result`."""
        if self._state == FINISHED and self._exception is None:
            return self._result
        return super().result(timeout)

    @property
    def task_id(self) -> str:
        """In the queue."""
        return self.exchange.id_of(self.key)

    @property
    def sent(self) -> bool:
        """Whether the queue has it."""
        return self.exchange.is_sent(self.key)

    def running(self) -> bool:
        """Whether a worker has it now; the queue is asked."""
        return self.progress() is not None

    def progress(self) -> Running | None:
        """What the running task told of its progress (see `taskyard.progress`); None when it does not run."""
        if self.done():
            return None
        task_id = self.task_id
        return next((one for one in self.exchange.running(self.key) if one.id == task_id), None)

    def cancel(self) -> bool:
        """Cancel the call, also if it runs; returns False if it has ended."""
        if not super().cancel():
            return False
        if self.exchange.withdraw(self):
            self.set_running_or_notify_cancel()
        return True

    def end(self, value: Any, error: BaseException | None = None) -> None:
        """Give it its value, or its exception, or if it was cancelled tell who waits for it. For whoever took it out of
        `OpenCalls`: only one does."""
        with _unseen:
            if self._made is None:
                self._result, self._exception, self._state = value, error, FINISHED
                return
        with self._condition:
            cancelled = self._state == CANCELLED
            if not cancelled:
                self._result, self._exception, self._state = value, error, FINISHED
                for waiter in self._waiters:
                    (waiter.add_result if error is None else waiter.add_exception)(self)
                self._condition.notify_all()
        if cancelled:
            self.set_running_or_notify_cancel()
        else:
            self._invoke_callbacks()  # type: ignore[attr-defined]

    def take(self, end: End) -> None:
        """Give it the end that its task has come to."""
        if isinstance(end, BaseException):
            self.end(None, end)
            return
        try:
            value = unpack_outcomes(end) if end[:1] == MANY else decode(end)
        except Exception as problem:
            self.end(None, problem)
        else:
            self.end(value)


class Block:
    """Calls with consecutive numbers, whose ends are taken by their positions: what a future is, but for the price."""

    __slots__ = ("_awaited", "_bell", "_calls", "ends", "first")

    def __init__(self, calls: OpenCalls, first: int, count: int) -> None:
        self.first = first
        self.ends: list[End | None] = [None] * count
        self._calls = calls
        self._awaited = -1
        self._bell = calls.news
        """Of who waits for the awaited one."""

    def wait(self, position: int, seconds: float | None = None) -> bool:
        """Wait until a call has its end, so long at most; returns whether it has. For one thread at a time."""
        if self.ends[position] is None:
            with self._calls.lock:
                self._bell = threading.Condition(self._calls.lock)
                self._awaited = position
                self._bell.wait_for(lambda: self.ends[position] is not None, seconds)
                self._awaited = -1
        return self.ends[position] is not None

    def put(self, number: int, end: End) -> None:
        """Give a call its end; for whoever took it out of `OpenCalls`."""
        position = number - self.first
        self.ends[position] = end
        if position == self._awaited:
            with self._calls.lock:
                self._bell.notify_all()

    def cancel(self) -> None:
        """Cancel those calls that have no end."""
        self._calls.cancel(range(self.first, self.first + len(self.ends)))


class OpenCalls(dict[Key, TaskFuture | Block]):
    """By their keys. Added to under ``lock``; whoever takes one out gives it its end."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self.prefix = prefix
        """Of the ids of numbered calls."""
        # Not Lock: the garbage collector may call `Exchange.stop`, or cancel a block, at any point.
        self.lock = threading.RLock()
        self.news = threading.Condition(self.lock)
        """Of all that concerns open calls but their ends."""
        self.stopping = False
        """Whether no more are taken."""
        self.cancelled: deque[str] = deque()
        """Ids that the queue is to be told of."""
        self.ending = 0
        """How many threads give calls their ends just now."""
        self._keyed: weakref.WeakValueDictionary[Key, TaskFuture] = weakref.WeakValueDictionary()

    def id_of(self, key: Key) -> str:
        """The task's id."""
        return key if isinstance(key, str) else join_id(self.prefix, key)

    def key_of(self, task_id: str) -> Key:
        """Of a task that may be another client's, which then is no key of an open call."""
        prefix, number = split_id(task_id)
        return number if prefix == self.prefix and number != NOT_NUMBERED else task_id

    def known(self, key: str) -> TaskFuture | None:
        """The future of the call that was made with this key, unless it was cancelled."""
        future = self._keyed.get(key)
        return None if future is None or future.cancelled() else future

    def put_keyed(self, key: str, future: TaskFuture) -> TaskFuture | None:
        """Add the call with a key. Returns the one that gives way, since it is just being cancelled."""
        former = self.pop(key, None)
        self[key] = self._keyed[key] = future
        return former if isinstance(former, TaskFuture) else None

    def is_keyed(self, key: Key) -> bool:
        """Whether the call has a key, so that another client may have made it."""
        return key in self._keyed

    def take(self, page: Iterable[ResultSeries]) -> None:
        """Give calls their ends."""
        with self._ending():
            for one in page:
                self._end(self._keys_of(one), one.values if one.state == "done" else _errors_of(one))

    def fail(self, keys: Iterable[Key], error: Exception) -> None:
        """Let calls fail that are still open."""
        with self._ending():
            self._end(keys, repeat(error))

    @contextmanager
    def _ending(self) -> Iterator[None]:
        with self.lock:
            self.ending += 1
        try:
            yield
        finally:
            with self.lock:
                self.ending -= 1
                if not self:
                    self.news.notify_all()

    def _end(self, keys: Iterable[Key], ends: Iterable[End]) -> None:
        for key, end in zip(keys, ends, strict=False):
            call = self.pop(key, None)
            if isinstance(call, Block):
                call.put(key, end)  # type: ignore[arg-type]
            elif call is not None:
                call.take(end)

    def cancel(self, keys: Iterable[Key]) -> None:
        """Cancel calls that are still open."""
        for key in keys:
            call = self.get(key)
            if isinstance(call, TaskFuture):
                call.cancel()
            elif call is not None and self.withdraw(key, call):
                call.put(key, CancelledError())  # type: ignore[arg-type]

    def withdraw(self, key: Key, call: TaskFuture | Block) -> bool:
        """Take a call out that was cancelled, for the queue to be told; returns whether it was still there."""
        with self.lock:
            if self.get(key) is not call or self.pop(key, None) is None:  # the second: the reader was faster
                return False
            self.cancelled.append(self.id_of(key))
            self.news.notify_all()
            return True

    def _keys_of(self, one: ResultSeries) -> Sequence[Key]:
        if one.first == NOT_NUMBERED:
            return [one.prefix] if one.prefix in self else []
        return range(one.first, one.first + len(one.values)) if one.prefix == self.prefix else []


def _errors_of(one: ResultSeries) -> Iterator[End]:
    return (decode_error(value, one.cause) for value in one.values)
