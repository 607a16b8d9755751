"""What tasks were given and what they returned, as text. Nothing is unpickled: `dashboard.rest.values` reads plain data only."""

from __future__ import annotations

import json
from typing import Any

from dashboard.page import words
from dashboard.rest import plain, values
from dashboard.rest.plain import NotPlain
from taskyard.model import Details, Result

LONGEST = 20_000
"""Characters of one value that are shown."""


def shown(value: bytes) -> str:
    """An encoded value as text; of what is no plain data, how big it is."""
    try:
        return _text(values.read(value))
    except NotPlain as error:
        return f"{words.size(len(value))}, not shown: {error}"


def call_of(task: Details) -> str:
    """The call that a task stands for, as it would be written; empty where its arguments are not kept any more."""
    if not task.payload:
        return ""
    told, opaque = values.arguments_of(task.payload)
    if opaque is not None or not _is_call(told):
        return f"{words.size(len(task.payload))}, not shown: {opaque.why if opaque else 'no arguments of a call'}"
    args, kwargs = told
    given = [*map(_literal, args), *(f"{name}={_literal(value)}" for name, value in kwargs.items())]
    return _cut(f"{task.name}({', '.join(given)})")


def result_of(task: Details) -> str:
    """What a task that is done has returned."""
    told = values.result_out(Result(0, task.id, "done", task.value, "", task.attempts), task.job)
    if told.opaque is not None:
        return f"{words.size(told.opaque.bytes)}, not shown: {told.opaque.why}. To have it, {told.opaque.how}"
    return _text(told.calls if told.calls is not None else told.value)


def traceback_of(task: Details) -> str:
    """The traceback of one that has failed; empty: there is none."""
    return _cut(values.traceback_of(task.value) or "") if task.value else ""


def _is_call(told: Any) -> bool:
    return isinstance(told, list) and len(told) == 2 and isinstance(told[0], list) and isinstance(told[1], dict)


def _literal(value: Any) -> str:
    return repr(value)


def _text(value: Any) -> str:
    return _cut(value if isinstance(value, str) else json.dumps(plain.to_json(value), indent=2, ensure_ascii=False))


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n… and {len(text) - LONGEST:,} characters more"
