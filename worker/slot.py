"""A slot: the process in which tasks run. It knows neither the network nor the key; the supervisor relays.

It gets chunks (lists of series) over a pipe and sends results back in batches. Which task of the chunk is running stands
in shared memory, where the supervisor reads it when the slot has died.
"""

from __future__ import annotations

import contextlib
import functools
from multiprocessing.connection import Connection
from time import monotonic_ns
from typing import Any

import structlog

from taskyard import context
from taskyard.calls import BY_VALUE
from taskyard.codec import PICKLE
from taskyard.errors import SettingsError
from worker import careful, running
from worker.beginning import begin
from worker.offer import Functions, load
from worker.reports import Reports

Series = tuple[str, int, str, int, list[bytes]]
"""Tasks of a chunk: prefix, first number, name, attempt, payloads; see `taskyard.series.LeaseSeries`."""

RUNNING, STARTED, LIMIT, ASKED, CANCELLED = range(5)
"""Shared memory: index of the running task (-1: none), monotonic ns at which it began, index at which to stop; index of the
task that last asked whether it is cancelled, index of the one that is."""
NO_LIMIT = 2**31
AT_FIRST = (-1, 0, NO_LIMIT, -1, -1)


def main(conn: Connection[Any, Any], shared: Any, app: str) -> None:
    """Import the app, tell what it offers, then run chunks until the pipe closes."""
    settings = begin()
    try:
        functions, offer = load(app, settings.worker_accepts)
    except SettingsError as error:
        with contextlib.suppress(OSError):
            conn.send(("broken", str(error)))
        return
    conn.send(("ready", tuple(offer)))
    slot = Runner(app, functions, BY_VALUE in offer.names, shared, Reports(conn))
    while True:
        try:
            chunk: list[Series] = conn.recv()
        except (EOFError, OSError):
            return
        slot.run_chunk(chunk)


class Runner:
    """Runs chunks."""

    def __init__(self, app: str, functions: Functions, accepts_functions: bool, shared: Any, reports: Reports) -> None:
        self._app = app
        self._functions = functions
        self._accepts_functions = accepts_functions
        self._shared = shared
        self._reports = reports

    def run_chunk(self, chunk: list[Series]) -> None:
        """Run tasks one after the other, up to the limit that the supervisor may set meanwhile."""
        self._reports.begin(sum(len(series[-1]) for series in chunk))
        index = 0
        for series in chunk:
            if not self._run_series(index, *series):
                break
            index += len(series[-1])
        self._shared[RUNNING] = -1
        self._reports.flush(end=True)
        context.enter(None)
        structlog.contextvars.clear_contextvars()

    def _run_series(self, index: int, prefix: str, first: int, name: str, attempt: int, payloads: list[bytes]) -> bool:
        """Whether it came to the end. ``index``: of the first task in the chunk."""
        # Nothing here is done for each task that can be done once: most tasks are short.
        shared, done, failed, run_one = self._shared, self._reports.done, self._reports.failed, running.run_one
        function = self._functions.get(name)
        task = context.Running(prefix, first, name, attempt, self._tell, self._is_cancelled)
        context.enter(task)
        self._reports.begin_series(name)
        now = monotonic_ns()
        for number, payload in enumerate(payloads, first):
            shared[STARTED] = began = now
            shared[RUNNING] = index
            if index >= shared[LIMIT]:
                return False
            task.number = number
            ended = run_one(function, payload) if function and payload[:1] == PICKLE else self._run(task, payload)
            now = monotonic_ns()
            if isinstance(ended, bytes):
                done(index, ended, began, now)
            else:
                failed(index, ended, began, now)
            index += 1
        return True

    def _run(self, task: context.Running, payload: bytes) -> running.Ended:
        # A former attempt took its slot along: one of many calls may be to blame, and must not cost the others.
        run_many = functools.partial(careful.run, self._app, task.id, task.name, task.attempt) if task.attempt > 1 else None
        return running.run(task.name, payload, self._functions, self._accepts_functions, run_many)

    def _tell(self, done: float, total: float, note: str) -> None:
        self._reports.tell(self._shared[RUNNING], (done, total, note))

    def _is_cancelled(self) -> bool:
        self._shared[ASKED] = index = self._shared[RUNNING]
        return bool(self._shared[CANCELLED] == index >= 0)
