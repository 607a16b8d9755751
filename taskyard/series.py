"""Tasks in series: what travels when many tasks are alike.

A series is a run of tasks whose ids end in consecutive numbers and which share all else but their payloads. A message has
one tuple for each series, however many tasks that is, and nobody on the way makes an object for each of them. Every task is
still one of its own: it can be leased, retried, cancelled and looked up alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from taskyard.model import BY_CAUSE, Lease, Outcome, Result, Task

LARGEST_NUMBER = 10**15
"""Ids with longer numbers are not numbered."""
NOT_NUMBERED = -1
ENTRY_BYTES = 100
"""What one entry of a message takes beside its data, about."""


class TaskSeries(NamedTuple):
    """Tasks as they are submitted; the fields behind ``payloads`` are those of `taskyard.model.Task`."""

    prefix: str
    first: int
    """Number of the first task; `NOT_NUMBERED`: there is one task, and ``prefix`` is its id (see `split_id`)."""
    job: str
    name: str
    payloads: Sequence[bytes]
    priority: int = 0
    delay: float = 0.0
    retries: int = BY_CAUSE
    backoff: float = 1.0
    time_limit: float = 0.0
    result_ttl: float = 7 * 86400.0
    expiry: float = 0.0


class LeaseSeries(NamedTuple):
    """Tasks lent under one token; see `taskyard.model.Lease`."""

    prefix: str
    first: int
    token: int
    attempt: int
    name: str
    payloads: Sequence[bytes]
    time_limit: float
    job: str


class OutcomeSeries(NamedTuple):
    """The same outcome of tasks lent under one token; see `taskyard.model.Outcome`."""

    prefix: str
    first: int
    token: int
    kind: Literal["done", "failed", "released"]
    values: Sequence[bytes]
    """One a task, empty where there is none."""
    cause: str = ""
    delay: float = -1.0
    final: bool = False
    seconds: float = 0.0
    """Their attempts took together; 0: not known."""


class ResultSeries(NamedTuple):
    """Ends of tasks with consecutive cursors; see `taskyard.model.Result`."""

    cursor: int
    """Of the first."""
    prefix: str
    first: int
    state: Literal["done", "failed", "cancelled"]
    values: Sequence[bytes]
    cause: str
    attempts: int


def split_id(task_id: str) -> tuple[str, int]:
    """The prefix and the number of an id: of ``a-b-7`` ``a-b`` and 7; of what does not end so, itself and `NOT_NUMBERED`."""
    prefix, dash, digits = task_id.rpartition("-")
    if dash and digits.isascii() and digits.isdecimal() and len(digits) <= 15 and (digits[0] != "0" or digits == "0"):
        return prefix, int(digits)
    return task_id, NOT_NUMBERED


def join_id(prefix: str, number: int) -> str:
    """What `split_id` was given."""
    return prefix if number < 0 else f"{prefix}-{number}"


def ids_of(prefix: str, first: int, count: int) -> list[str]:
    """Ids of a series of so many tasks."""
    return [prefix] if first < 0 else [f"{prefix}-{number}" for number in range(first, first + count)]


def from_tasks(tasks: Sequence[Task]) -> list[TaskSeries]:
    """Tasks, in their order, in as few series as their ids and options allow."""
    parts = [(*split_id(task.id), (task.job, task.name, task[4:]), task.payload) for task in tasks]
    return [TaskSeries._make((*numbered, *alike[:2], payloads, *alike[2])) for numbered, alike, payloads in _grouped(parts)]


def from_outcomes(outcomes: Sequence[Outcome]) -> list[OutcomeSeries]:
    """Outcomes, in their order, in as few series as their ids and words allow."""
    parts = [(*split_id(one.id), (one.token, one.kind, one[4:]), one.value) for one in outcomes]
    return [OutcomeSeries._make((*numbered, *alike[:2], values, *alike[2], 0.0)) for numbered, alike, values in _grouped(parts)]


def _grouped(parts: Sequence[tuple[str, int, Any, bytes]]) -> list[tuple[tuple[str, int], Any, list[bytes]]]:
    """Runs of consecutive numbers with the same prefix that are alike: prefix and first number, what is alike, their data."""
    groups: list[tuple[tuple[str, int], Any, list[bytes]]] = []
    expected: tuple[str, int, Any] | None = None
    for prefix, number, alike, data in parts:
        if number != NOT_NUMBERED and (prefix, number, alike) == expected:
            groups[-1][2].append(data)
        else:
            groups.append(((prefix, number), alike, [data]))
        expected = prefix, number + 1, alike
    return groups


def to_leases(leases: Sequence[LeaseSeries]) -> list[Lease]:
    """One lease a task."""
    return [
        Lease(task_id, token, attempt, name, payload, time_limit, job)
        for prefix, first, token, attempt, name, payloads, time_limit, job in leases
        for task_id, payload in zip(ids_of(prefix, first, len(payloads)), payloads, strict=True)
    ]


def to_results(results: Sequence[ResultSeries]) -> list[Result]:
    """One result a task."""
    return [
        Result(cursor + index, task_id, state, value, cause, attempts)
        for cursor, prefix, first, state, values, cause, attempts in results
        for index, (task_id, value) in enumerate(zip(ids_of(prefix, first, len(values)), values, strict=True))
    ]


S = TypeVar("S", TaskSeries, LeaseSeries, OutcomeSeries)


def data_of(series: TaskSeries | LeaseSeries | OutcomeSeries) -> Sequence[bytes]:
    """Payloads or values: one for each of its tasks."""
    return series.values if isinstance(series, OutcomeSeries) else series.payloads


def messages(series: Sequence[S], most: int) -> Iterator[list[S]]:
    """Series in messages of about ``most`` bytes each; one is cut where it is too long, but for the last data in it."""
    message: list[S] = []
    size = 0
    for one in series:
        data = data_of(one)
        whole = sum(map(len, data)) + ENTRY_BYTES * len(data)
        if size + whole < most:
            message.append(one)
            size += whole
            continue
        begun = 0
        for end, piece in enumerate(data, 1):
            size += len(piece) + ENTRY_BYTES
            if size >= most:
                message.append(part(one, begun, end))
                yield message
                message, size, begun = [], 0, end
        if begun < len(data):
            message.append(part(one, begun, len(data)))
    if message:
        yield message


def part(series: S, begin: int, end: int) -> S:
    """The tasks of a series from index ``begin`` up to ``end``."""
    data = data_of(series)
    if begin == 0 and end == len(data):
        return series
    first = series.first + begin
    if isinstance(series, OutcomeSeries):
        seconds = series.seconds * (end - begin) / len(data)
        return series._replace(first=first, values=data[begin:end], seconds=seconds)
    return series._replace(first=first, payloads=data[begin:end])
