"""Where connections prove their key: a bounded number of them, and strangers neither keep anybody out nor fill the log."""

from __future__ import annotations

import threading
from time import monotonic

from taskyard import wire
from taskyard.log import get_logger

TELL_AGAIN = 10.0
"""Seconds between two lines of the log that say that there are too many: strangers are not to fill it."""
TOLD = 20
"""Refused connections that have a line each in so many seconds; the others are counted. A line is a quarter of the master's work
for one of them."""
logger = get_logger("master")


class GaveWay(Exception):
    """The connection was closed to make room for another."""


class Refusals:
    """Tells of connections that were refused, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._refused = 0
        self._ends = monotonic() + TELL_AGAIN

    def tell(self, reason: str) -> None:
        """One more was."""
        with self._lock:
            untold = 0
            if monotonic() >= self._ends:
                untold, self._refused, self._ends = max(0, self._refused - TOLD), 0, monotonic() + TELL_AGAIN
            self._refused += 1
            is_told = self._refused <= TOLD
        if untold:
            logger.info("more connections were refused", connections=untold)
        if is_told:
            logger.info("a connection was refused", reason=reason)


class Doorstep:
    """``places`` for connections that are proving their key. When all are taken, the one that has been there for longest gives
    way to the next: an honest client answers the challenge in one round trip."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._there: dict[wire.PlainConnection, None] = {}  # the one that has been there for longest first
        self._lock = threading.Lock()
        self._tell_at = monotonic()
        # Nobody waits for those that are on their way out; but a flood is not to be ahead of them without bound.
        self._threads = threading.Semaphore(2 * places)

    def enter(self, conn: wire.PlainConnection) -> None:
        """Give a place to a connection, before it is given its thread."""
        self._threads.acquire()
        with self._lock:
            if len(self._there) >= self._places:
                longest = next(iter(self._there))
                del self._there[longest]
                wire.shut_down(longest)  # under the lock: its thread can't close it meanwhile, nor its number be another's
                self._tell()
            self._there[conn] = None

    def leave(self, conn: wire.PlainConnection) -> bool:
        """It has proved its key, or failed, and may be closed from now on; returns whether it did not have to give way."""
        with self._lock:
            stayed = conn in self._there
            self._there.pop(conn, None)
        self._threads.release()
        return stayed

    def _tell(self) -> None:
        if monotonic() >= self._tell_at:
            self._tell_at = monotonic() + TELL_AGAIN
            logger.warning("too many connections prove no key; those that have been silent for longest are closed")
