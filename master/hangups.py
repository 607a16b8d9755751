"""Notices at once when a client goes away while the master has nothing to say to it."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from taskyard import wire
from taskyard.bell import Bell


class Hangups:
    """One thread for all connections whose own threads wait for something else than their client.

    ``tell`` is called with each connection that its client has closed, or whose client was killed, while it is `watched`.
    """

    def __init__(self, tell: Callable[[wire.PlainConnection], None]) -> None:
        self._tell = tell
        self._bell = Bell()
        self._epoll = select.epoll()
        self._epoll.register(self._bell, select.EPOLLIN)
        self._stopping = False
        self._watched: dict[int, wire.PlainConnection] = {}
        self._thread = threading.Thread(target=self._run, name="hangups", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping = True
        self._bell.ring()

    @contextmanager
    def watched(self, conn: wire.PlainConnection) -> Iterator[None]:
        """Watch a connection whose client has no reason to speak."""
        descriptor = conn.fileno()
        self._watched[descriptor] = conn
        try:
            self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLONESHOT)
            try:
                yield
            finally:
                self._epoll.unregister(descriptor)
        finally:
            del self._watched[descriptor]

    def _run(self) -> None:
        while not self._stopping:
            for descriptor, _ in self._epoll.poll():
                conn = self._watched.get(descriptor)
                # Asked again, since the number may have been given to another connection meanwhile.
                if conn is not None and conn.peer_is_gone():
                    conn.gone = True
                    self._tell(conn)
