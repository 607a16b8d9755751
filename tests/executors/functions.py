"""What the behaviours call. The workers import it, and have nothing else in common with the caller: no folder, no memory."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any, NoReturn

marks: set[str] = set()
"""Calls of `mark` that this process has run."""


def give_back(value: Any) -> Any:
    return value


def named(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


def pause(seconds: float, value: Any = None) -> Any:
    """A little work."""
    time.sleep(seconds)
    return value


def add(first: int, second: int) -> int:
    return first + second


def mark(token: str) -> None:
    marks.add(token)


def pause_and_mark(token: str) -> None:
    time.sleep(0.1)
    marks.add(token)


def tell_marks(seconds: float) -> tuple[str, set[str]]:
    """Which process it is, and the marks that it has; it takes so long that the others get such a call too."""
    time.sleep(seconds)
    return f"{socket.gethostname()} {os.getpid()}", marks


class Refused(Exception):
    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


class Unsendable(Exception):
    """It holds what can't be pickled."""

    def __init__(self) -> None:
        super().__init__(threading.Lock())


class Unreadable(Exception):
    """It can be pickled, but not read again: its arguments are not handed on."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


def refuse(code: int) -> NoReturn:
    go_deeper(code)


def go_deeper(code: int) -> NoReturn:
    raise Refused(code, "we are closed")


def refuse_three(n: int) -> int:
    if n == 3:
        raise Refused(n, "not this one")
    return n


def pause_and_refuse(seconds: float) -> NoReturn:
    time.sleep(seconds)
    raise Refused(0, "after a while")


def leave(code: int) -> NoReturn:
    raise SystemExit(code)


def give_unsendable() -> Any:
    return threading.Lock()


def raise_unsendable() -> NoReturn:
    raise Unsendable


def raise_unreadable() -> NoReturn:
    raise Unreadable("the letter", "no stamp")
