"""A slot: the process in which tasks run. It knows neither the network nor the key; the supervisor relays.

It gets chunks (lists of tasks) over a pipe and sends results back in batches. Which task of the chunk is running stands
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
from taskyard.errors import SettingsError
from worker import careful, running
from worker.beginning import begin
from worker.offer import Functions, load
from worker.reports import Reports

Job = tuple[str, str, int, bytes]
"""One task of a chunk: id, name, attempt, payload."""

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
            chunk: list[Job] = conn.recv()
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
        self._index = 0

    def run_chunk(self, chunk: list[Job]) -> None:
        """Run tasks one after the other, up to the limit that the supervisor may set meanwhile."""
        shared = self._shared
        for index, job in enumerate(chunk):
            started = monotonic_ns()
            shared[STARTED] = started
            shared[RUNNING] = index
            if index >= shared[LIMIT]:
                break
            self._index = index
            ended = self._run(*job)
            self._reports.add((index, *ended, (monotonic_ns() - started) / 1e9))
        shared[RUNNING] = -1
        context.enter(None)
        structlog.contextvars.clear_contextvars()
        self._reports.flush(end=True)

    def _run(self, task_id: str, name: str, attempt: int, payload: bytes) -> running.Ended:
        structlog.contextvars.bind_contextvars(task=task_id, name=name, attempt=attempt)
        context.enter(context.Running(task_id, name, attempt, self._tell, self._is_cancelled))
        # A former attempt took its slot along: one of many calls may be to blame, and must not cost the others.
        run_many = functools.partial(careful.run, self._app, task_id, name, attempt) if attempt > 1 else None
        return running.run(name, payload, self._functions, self._accepts_functions, run_many)

    def _tell(self, done: float, total: float, note: str) -> None:
        self._reports.tell(self._index, (done, total, note))

    def _is_cancelled(self) -> bool:
        self._shared[ASKED] = self._index
        return bool(self._shared[CANCELLED] == self._index)
