"""What tasks were given and what they returned, as text. Nothing is unpickled: `dashboard.rest.values` reads plain data only."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from dashboard.page import words
from dashboard.rest import plain, values
from taskyard.model import Details, Result

LONGEST = 20_000
"""Characters of one value that are shown."""


class TaskText(NamedTuple):
    """What the page tells of a task."""

    details: Details
    """Without its payload and its value, which may be megabytes."""
    call: str
    result: str
    """Of one that is done."""
    traceback: str


def text_of(task: Details, call: str | None) -> TaskText:
    """A task as text; ``call``: what its call is known to be, None: its payload tells."""
    return TaskText(
        task._replace(payload=b"", value=b""),
        call_of(task) if call is None else call,
        result_of(task) if task.state == "done" else "",
        traceback_of(task),
    )


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
