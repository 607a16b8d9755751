"""What a failed attempt leads to, and what the queue refuses: pure functions of the contract."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from taskyard.errors import BadRequest, PayloadTooLarge
from taskyard.model import BACKOFF_LIMIT, BY_CAUSE, RETRIES_AFTER_DEATH, Outcome, Task

WITH_THE_SLOT_ALIVE = ("exception", "unknown task", "cancelled")
LONGEST_NAME = 200
KINDS = ("done", "failed", "released")


def may_retry(retries: int, attempts: int, cause: str) -> bool:
    """Whether another attempt follows, after ``attempts`` failed ones of which the last had this cause."""
    if retries == BY_CAUSE:
        retries = 0 if cause.startswith(WITH_THE_SLOT_ALIVE) else RETRIES_AFTER_DEATH
    return attempts <= retries


def pause_before_retry(backoff: float, attempts: int) -> float:
    """Seconds until the next attempt: doubled for each failed one, bounded, with up to a tenth of jitter."""
    return float(min(backoff * 2.0 ** min(attempts - 1, 60), BACKOFF_LIMIT) * random.uniform(0.9, 1.1))


def read_tasks(rows: Any, payload_limit: int) -> list[Task]:
    """Tasks from the wire. Raises `BadRequest` or `PayloadTooLarge` that names the first wrong one."""
    tasks = [_made(Task, row) for row in _list(rows)]
    for task in tasks:
        wrong = (
            _wrong_name(task.id, "id")
            or _wrong_name(task.job, "job")
            or _wrong_name(task.name, "name")
            or (not isinstance(task.payload, bytes) and "payload must be bytes")
            or _wrong_int(task.priority, "priority")
            or _wrong_int(task.retries, "retries")
            or _wrong_seconds(task.delay, "delay")
            or _wrong_seconds(task.backoff, "backoff")
            or _wrong_seconds(task.time_limit, "time_limit")
            or _wrong_seconds(task.result_ttl, "result_ttl")
        )
        if wrong:
            raise BadRequest(f"task {str(task.id)[:LONGEST_NAME]!r}: {wrong}")
        _check_size(task.id, task.payload, payload_limit)
    return tasks


def read_outcomes(rows: Any, payload_limit: int) -> list[Outcome]:
    """Outcomes from the wire. Raises `BadRequest` or `PayloadTooLarge` that names the first wrong one."""
    outcomes = [_made(Outcome, row) for row in _list(rows)]
    for outcome in outcomes:
        if (
            not isinstance(outcome.id, str)
            or type(outcome.token) is not int
            or outcome.kind not in KINDS
            or not isinstance(outcome.value, bytes)
            or not _is_text(outcome.cause)
            or type(outcome.delay) not in (int, float)
            or not math.isfinite(outcome.delay)
        ):
            raise BadRequest(f"outcome of task {str(outcome.id)[:LONGEST_NAME]!r} has fields that make no sense")
        _check_size(outcome.id, outcome.value, payload_limit)
    return outcomes


def read_names(names: Any, what: str) -> list[str]:
    """A list of ids or names from the wire. Raises `BadRequest`."""
    if not all(map(_is_text, _list(names))):
        raise BadRequest(f"{what} must be text")
    return list(names)


def read_int(value: Any, what: str, least: int = 0) -> int:
    """A whole number from the wire. Raises `BadRequest`."""
    if type(value) is not int or not least <= value < 2**63:
        raise BadRequest(f"{what} must be a whole number from {least}, not {value!r}")
    return value


def _made(kind: Any, row: Any) -> Any:
    try:
        return kind(*row)
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


def _wrong_name(value: Any, what: str) -> str:
    if _is_text(value) and 0 < len(value) <= LONGEST_NAME:
        return ""
    return f"{what} must be text of 1 to {LONGEST_NAME} characters"


def _wrong_int(value: Any, what: str) -> str:
    return "" if type(value) is int and -(2**31) <= value < 2**31 else f"{what} must be a whole number of 32 bits"


def _wrong_seconds(value: Any, what: str) -> str:
    return "" if type(value) in (int, float) and 0 <= value < 1e10 else f"{what} must be seconds, zero or more"


def _check_size(task_id: str, data: bytes, limit: int) -> None:
    if len(data) > limit:
        raise PayloadTooLarge(
            f"task {task_id}: {len(data):,} bytes are over the bound of {limit:,} (MASTER_PAYLOAD_LIMIT);"
            " keep big data in a file or a store and pass its address"
        )
