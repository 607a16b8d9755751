"""Reads what workers pickle, without an unpickler: plain data only, so that nothing is imported, called or hashed.

An unpickler with no globals would still hash what a worker chose for a dict's key, and that can take for ever.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any

LONGEST = 1024 * 1024
"""Bytes that are read; a longer value stays as it is."""
DEEPEST = 100
MOST = 300_000
"""Steps that the values of one result may take, of all its calls together: a few bytes can stand for a million values. A step is
a word of a pickle, or a value of JSON."""
TEXT_STEP = 16
"""Characters of text that are told for a step."""
READ_STEP = 64
"""Bytes that are read for a step."""
MOST_BITS = 1024
"""Of a whole number; longer ones are no numbers to most readers of JSON."""

PUSHES = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
    "SHORT_BINBYTES", "BINBYTES", "BINBYTES8",
}  # fmt: skip
CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_TUPLE": tuple,
}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
MARK = object()


class NotPlain(Exception):
    """The bytes hold something else than plain data, or too much of it."""


class Budget:
    """What reading and telling may take; shared by all that must not take more together."""

    def __init__(self, steps: int = MOST) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Raises `NotPlain` once there is nothing left."""
        self.left -= steps
        if self.left < 0:
            raise NotPlain("too deep, or too much")

    def read(self, data: bytes) -> None:
        """Spend what it takes to read these bytes once. Raises `NotPlain`, also for those that are too long by themselves."""
        if len(data) > LONGEST:
            raise NotPlain("too long")
        self.spend(1 + len(data) // READ_STEP)

    def text(self, text: str) -> str:
        """The same text, paid for: it may stand in many places, for two bytes each. Raises `NotPlain`."""
        self.spend(len(text) // TEXT_STEP)
        return text


def load(data: bytes, budget: Budget | None = None) -> Any:
    """Numbers, text, bytes, None, lists, tuples, and dicts with text for keys, from their pickle. Raises `NotPlain`.

    ``budget``: None for one of its own.
    """
    budget = budget or Budget()
    budget.read(data)
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            budget.spend()
            if opcode.name == "STOP":
                break
            machine.run(opcode.name, argument)
        (value,) = machine.stack
    except NotPlain:
        raise
    except Exception as error:  # bytes that are no pickle make of themselves what they like
        raise NotPlain("no pickle") from error
    if value is MARK:
        raise NotPlain("no pickle")
    return value


class _Machine:
    """A pickle is a program for a stack and a memory; this runs the few words of it that plain data needs."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in PUSHES:
            stack.append(argument)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name]())
        elif name == "MARK":
            stack.append(MARK)
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in TUPLES:
            count = TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            items = self._marked()
            stack.append(tuple(items))
        elif name in ("APPEND", "APPENDS"):
            items = self._marked() if name == "APPENDS" else [stack.pop()]
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self._marked() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _set(_expect(stack[-1], dict), items)
        elif name not in ("PROTO", "FRAME"):
            raise NotPlain(f"it asks for {name}")

    def _marked(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not MARK:
            at -= 1
            if at < 0:
                raise NotPlain("no pickle")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise NotPlain("no pickle")
    return value


def _set(made: dict[str, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) is not str:
            raise NotPlain("a dict has keys that are no text")
        made[key] = value


def to_json(value: Any, budget: Budget | None = None) -> Any:
    """The same as JSON holds it, a tuple as a list. Raises `NotPlain` for bytes, for a number that JSON has no word for, and
    for what is too deep or too much. ``budget``: None for one of its own.
    """
    return _to_json(value, DEEPEST, budget or Budget())


def _to_json(value: Any, depth: int, budget: Budget) -> Any:
    budget.spend()
    if not depth:
        raise NotPlain("too deep, or too much")
    kind = type(value)
    if kind is str:
        return budget.text(value)
    if value is None or kind is bool:
        return value
    if kind is int and value.bit_length() <= MOST_BITS:
        return value
    if kind is float and math.isfinite(value):
        return value
    if kind in (list, tuple):
        return [_to_json(one, depth - 1, budget) for one in value]
    if kind is dict and all(type(key) is str for key in value):
        return {budget.text(key): _to_json(one, depth - 1, budget) for key, one in value.items()}
    raise NotPlain(f"a {kind.__name__} that JSON can't hold")
