"""What a payload says: which call to make, or which calls. Clients pack it, slots unpack it, the master never looks.

An envelope is one letter and its content, and envelopes lie within each other, in this order from the outside:

``r``  names of exceptions, a line feed, a payload: attempts that raise another exception are final
``f``  a Python version, a line feed, a pickled pair: a function by value, and the payload with its arguments
``m``  a pickled list of payloads: many calls in one task; or, where all arguments are plain (`taskyard.codec.PLAIN`), a
       pickled tuple of their columns. Its value is ``m`` too (see `pack_outcomes`, `pack_values`)
``p`` ``j``  the arguments ``(args, kwargs)`` of one call (see `taskyard.codec`)
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from taskyard.codec import encode
from taskyard.errors import TaskyardError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Byte code is understood by this minor version of Python only."""
FUNCTIONS = "function@"
"""Followed by a Python version: the task name under which functions by value are leased, so that only workers get them
that can read them."""
BY_VALUE = FUNCTIONS + PYTHON
"""That name, for this program's Python."""
RETRY_ON, FUNCTION, MANY = b"r", b"f", b"m"


class Call(NamedTuple):
    """An unpacked payload. Nothing of it is unpickled yet but the envelopes' own plain data."""

    retry_on: tuple[str, ...] | None
    """Names of exceptions after which another attempt may follow; None: not said."""
    function: bytes
    """A function by value, pickled; empty: it is called by the task's name."""
    payloads: list[Any]
    """Arguments of each call, encoded; or, where all are plain, as they are."""
    many: bool
    """Whether the value is to be one of `pack_outcomes`."""


OneOutcome = tuple[bool, bytes]
"""Of one call among many: whether it returned, and its encoded value or exception."""


def pack_retry_on(names: Sequence[str], payload: bytes) -> bytes:
    """Put the names of the exceptions worth another attempt around a payload."""
    return RETRY_ON + " ".join(names).encode() + b"\n" + payload


def pack_function(pickled: bytes, payload: bytes) -> bytes:
    """Put a pickled function around the payload with its arguments."""
    return FUNCTION + PYTHON.encode() + b"\n" + pickle.dumps((pickled, payload), protocol=5)


def pack_many(payloads: list[bytes]) -> bytes:
    """Many calls of one function as one payload."""
    return MANY + pickle.dumps(payloads, protocol=5)


def pack_plain(arguments: Sequence[tuple[Any, ...]]) -> bytes:
    """Many calls of one function with the same number of plain arguments, at least one, as one payload."""
    columns = tuple(list(map(itemgetter(index), arguments)) for index in range(len(arguments[0])))
    return MANY + pickle.dumps(columns, protocol=5)


def pack_outcomes(seconds: float, outcomes: list[OneOutcome]) -> bytes:
    """The value of many calls: how long they took together, and what became of each, in their order."""
    return MANY + pickle.dumps((seconds, outcomes), protocol=5)


def pack_values(seconds: float, values: list[Any]) -> bytes:
    """The same where all calls have returned, and what they have returned is plain."""
    return MANY + pickle.dumps((seconds, values, True), protocol=5)


def unpack_values(value: bytes) -> tuple[float, list[Any], bool]:
    """The value of many calls: their seconds, and whether what stands between are values (`pack_values`) or outcomes."""
    seconds, ends, *is_plain = pickle.loads(memoryview(value)[1:])
    return seconds, ends, bool(is_plain)


def unpack_outcomes(value: bytes) -> tuple[float, list[OneOutcome]]:
    """What `pack_outcomes` was given, or what it would have been given for `pack_values`."""
    seconds, ends, is_plain = unpack_values(value)
    return seconds, as_outcomes(ends) if is_plain else ends


def as_outcomes(values: Sequence[Any]) -> list[OneOutcome]:
    """Of calls that have returned these values."""
    return [(True, encode(value)) for value in values]


def unpack(payload: bytes) -> Call:
    """Take a payload apart. Raises `TaskyardError` for a function of another Python version, before it is unpickled."""
    retry_on: tuple[str, ...] | None = None
    function = b""
    if payload[:1] == RETRY_ON:
        names, _, payload = payload[1:].partition(b"\n")
        retry_on = tuple(names.decode().split())
    if payload[:1] == FUNCTION:
        version, _, content = payload[1:].partition(b"\n")
        if version.decode() != PYTHON:
            raise TaskyardError(f"a function of Python {version.decode()} can't run on Python {PYTHON}")
        function, payload = pickle.loads(content)
    if payload[:1] == MANY:
        many = pickle.loads(memoryview(payload)[1:])
        return Call(retry_on, function, list(zip(*many, strict=True)) if isinstance(many, tuple) else many, True)
    return Call(retry_on, function, [payload], False)


def names_of(kinds: Sequence[type[BaseException]]) -> tuple[str, ...]:
    """Exception classes as names: ``OSError``, ``app.tasks.Refused``."""
    return tuple(map(_name_of, kinds))


def is_one_of(error: BaseException, names: Sequence[str]) -> bool:
    """Whether an exception is of one of these classes, or of a class derived from one."""
    return any(_name_of(kind) in names for kind in type(error).__mro__)


def _name_of(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
