"""What tasks were given and what they returned, as JSON where it is plain data; else how much it is, and how to get it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from dashboard.rest import plain
from dashboard.rest.models import Opaque, ResultOut
from dashboard.rest.plain import Budget, NotPlain
from taskyard.calls import FUNCTION, MANY, RETRY_ON
from taskyard.codec import JSON, PICKLE
from taskyard.model import Result

HOW = "in Python: taskyard.Cluster(url).job('{job}').results()"
HOW_ARGUMENTS = "they were pickled by a Python program, and only workers unpickle them"
LONGEST_TEXT = 100_000
"""Characters of a traceback that are told, its last ones."""


def read(data: bytes, budget: Budget | None = None) -> Any:
    """A value as JSON holds it. Raises `NotPlain`. ``budget``, here and below: None for one of its own."""
    budget = budget or Budget()
    if data[:1] == JSON:
        return _json(data, budget)
    if data[:1] == PICKLE:
        return plain.to_json(plain.load(data[1:], budget), budget)
    raise NotPlain("neither JSON nor a pickle")


def _json(data: bytes, budget: Budget) -> Any:
    budget.read(data)
    try:
        return plain.to_json(json.loads(data[1:]), budget)
    except (ValueError, RecursionError):
        raise NotPlain("no JSON") from None


def value_of(data: bytes, how: str, budget: Budget | None = None) -> tuple[Any, Opaque | None]:
    """The value, or what is known of one that can't be told."""
    try:
        return read(data, budget), None
    except NotPlain as error:
        return None, Opaque(bytes=len(data), why=str(error), how=how)


def traceback_of(data: bytes, budget: Budget | None = None) -> str | None:
    """The text of what a task raised; None: it raised nothing, or nothing that can be read."""
    budget = budget or Budget()
    try:
        told = plain.load(data[1:], budget) if data[:1] == PICKLE else None
        if isinstance(told, tuple) and len(told) == 2 and isinstance(told[1], str):
            return budget.text(told[1][-LONGEST_TEXT:])
    except NotPlain:
        pass
    return None


def arguments_of(payload: bytes) -> tuple[Any, Opaque | None]:
    """``[args, kwargs]`` of a payload, or what is known of one that can't be told."""
    size = len(payload)
    if not payload:
        return None, None
    if payload[:1] == RETRY_ON:
        payload = payload.partition(b"\n")[2]
    if payload[:1] == FUNCTION:
        return None, Opaque(bytes=size, why="a function by value", how=HOW_ARGUMENTS)
    if payload[:1] == MANY:
        return None, Opaque(bytes=size, why="many calls in one task", how=HOW_ARGUMENTS)
    return value_of(payload, HOW_ARGUMENTS)


def results_out(results: Iterable[Result], job: str) -> list[ResultOut]:
    """Results as they are told, at least one; the rest is left for another page once these have taken a result's budget."""
    told: list[ResultOut] = []
    left = plain.MOST
    for result in results:
        budget = Budget()
        told.append(result_out(result, job, budget))
        left -= plain.MOST - budget.left
        if left < 0:
            break
    return told


def result_out(result: Result, job: str, budget: Budget | None = None) -> ResultOut:
    """A result as it is told."""
    budget = budget or Budget()
    told = ResultOut(cursor=result.cursor, id=result.id, state=result.state, attempts=result.attempts, cause=result.cause or None)
    if result.state == "done":
        how = HOW.format(job=job)
        if result.value[:1] == MANY:
            told.calls, told.opaque = _calls_of(result.value, how, budget)
        else:
            told.value, told.opaque = value_of(result.value, how, budget)
    else:
        told.traceback = traceback_of(result.value, budget)
    return told


def _calls_of(data: bytes, how: str, budget: Budget) -> tuple[list[Any] | None, Opaque | None]:
    """The values of many calls in one task; it is told as a whole or not at all."""
    try:
        _, ends, *is_plain = plain.load(data[1:], budget)
        if is_plain:
            return plain.to_json(ends, budget), None
        return [_end_of(returned, value, budget) for returned, value in ends], None
    except (NotPlain, TypeError, ValueError) as error:
        return None, Opaque(bytes=len(data), why=str(error), how=how)


def _end_of(returned: bool, value: Any, budget: Budget) -> Any:
    # The calls share the budget, since one value may stand there for any number of them.
    if type(value) is not bytes:
        raise NotPlain("no pickle")
    told = read(value, budget) if returned else {"traceback": traceback_of(value, budget)}
    budget.spend()  # raises also where a traceback was left out because there was nothing left
    return told
