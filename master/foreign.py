"""Programs written against plain ``BaseManager``: the tutorial's two queues as they expect them.

Such a program shows no more of itself than its connection. An item that it took counts as dealt with once the same
connection asks for something again (a worker's ``put`` of the result does); when the connection dies before, the item
goes back. Whoever reads the result queue is its end: there an item is dealt with once it was sent.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from master.committer import ITEM, Committer
from master.hangups import Hangups
from master.keyring import Key
from taskyard import wire
from taskyard.errors import QueueFull

TYPES = {"get_task_queue": "task", "get_result_queue": "result"}
EXPOSED = ("put", "get", "qsize", "empty", "full", "put_nowait", "get_nowait")
FOREVER = 10 * 365 * 86400.0
FULL_PAUSE = 0.2
"""Seconds between tries to put into a full queue."""


class Program:
    """One of them, on its connection; ``is_valid`` tells whether the key that it has proved still is one."""

    def __init__(
        self, committer: Committer, hangups: Hangups, conn: wire.PlainConnection, key: Key, is_valid: Callable[[], bool]
    ) -> None:
        self.committer = committer
        self.hangups = hangups
        self.conn = conn
        self._key = key
        self._is_valid = is_valid

    @property
    def is_gone(self) -> bool:
        """Whether it has closed its connection, or may ask no more."""
        return self.conn.gone or not self._is_valid()

    def reply(self, ident: Any, method: Any, args: Any, kwds: Any) -> None:
        """Do one request and send the answer; raises OSError or EOFError when the connection is dead or the key not valid now."""
        took = False
        try:
            value = getattr(self._queue(ident, method), method)(*args, **kwds)
            took = method.startswith("get")
        except EOFError:
            raise
        except Exception as error:
            self.conn.send(("#ERROR", _plain_error(error)))
            return
        if took and self.conn.peer_is_gone():
            raise EOFError  # closing the connection gives the item back
        self.conn.send(("#RETURN", value))
        if took and ident == "result":
            self.committer.tell(partial(self.committer.engine.items.done_with, self.conn))

    def _queue(self, ident: Any, method: Any) -> _Queue:
        """Where it may call this method. Raises AttributeError, PermissionError, and EOFError when the key is no longer valid."""
        if not self._is_valid():
            raise EOFError
        if ident not in TYPES.values() or method not in EXPOSED:
            raise AttributeError(f"there is no {_shown(method)} of {_shown(ident)} here")
        verb = method.removesuffix("_nowait")
        if verb in ("get", "put") and not self._key.allows(f"{ident}.{verb}"):
            raise PermissionError(f"the {self._key.role} key does not allow {verb!r} of the {ident} queue")
        return _Queue(self, ident)


def _shown(name: Any) -> str:
    # What is no text may take for ever to print: a list that holds itself a million times.
    return f"{name!r:.100}" if isinstance(name, str) else type(name).__name__


def _plain_error(error: Exception) -> Exception:
    # The other side may not have taskyard installed.
    return (
        error if type(error).__module__ in ("builtins", "queue", "_queue") else RuntimeError(f"{type(error).__name__}: {error}")
    )


class _Queue:
    """The methods of `queue.Queue` that are exposed, for one program."""

    def __init__(self, program: Program, ident: str) -> None:
        self._program = program
        self._conn = program.conn
        self._hangups = program.hangups
        self._call = program.committer.call
        self._items = program.committer.engine.items
        self._ident = ident

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        deadline = monotonic() + (FOREVER if timeout is None else timeout)
        with self._hangups.watched(self._conn):
            while not self._program.is_gone:
                try:
                    self._call(partial(self._items.put, self._conn, self._ident, item))
                    return
                except QueueFull:
                    if not block or not monotonic() < deadline:
                        raise queue.Full from None
                threading.Event().wait(FULL_PAUSE)
        raise EOFError

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if timeout is not None and timeout < 0:
            raise ValueError("'timeout' must be a non-negative number")
        wait = 0.0 if not block else FOREVER if timeout is None else float(timeout)
        self._call(partial(self._items.done_with, self._conn))
        with self._hangups.watched(self._conn):
            item = self._call(partial(self._items.get, self._conn, self._ident), ITEM, wait, lambda: self._program.is_gone)
        if item is None:
            raise queue.Empty
        return wire.load(item.value)

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    def qsize(self) -> int:
        return int(self._call(partial(self._items.size, self._ident)))

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        return bool(self._call(partial(self._items.is_full, self._ident)))
