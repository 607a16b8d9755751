"""Payloads and values as bytes: one letter for the form, then the data. The master passes them on unopened."""

from __future__ import annotations

import json
import pickle
import traceback
from collections.abc import Callable
from typing import Any

from taskyard.errors import RemoteTraceback, TaskFailed

JSON, PICKLE = b"j", b"p"
PLAIN = frozenset((int, float, bool, type(None), str, bytes))
"""Types whose values nobody can change, so that it makes no difference whether two calls are handed the same one."""
LINE_LENGTH = 300
SMALL_BYTES = 2000
"""A copy of what is smaller costs less than a view of it."""
Dumps = Callable[[Any], bytes]


def dumps(value: Any) -> bytes:
    """Pickle; what travels so can be read by any version of Python. Raises what pickle raises."""
    return pickle.dumps(value, protocol=5)


def dumps_by_value(value: Any) -> bytes:
    """Pickle, with code where need be: for programs of one Python version. Raises what cloudpickle raises."""
    try:
        return dumps(value)
    except Exception:
        import cloudpickle  # here, since the master's image has none

        pickled: bytes = cloudpickle.dumps(value, protocol=5)
        return pickled


def encode(value: Any, dumps: Dumps = dumps) -> bytes:
    """Any value that ``dumps`` takes, as bytes. Raises what that raises."""
    return PICKLE + dumps(value)


def encode_json(value: Any) -> bytes:
    """A value as JSON, for programs in other languages. Raises TypeError for what JSON can't hold."""
    return JSON + json.dumps(value, separators=(",", ":")).encode()


def decode(data: bytes) -> Any:
    """What `encode` or `encode_json` was given. Raises ValueError for an unknown form, else what pickle or json raise.

    Unpickling runs code that the sender chose: only holders of the cluster's key can send.
    """
    form = data[:1]
    if form == PICKLE:
        return pickle.loads(data[1:] if len(data) < SMALL_BYTES else memoryview(data)[1:])
    if form == JSON:
        return json.loads(data[1:])
    raise ValueError(f"unknown payload form {form!r}")


def encode_error(error: BaseException, stand_in: Exception | None = None, dumps: Dumps = dumps) -> bytes:
    """What a task raised, or ``stand_in`` for it, with its traceback's text.

    What can't be pickled, or would end the program that reads it (KeyboardInterrupt), travels as `TaskFailed`.
    """
    text = "".join(traceback.format_exception(error))
    try:
        pickled = dumps(stand_in or _harmless(error))
        pickle.loads(pickled)
    except Exception:
        pickled = dumps(TaskFailed(one_line(error)))
    return encode((pickled, text))


def _harmless(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else TaskFailed(one_line(error))


def one_line(error: BaseException) -> str:
    """An exception's name and text in one line of at most `LINE_LENGTH` characters, even if its ``__str__`` fails."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:
        text = type(error).__name__
    return " ".join(text.split())[:LINE_LENGTH]


def decode_error(value: bytes, cause: str) -> BaseException:
    """The exception of a failed result, its remote traceback as ``__cause__``; `TaskFailed` where the task raised none."""
    if not value:
        return TaskFailed(cause)
    try:
        pickled, text = decode(value)
        error = pickle.loads(pickled)
    except Exception as problem:
        return TaskFailed(f"{cause} (its exception can't be read here: {problem})")
    if not isinstance(error, BaseException):
        return TaskFailed(cause)
    # Not by assignment: a frozen dataclass refuses that.
    BaseException.__setattr__(error, "__cause__", RemoteTraceback(text))
    return error
