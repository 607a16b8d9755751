"""What a failed attempt leads to, and what the queue refuses: pure functions of the contract."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from taskyard.errors import BadRequest, PayloadTooLarge, SettingsError
from taskyard.model import BACKOFF_LIMIT, BY_CAUSE, MISSED, RETRIES_AFTER_DEATH, Schedule
from taskyard.moments import check
from taskyard.series import LARGEST_NUMBER, NOT_NUMBERED, OutcomeSeries, TaskSeries, join_id, split_id

WITH_THE_SLOT_ALIVE = ("exception", "unknown task", "expired", "cancelled")
LONGEST_NAME = 200
LONGEST_CAUSE = 10_000
"""Characters of a cause that are kept; what a task raised may say more."""
KINDS = ("done", "failed", "released")
LONGEST_NOTE = 200
"""Characters of what a task notes of its progress."""
MOST_TOLD = 10_000
"""Tasks whose progress, or periodic tasks, one heartbeat tells of."""
LONGEST_SCHEDULE = 150
"""Characters of a periodic task's name: the ids of its tasks are longer."""


def may_retry(retries: int, attempts: int, cause: str) -> bool:
    """Whether another attempt follows, after ``attempts`` failed ones of which the last had this cause."""
    if retries == BY_CAUSE:
        retries = 0 if cause.startswith(WITH_THE_SLOT_ALIVE) else RETRIES_AFTER_DEATH
    return attempts <= retries


def pause_before_retry(backoff: float, attempts: int) -> float:
    """Seconds until the next attempt: doubled for each failed one, bounded, with up to a tenth of jitter."""
    return float(min(backoff * 2.0 ** min(attempts - 1, 60), BACKOFF_LIMIT) * random.uniform(0.9, 1.1))


def read_tasks(rows: Any, payload_limit: int) -> list[TaskSeries]:
    """Tasks in series from the wire. Raises `BadRequest` or `PayloadTooLarge` that names the first wrong one."""
    tasks: list[TaskSeries] = _made(TaskSeries, rows)
    for index, one in enumerate(tasks):
        wrong = (
            _wrong_series(one.prefix, one.first, one.payloads, "payload")
            or _wrong_name(one.job, "job")
            or _wrong_name(one.name, "name")
            or _wrong_seconds(one.delay, "delay")
            or _wrong_options(one)
        )
        if wrong:
            raise BadRequest(f"task {_shown(one.prefix, one.first)}: {wrong}")
        _check_sizes(one.prefix, one.first, one.payloads, payload_limit)
        if one.first == NOT_NUMBERED:  # its id may have a number all the same
            prefix, first = split_id(one.prefix)
            tasks[index] = one._replace(prefix=prefix, first=first)
    return tasks


def read_outcomes(rows: Any, payload_limit: int) -> list[OutcomeSeries]:
    """Outcomes in series from the wire. Raises `BadRequest` or `PayloadTooLarge` that names the first wrong one."""
    outcomes: list[OutcomeSeries] = _made(OutcomeSeries, rows)
    for index, one in enumerate(outcomes):
        if (
            _wrong_series(one.prefix, one.first, one.values, "value")
            or type(one.token) is not int
            or one.kind not in KINDS
            or not isinstance(one.cause, str)
            or type(one.delay) not in (int, float)
            or not -1e10 < one.delay < 1e10
            or type(one.final) is not bool
            or type(one.seconds) not in (int, float)
            or not 0 <= one.seconds < 1e10
        ):
            raise BadRequest(f"outcome of task {_shown(one.prefix, one.first)} has fields that make no sense")
        _check_sizes(one.prefix, one.first, one.values, payload_limit)
        if len(one.cause) > LONGEST_CAUSE or not _is_text(one.cause):
            # A cause quotes what a task raised, which may be anything: no reason to refuse the outcome.
            cause = one.cause[:LONGEST_CAUSE].encode(errors="backslashreplace").decode()[:LONGEST_CAUSE]
            one = one._replace(cause=cause)
        prefix, first = split_id(one.prefix) if one.first == NOT_NUMBERED else one[:2]
        outcomes[index] = one._replace(prefix=prefix, first=first)
    return outcomes


def read_names(names: Any, what: str) -> list[str]:
    """A list of ids or names from the wire. Raises `BadRequest`."""
    if not all(map(_is_text, _list(names))):
        raise BadRequest(f"{what} must be text")
    return list(names)


def read_text(value: Any, what: str) -> str:
    """An id or a name from the wire. Raises `BadRequest`."""
    if not _is_text(value):
        raise BadRequest(f"{what} must be text")
    return str(value)


def read_seconds(value: Any, what: str) -> float:
    """Seconds from the wire. Raises `BadRequest`."""
    if type(value) not in (int, float) or not 0 <= value < 1e12:
        raise BadRequest(f"{what} must be seconds, zero or more")
    return float(value)


def read_switch(value: Any, what: str) -> bool:
    """True or false from the wire. Raises `BadRequest`."""
    if type(value) is not bool:
        raise BadRequest(f"{what} must be true or false")
    return value


def read_int(value: Any, what: str, least: int = 0) -> int:
    """A whole number from the wire. Raises `BadRequest`."""
    if type(value) is not int or not least <= value < 2**63:
        raise BadRequest(f"{what} must be a whole number from {least}")
    return value


def read_info(info: Any, payload_limit: int) -> dict[str, Any]:
    """What a worker tells of itself, without what nobody knows. Raises `BadRequest` or `PayloadTooLarge`."""
    if not isinstance(info, dict):
        raise BadRequest("a heartbeat's info must be a dict")
    host, python, draining = info.get("host", ""), info.get("python", ""), info.get("draining", False)
    if not _is_text(host) or len(host) > 1000 or type(draining) is not bool:
        raise BadRequest("a heartbeat's host must be text, its draining true or false")
    version, cpu = info.get("version", ""), info.get("cpu", 0.0)
    if not all(_is_text(text) and len(text) <= LONGEST_NAME for text in (python, version)):
        raise BadRequest("a heartbeat's python and version must be versions, as text")
    if type(cpu) not in (int, float) or not 0 <= cpu < 1e6:
        raise BadRequest("a heartbeat's cpu must be a number of processors")
    return {
        "host": host,
        "slots": read_int(info.get("slots", 0), "slots"),
        "busy": read_int(info.get("busy", 0), "busy"),
        "tasks": read_names(info.get("tasks", ()), "tasks"),
        "draining": draining,
        "python": python,
        "version": version,
        "pid": read_int(info.get("pid", 0), "pid"),
        "cpu": float(cpu),
        "memory": read_int(info.get("memory", 0), "memory"),
        "started": read_seconds(info.get("started", 0.0), "started"),
        "schedules": read_schedules(info.get("schedules", ()), payload_limit),
        "progress": _read_progress(info.get("progress", {})),
    }


def read_schedules(rows: Any, payload_limit: int) -> list[Schedule]:
    """Periodic tasks from the wire. Raises `BadRequest` or `PayloadTooLarge` that names the first wrong one."""
    if len(_list(rows)) > MOST_TOLD:
        raise BadRequest(f"a heartbeat tells of at most {MOST_TOLD:,} periodic tasks")
    schedules: list[Schedule] = _made(Schedule, rows)
    for schedule in schedules:
        wrong = (
            _wrong_name(schedule.name, "name", LONGEST_SCHEDULE)
            or _wrong_name(schedule.spec, "spec")
            or _wrong_name(schedule.timezone, "timezone")
            or (schedule.missed not in MISSED and f"missed must be one of {', '.join(MISSED)}")
            or (not isinstance(schedule.payload, bytes) and "payload must be bytes")
            or _wrong_options(schedule)
            or _wrong_rhythm(schedule.spec, schedule.timezone)
        )
        if wrong:
            raise BadRequest(f"periodic task {_shown(schedule.name)}: {wrong}")
        _check_sizes(schedule.name, NOT_NUMBERED, [schedule.payload], payload_limit)
    return schedules


@lru_cache(maxsize=MOST_TOLD)
def _wrong_rhythm(spec: str, timezone: str) -> str:
    # Kept, since workers announce the same ones with each heartbeat.
    try:
        check(spec, timezone)
    except SettingsError as error:
        return str(error)
    return ""


def _read_progress(progress: Any) -> dict[str, tuple[float, float, str]]:
    if not isinstance(progress, dict) or len(progress) > MOST_TOLD:
        raise BadRequest(f"a heartbeat's progress must be a dict of at most {MOST_TOLD:,} tasks")
    for task_id, told in progress.items():
        if (
            not _is_text(task_id)
            or not isinstance(told, list | tuple)
            or len(told) != 3
            or not all(type(number) in (int, float) and -1e300 < number < 1e300 for number in told[:2])
            or not _is_text(told[2])
            or len(told[2]) > LONGEST_NOTE
        ):
            raise BadRequest(f"progress of task {_shown(task_id)} must be two numbers and a note of {LONGEST_NOTE} characters")
    return {task_id: (float(done), float(total), note) for task_id, (done, total, note) in progress.items()}


def _shown(name: Any, number: Any = NOT_NUMBERED) -> str:
    # What is no text may be long to print: a number of any size, a list that holds itself a million times.
    if not isinstance(name, str):
        return f"without an id (it is a {type(name).__name__})"
    return repr(join_id(name[:LONGEST_NAME], number if type(number) is int and number < LARGEST_NUMBER else NOT_NUMBERED))


def _made(kind: Any, rows: Any) -> Any:
    try:
        return [kind(*row) for row in _list(rows)]
    except TypeError:
        raise BadRequest(f"{kind.__name__.lower()} must be a tuple of {', '.join(kind._fields)}") from None


def _list(rows: Any) -> Sequence[Any]:
    if not isinstance(rows, list | tuple):
        raise BadRequest("a batch must be a list")
    return rows


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:  # a lone surrogate: no database takes it
        return False


def _wrong_name(value: Any, what: str, longest: int = LONGEST_NAME) -> str:
    if isinstance(value, str) and 0 < len(value) <= longest and (value.isascii() or _is_text(value)):
        return ""
    return f"{what} must be text of 1 to {longest} characters"


def _wrong_options(task: TaskSeries | Schedule) -> str:
    return (
        _wrong_int(task.priority, "priority")
        or _wrong_int(task.retries, "retries")
        or _wrong_seconds(task.backoff, "backoff")
        or _wrong_seconds(task.time_limit, "time_limit")
        or _wrong_seconds(task.result_ttl, "result_ttl")
        or _wrong_seconds(task.expiry, "expiry")
    )


def _wrong_int(value: Any, what: str) -> str:
    return "" if type(value) is int and -(2**31) <= value < 2**31 else f"{what} must be a whole number of 32 bits"


def _wrong_seconds(value: Any, what: str) -> str:
    return "" if type(value) in (int, float) and 0 <= value < 1e10 else f"{what} must be seconds, zero or more"


def _wrong_series(prefix: Any, first: Any, data: Any, what: str) -> str:
    if type(first) is not int or not isinstance(data, list | tuple) or not data:
        return f"a series is text, a whole number and a list of {what}s"
    if not NOT_NUMBERED <= first <= LARGEST_NUMBER - len(data) or (first == NOT_NUMBERED and len(data) != 1):
        return f"a series has numbers from 0 up to {LARGEST_NUMBER}, or none and one {what}"
    if not isinstance(prefix, str) or _wrong_name(join_id(prefix, first + len(data) - 1 if first >= 0 else first), "id"):
        return _wrong_name(None, "id")
    return "" if set(map(type, data)) == {bytes} else f"{what} must be bytes"


def _check_sizes(prefix: str, first: int, data: Sequence[bytes], limit: int) -> None:
    size = max(map(len, data))
    if size > limit:
        number = first + [len(one) for one in data].index(size) if first >= 0 else first
        raise PayloadTooLarge(
            f"task {join_id(prefix, number)[:LONGEST_NAME]}: {size:,} bytes are over the bound of {limit:,}"
            " (MASTER_PAYLOAD_LIMIT); keep big data in a file or a store and pass its address"
        )
