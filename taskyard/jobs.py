"""A job by its id, also one whose client is gone: its counts, and its results from wherever one likes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from taskyard.calls import MANY, unpack_outcomes
from taskyard.codec import decode, decode_error
from taskyard.contract import Queue
from taskyard.errors import NoSuchJob
from taskyard.model import OPEN_STATES, JobInfo, Result, State

PAGE = 1000
POLL_SECONDS = 5.0
"""One wait for results; between two, it is looked whether any can still come."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """The end of one call; of several, where they shared a task and it failed as a whole."""

    cursor: int
    """From here `Job.results` goes on behind this one. Calls that shared a task come again together."""
    task_id: str
    number: int | None
    """Counts the calls of the client that made them, from 0; None for a call with a key, or of another program."""
    state: State
    attempts: int
    value: bytes
    """Encoded."""
    cause: str

    def result(self) -> Any:
        """What the call returned. Raises what it raised, `TaskFailed` where it raised nothing."""
        if self.state != "done":
            raise decode_error(self.value, self.cause)
        return decode(self.value)


class Job:
    """Made by `taskyard.Cluster.job`."""

    def __init__(self, queue: Queue, job_id: str) -> None:
        self.id = job_id
        self._queue = queue

    def info(self) -> JobInfo:
        """Counts of its tasks by state. Raises `NoSuchJob`."""
        found = self._queue.jobs(self.id, 1, 0)
        if not found:
            raise NoSuchJob(f"the queue knows no job {self.id!r}: it was forgotten, has outlived its results, or never was")
        return found[0]

    def results(self, after: int = 0, *, wait: bool = True, timeout: float | None = None) -> Iterator[JobResult]:
        """Results in the order in which they came, behind the cursor ``after``.

        ``wait``: until no task of the job is open; else those that there are. ``timeout``: seconds that one result may be
        waited for, then TimeoutError. Raises `NoSuchJob`.
        """
        heard, start = monotonic(), after
        while True:
            try:
                may_come = self.info().open > 0 and wait
            except NoSuchJob:
                if after > start:
                    return  # it was forgotten meanwhile
                raise
            left = POLL_SECONDS if timeout is None else min(POLL_SECONDS, max(0.0, heard + timeout - monotonic()))
            page = self._queue.results(self.id, after, PAGE, left if may_come else 0.0)
            for result in page:
                yield from _calls_of(result, after)
                after = result.cursor
                heard = monotonic()
            if not page and not may_come:
                return
            if timeout is not None and monotonic() - heard >= timeout:
                raise TimeoutError(f"no result of job {self.id} within {timeout:g} s")

    def cancel(self) -> int:
        """Cancel all of its tasks that are open; returns how many."""
        cancelled = 0
        for state in OPEN_STATES:
            while found := self._queue.find(state, self.id, PAGE, 0):
                cancelled += self._queue.cancel([task.id for task in found])
        return cancelled

    def forget(self) -> int:
        """Delete the tasks that have ended, with their results; returns how many."""
        return self._queue.forget(self.id)


def _calls_of(result: Result, before: int) -> Iterator[JobResult]:
    tail = result.id.rpartition("-")[2]
    number = int(tail) if tail.isdecimal() else None
    if result.state != "done" or result.value[:1] != MANY:
        yield JobResult(result.cursor, result.id, number, result.state, result.attempts, result.value, result.cause)
        return
    _, outcomes = unpack_outcomes(result.value)
    for index, (returned, value) in enumerate(outcomes):
        cursor = result.cursor if index == len(outcomes) - 1 else before
        state: State = "done" if returned else "failed"
        yield JobResult(cursor, result.id, None if number is None else number + index, state, result.attempts, value, "")
