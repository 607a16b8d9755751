"""Calls to the queue that never hold up the event loop: some connections, each used by one thread at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from taskyard.errors import Unreachable
from taskyard.transport import RemoteQueue

T = TypeVar("T")
PATIENCE = 3.0
"""Seconds that a call may go without a master before it raises `Unreachable`."""
ANSWER_SECONDS = 15.0
"""That a call may take in all; a master that is frozen keeps its connections, and says nothing."""
PROBE_SECONDS = 5.0
"""The same for those who ask every few seconds, and would rather hear that it takes long."""
WAITING = 100
"""Calls that may wait for a connection."""


class Connections:
    """Up to ``size`` connections to the queue of ``queue``, made when they are needed."""

    def __init__(self, queue: RemoteQueue, size: int, name: str = "dashboard") -> None:
        self.size = size
        self.closed = False
        self._first = queue
        self._name = name
        self._threads = ThreadPoolExecutor(size, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._idle: list[RemoteQueue] = []
        self._all: set[RemoteQueue] = set()
        self._under_way = 0

    async def call(self, ask: Callable[[RemoteQueue], T], seconds: float = ANSWER_SECONDS) -> T:
        """What ``ask`` returns for one of the connections. Raises what it raises; `Unreachable` also when it takes longer than
        ``seconds``, when too many wait already, and once `close` was called.
        """
        if self.closed:
            raise Unreachable("the dashboard is stopping")
        if self._under_way >= self.size + WAITING:
            raise Unreachable("too many requests wait for the queue already")
        self._under_way += 1
        try:
            asked = asyncio.get_running_loop().run_in_executor(self._threads, self._ask, ask)
        except RuntimeError:  # closed just now
            self._under_way -= 1
            raise Unreachable("the dashboard is stopping") from None
        asked.add_done_callback(self._ended)
        done, _ = await asyncio.wait([asked], timeout=seconds)
        if not done:
            raise Unreachable(f"the queue has not answered within {seconds:g} s")
        if asked.cancelled():
            raise Unreachable("the dashboard is stopping")
        return asked.result()

    def _ended(self, asked: asyncio.Future[T]) -> None:
        self._under_way -= 1
        if not asked.cancelled():
            asked.exception()  # seen, also where nobody waits any more

    def _ask(self, ask: Callable[[RemoteQueue], T]) -> T:
        queue = self._take()
        try:
            return ask(queue)
        finally:
            with self._lock:
                self._idle.append(queue)

    def _take(self) -> RemoteQueue:
        with self._lock:
            if self.closed:
                raise Unreachable("the dashboard is stopping")
            if self._idle:
                return self._idle.pop()
            queue = self._first.another(PATIENCE, self._name)
            self._all.add(queue)
            return queue

    def close(self) -> None:
        """End every connection; calls that are under way raise `Unreachable`."""
        with self._lock:
            self.closed = True
            ended = list(self._all)
        for queue in ended:
            queue.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
