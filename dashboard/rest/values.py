"""What tasks were given and what they returned, as JSON where it is plain data; else how much it is, and how to get it."""

from __future__ import annotations

import json
from typing import Any

from dashboard.rest import plain
from dashboard.rest.models import Opaque, ResultOut
from dashboard.rest.plain import NotPlain
from taskyard.calls import FUNCTION, MANY, RETRY_ON
from taskyard.codec import JSON, PICKLE
from taskyard.model import Result

HOW = "in Python: taskyard.Cluster(url).job('{job}').results()"
HOW_ARGUMENTS = "they were pickled by a Python program, and only workers unpickle them"
LONGEST_TEXT = 100_000
"""Characters of a traceback that are told, its last ones."""


def read(data: bytes) -> Any:
    """A value as JSON holds it. Raises `NotPlain`."""
    if data[:1] == JSON:
        return _json(data)
    if data[:1] == PICKLE:
        return plain.to_json(plain.load(data[1:]))
    raise NotPlain("neither JSON nor a pickle")


def _json(data: bytes) -> Any:
    if len(data) > plain.LONGEST:
        raise NotPlain("too long")
    try:
        return plain.to_json(json.loads(data[1:]))
    except (ValueError, RecursionError):
        raise NotPlain("no JSON") from None


def value_of(data: bytes, how: str) -> tuple[Any, Opaque | None]:
    """The value, or what is known of one that can't be told."""
    try:
        return read(data), None
    except NotPlain as error:
        return None, Opaque(bytes=len(data), why=str(error), how=how)


def traceback_of(data: bytes) -> str | None:
    """The text of what a task raised; None: it raised nothing, or nothing that can be read."""
    try:
        told = plain.load(data[1:]) if data[:1] == PICKLE else None
    except NotPlain:
        return None
    if isinstance(told, tuple) and len(told) == 2 and isinstance(told[1], str):
        return told[1][-LONGEST_TEXT:]
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


def result_out(result: Result, job: str) -> ResultOut:
    """A result as it is told."""
    told = ResultOut(cursor=result.cursor, id=result.id, state=result.state, attempts=result.attempts, cause=result.cause or None)
    if result.state == "done":
        how = HOW.format(job=job)
        if result.value[:1] == MANY:
            told.calls, told.opaque = _calls_of(result.value, how)
        else:
            told.value, told.opaque = value_of(result.value, how)
    else:
        told.traceback = traceback_of(result.value)
    return told


def _calls_of(data: bytes, how: str) -> tuple[list[Any] | None, Opaque | None]:
    """The values of many calls in one task; it is told as a whole or not at all."""
    try:
        _, ends, *is_plain = plain.load(data[1:])
        if is_plain:
            return plain.to_json(ends), None
        return [read(value) if returned else {"traceback": traceback_of(value)} for returned, value in ends], None
    except (NotPlain, TypeError, ValueError) as error:
        return None, Opaque(bytes=len(data), why=str(error), how=how)
