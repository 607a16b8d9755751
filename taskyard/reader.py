"""The thread of a client that reads results as they come, and looks after calls whose result may not come by itself."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from taskyard.errors import NoSuchTask, StoreFull
from taskyard.futures import Key, OpenCalls
from taskyard.model import END_STATES, Details
from taskyard.series import ResultSeries, split_id
from taskyard.transport import RemoteQueue

RESULTS_PAGE = 5000
POLL_SECONDS = 1.0
"""One wait for results; between two, the reader looks after calls whose key was known already."""
KEYED_POLL_SECONDS = 0.1
LISTEN_SECONDS = 10.0
"""For so long after the last end results are still waited for: so that the next call finds somebody waiting for its own."""
LOOK_TASKS = 500
"""Calls that are looked at in one question."""
DOUBT_SECONDS = 30.0
"""When no result has come for so long, or the master was away, it is looked whether the queue still knows the calls."""

_GONE = "it was forgotten, its result has outlived its time, or the queue has lost its data"


class Reader:
    """Gives the open calls of a job their ends. ``is_sent``: whether the queue has a call; ``send_again``: sends those once more
    that it has lost, and returns which of them it can, or does already."""

    def __init__(
        self,
        queue: RemoteQueue,
        calls: OpenCalls,
        job: str,
        is_sent: Callable[[Key], bool],
        send_again: Callable[[set[Key]], set[Key]],
    ) -> None:
        self._queue = queue
        self._calls = calls
        self._news = calls.news
        self._job = job
        self._is_sent = is_sent
        self._send_again = send_again
        self._cursor = 0
        """Of the last result that was read."""
        self._last = ("", 0)
        """Of which task it was."""
        self._known: set[Key] = set()
        """Keyed calls that somebody has submitted before: their results may belong to another job."""
        self._doubtful: deque[Key] = deque()
        """Calls that are to be looked at one by one."""

    def run(self) -> None:
        """Read until no more calls are taken and none is open. Raises what ends the traffic for good, as `WrongKey`."""
        heard, generation, changed, busy = time.monotonic(), 0, False, -LISTEN_SECONDS
        while True:
            with self._news:
                while not (self._calls or self._calls.stopping) and time.monotonic() - busy > LISTEN_SECONDS:
                    self._news.wait()
                if self._calls:
                    busy = time.monotonic()
                elif self._calls.stopping:
                    self._news.notify_all()
                    return
            try:
                wait = KEYED_POLL_SECONDS if self._doubtful or self._known else POLL_SECONDS
                page = self._queue.results_series(self._job, self._cursor, RESULTS_PAGE, wait)
                if generation != self._queue.generation:
                    generation, changed = self._queue.generation, True
                    if not self._has_last():
                        self._cursor = 0
                        continue
            except StoreFull:
                continue
            self._calls.take(page)
            if page:
                last = page[-1]
                self._cursor, self._last = last.cursor + len(last.values) - 1, (last.prefix, last.first + len(last.values) - 1)
            if page and not changed:
                heard = time.monotonic()
            elif (changed and not page) or time.monotonic() - heard > DOUBT_SECONDS:
                heard, changed = time.monotonic(), False
                self._count()
            if self._known or self._doubtful:
                self._look()

    def look_at_known(self, keys: list[Key], queue: RemoteQueue) -> None:
        """Take the ends of calls that somebody had submitted before, now or when they have some; asks this ``queue`` now."""
        with self._news:
            self._known.update(keys)
        self._look_at(keys, queue)

    def _has_last(self) -> bool:
        """Whether the queue has the last result that was read. What has lost tasks may have lost results too, and counts new ones
        from there on."""
        found = self._queue.results_series(self._job, self._cursor - 1, 1, 0) if self._cursor else []
        return not self._cursor or [one[:3] for one in found] == [(self._cursor, *self._last)]

    def _count(self) -> None:
        """All results that there are have come: now the queue should have as many open tasks as this job has open calls."""
        found = self._queue.jobs(self._job, 1, 0)
        with self._news:  # not before: what is sent meanwhile would make up for what is lost
            sent = [key for key in list(self._calls) if self._is_sent(key) and key not in self._known]
        if len(sent) > sum(info.open for info in found):
            self._doubtful.extend(sent)

    def _look(self) -> None:
        """Look at some of the calls of which it is not certain that their results will come by themselves."""
        with self._news:
            if not self._doubtful:
                self._known &= self._calls.keys()
                self._doubtful.extend(self._known)
            keys = [self._doubtful.popleft() for _ in range(min(LOOK_TASKS, len(self._doubtful)))]
        self._look_at(keys, self._queue)

    def _look_at(self, keys: list[Key], queue: RemoteQueue) -> None:
        """Take the ends of those that have one. What the queue does not know is sent again, or fails: it will have no result."""
        while keys := [key for key in keys if key in self._calls and self._is_sent(key)]:
            found = queue.show(list(map(self._calls.id_of, keys)), False)
            self._calls.take(_series_of(task) for task in found if task.state in END_STATES)
            told = {self._calls.key_of(task.id) for task in found}
            keys = [key for key in keys if key not in told]  # for one answer they may be too many
            if not found:
                for key in set(keys) - self._send_again(set(keys)):
                    gone = NoSuchTask(f"the queue does not know task {self._calls.id_of(key)} any more: {_GONE}")
                    self._calls.fail([key], gone)
                return


def _series_of(task: Details) -> ResultSeries:
    prefix, first = split_id(task.id)
    return ResultSeries(0, prefix, first, task.state, [task.value], task.cause, task.attempts)  # type: ignore[arg-type]
