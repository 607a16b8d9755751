"""An event loop for systems whose clients are coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
AT_ONCE = 100
"""Calls that a client makes at the same time."""


class Loop:
    """Runs coroutines to their end, until it is closed."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What it returns."""
        return self._loop.run_until_complete(coroutine)

    def close(self) -> None:
        """There are no more."""
        self._loop.close()


async def ask(count: int, one: Callable[[int], Awaitable[T]]) -> list[T]:
    """What ``one`` gives for 0, 1, ..., up to ``count``, `AT_ONCE` at a time."""
    given: list[T] = []
    for first in range(0, count, AT_ONCE):
        given += await asyncio.gather(*(one(n) for n in range(first, min(first + AT_ONCE, count))))
    return given
