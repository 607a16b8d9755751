"""Futures of calls that have no end yet."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from taskyard.calls import MANY, unpack_outcomes
from taskyard.codec import decode, decode_error
from taskyard.model import Result, Running

if TYPE_CHECKING:
    from taskyard.exchange import Exchange


class TaskFuture(Future[Any]):
    """A future that knows its task. `cancel` works until the task has ended, also while it runs: its process is stopped."""

    def __init__(self, task_id: str, exchange: Exchange) -> None:
        super().__init__()
        self.task_id = task_id
        self.exchange = exchange
        """Where it was made."""
        self.sent = False
        """Whether the queue has it."""
        self.claimed = False
        """Whether somebody is about to give it its end: only one may."""

    def running(self) -> bool:
        """Whether a worker has it now; the queue is asked."""
        return self.progress() is not None

    def progress(self) -> Running | None:
        """What the running task told of its progress (see `taskyard.progress`); None when it does not run."""
        if self.done():
            return None
        return next((one for one in self.exchange.running(self.task_id) if one.id == self.task_id), None)


class OpenFutures(dict[str, TaskFuture]):
    """By the ids of their tasks. Changed under ``news``, the lock and condition of all that concerns them."""

    def __init__(self) -> None:
        super().__init__()
        # Not Lock: the garbage collector may call `Exchange.stop` at any point.
        self.news = threading.Condition(threading.RLock())
        self.cancelled: deque[str] = deque()
        """Ids that the queue is to be told of."""
        self.ending = 0
        """How many get their end just now."""
        self._keyed: weakref.WeakValueDictionary[str, TaskFuture] = weakref.WeakValueDictionary()

    def make(self, task_id: str, exchange: Exchange, keyed: bool) -> tuple[TaskFuture, bool]:
        """The future of a call, and whether it is new: a key that was used before has one already."""
        known = self._keyed.get(task_id) if keyed else None
        if known is not None and not known.cancelled():
            return known, False
        future = self[task_id] = TaskFuture(task_id, exchange)
        if keyed:
            self._keyed[task_id] = future
        return future, True

    def is_keyed(self, task_id: str) -> bool:
        """Whether the call has a key, so that another client may have made it."""
        return task_id in self._keyed

    def take(self, result: Result) -> None:
        """Give a future its end."""
        self.resolve(result.id, *end_of(result))

    def resolve(self, task_id: str, value: Any = None, error: BaseException | None = None) -> None:
        """Give a future this value, or this exception, if it has no end yet."""
        with self.news:
            future = self.pop(task_id, None)
            if future is None:
                return
            future.claimed = True
            self.ending += 1
            if not self:
                self.news.notify_all()
        if not future.set_running_or_notify_cancel():
            pass
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)
        with self.news:
            self.ending -= 1

    def note_end(self, future: Future[Any]) -> None:
        """Called when a future has its end, for those that were cancelled."""
        if not future.cancelled():
            return
        assert isinstance(future, TaskFuture)
        with self.news:
            if future.claimed:
                return
            future.claimed = True
            if self.get(future.task_id) is future:  # else its key is another call's already, which goes on
                del self[future.task_id]
                self.cancelled.append(future.task_id)
                self.news.notify_all()
        future.set_running_or_notify_cancel()  # tells `wait` and `as_completed`


def end_of(result: Result) -> tuple[Any, BaseException | None]:
    """What a task returned, or raised. Of many calls in one task: their seconds and their outcomes, still encoded."""
    if result.state != "done":
        return None, decode_error(result.value, result.cause)
    try:
        return unpack_outcomes(result.value) if result.value[:1] == MANY else decode(result.value), None
    except Exception as problem:
        return None, problem
