"""A slot: the process in which tasks run. It knows neither the network nor the key; the supervisor relays.

It gets chunks (lists of tasks) over a pipe and sends results back in batches. Which task of the chunk is running stands
in shared memory, where the supervisor reads it when the slot has died.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, monotonic_ns
from typing import Any

import structlog

from taskyard.codec import JSON, LINE_LENGTH, decode, encode, encode_error, encode_json, one_line
from taskyard.errors import TaskFailed, TaskyardError
from taskyard.log import get_logger, set_up_logging
from taskyard.registry import load_tasks
from taskyard.settings import load_settings

Job = tuple[str, str, int, bytes]
"""One task of a chunk: id, name, attempt, payload."""
Report = tuple[int, str, bytes, str, float]
"""One result: index in the chunk, kind, value, cause, seconds it took."""

RUNNING, STARTED, LIMIT = range(3)
"""Shared memory: index of the running task (-1: none), monotonic ns at which it began, index at which to stop."""
NO_LIMIT = 2**31
FLUSH_SECONDS = 0.005
PR_SET_PDEATHSIG = 1


def main(conn: Connection[Any, Any], shared: Any, app: str) -> None:
    """Import the app, tell its tasks' names, then run chunks until the pipe closes."""
    _become_expendable()
    for name in ("TASKYARD_AUTHKEY", "TASKYARD_AUTHKEY_FILE"):
        os.environ.pop(name, None)
    set_up_logging(load_settings())
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(Printed()), "utf-8", "backslashreplace", line_buffering=True)
    try:
        functions = load_tasks(app)
    except BaseException as error:
        with contextlib.suppress(OSError):
            conn.send(("broken", _why_not(app, error)))
        return
    conn.send(("ready", sorted(functions)))
    reports = Reports(conn)
    while True:
        try:
            chunk: list[Job] = conn.recv()
        except (EOFError, OSError):
            return
        run_chunk(chunk, functions, shared, reports)


def run_chunk(chunk: list[Job], functions: dict[str, Callable[..., Any]], shared: Any, reports: Reports) -> None:
    """Run tasks one after the other, up to the limit that the supervisor may set meanwhile."""
    for index, (task_id, name, attempt, payload) in enumerate(chunk):
        started = monotonic_ns()
        shared[STARTED] = started
        shared[RUNNING] = index
        if index >= shared[LIMIT]:
            break
        structlog.contextvars.bind_contextvars(task=task_id, name=name, attempt=attempt)
        kind, value, cause = run_one(functions[name], payload)
        reports.add((index, kind, value, cause, (monotonic_ns() - started) / 1e9))
    shared[RUNNING] = -1
    structlog.contextvars.clear_contextvars()
    reports.flush(end=True)


def run_one(function: Callable[..., Any], payload: bytes) -> tuple[str, bytes, str]:
    """One call; returns kind, value and cause of its outcome, whatever it raises."""
    try:
        args, kwargs = decode(payload)
        value = function(*args, **kwargs)
        return "done", (encode_json(value) if payload[:1] == JSON else encode(value)), ""
    except SystemExit as error:
        cause = f"exit: the task called sys.exit({repr(error.code)[:LINE_LENGTH]})"
        return "failed", encode_error(error, TaskFailed(cause)), cause
    except BaseException as error:
        return "failed", encode_error(error), f"exception: {one_line(error)}"


class Reports:
    """Results on their way to the supervisor: many in one message, none of them held back for long."""

    def __init__(self, conn: Connection[Any, Any]) -> None:
        self._conn = conn
        self._lock = threading.Lock()
        self._unsent: list[Report] = []
        self._begun = threading.Event()
        # A short task's result must not wait for a long one that follows it in the chunk.
        threading.Thread(target=self._flush_late, name="reports", daemon=True).start()

    def add(self, report: Report) -> None:
        """Take one; it is sent with the next ones, within `FLUSH_SECONDS`."""
        with self._lock:
            self._unsent.append(report)
            if len(self._unsent) == 1:
                self._begun.set()

    def flush(self, end: bool = False) -> None:
        """Send what there is; ``end``: the chunk is over."""
        with self._lock:
            self._begun.clear()
            reports, self._unsent = self._unsent, []
            if reports or end:
                self._conn.send(("end" if end else "reports", reports))

    def _flush_late(self) -> None:
        while True:
            self._begun.wait()
            end = monotonic() + FLUSH_SECONDS
            while (left := end - monotonic()) > 0:
                threading.Event().wait(left)
            try:
                if self._begun.is_set():
                    self.flush()
            except OSError:
                return


class Printed(io.RawIOBase):
    """Standard output of tasks, under its buffer: each line becomes a line of the log, with the task's id."""

    def __init__(self) -> None:
        self._logger = get_logger("task")
        self._line = b""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Log the lines that are whole; the rest waits for its end."""
        *lines, self._line = (self._line + bytes(data)).split(b"\n")
        for line in lines:
            self._logger.info(line.decode(errors="replace"))
        return len(data)


def _why_not(app: str, error: BaseException) -> str:
    if isinstance(error, TaskyardError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"WORKER_APP={app!r} can't be imported: {one_line(error)} ({last.filename}, line {last.lineno})"


def _become_expendable() -> None:
    """Leave signals to the supervisor, die with it, and be the one that the kernel kills when memory runs out."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
