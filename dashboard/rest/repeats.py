"""Which request an ``Idempotency-Key`` was used for, so that another one is told of it.

That the same request submits nothing twice hangs on the ids of its tasks alone; what is kept here may be lost.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskyard.errors import SettingsError, StoreFull

KEPT_SECONDS = 30 * 86400
MOST = 1_000_000
FORGET = "DELETE FROM requests WHERE at < ? OR number <= (SELECT max(number) FROM requests) - ?"


class OtherRequest(Exception):
    """The key was used for another request."""


class Repeats:
    """Kept in a file for `KEPT_SECONDS`, the last `MOST` of them. Raises `SettingsError` if it can't be used."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[str, int]] = {}
        """By key: the body that it is being used for, and by how many requests."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, key TEXT UNIQUE, body TEXT, at REAL)"
            )
            self._database.execute("CREATE INDEX IF NOT EXISTS requests_by_age ON requests (at)")
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"{file} can't be used (DASHBOARD_DATA): {error}") from None

    @contextmanager
    def using(self, key: str, body: str) -> Iterator[bool]:
        """Use a key for a body: it counts from the end of the block, if that is reached without an error; one that was refused
        may be used for another. Tells whether it was used for this body before. Raises `OtherRequest`, `StoreFull`.
        """
        with self._lock:
            noted = self._body_of(key)
            used_for, users = self._under_way.get(key, (body, 0))
            if used_for != body or noted not in (None, body):
                raise OtherRequest
            self._under_way[key] = body, users + 1
        try:
            yield noted is not None
            with self._lock:
                self._note(key, body)
        finally:
            with self._lock:
                self._under_way[key] = body, self._under_way[key][1] - 1
                if not self._under_way[key][1]:
                    del self._under_way[key]

    def _body_of(self, key: str) -> str | None:
        try:
            since = time.time() - KEPT_SECONDS
            found = self._database.execute("SELECT body FROM requests WHERE key = ? AND at >= ?", (key, since)).fetchone()
        except sqlite3.Error as error:
            raise StoreFull(f"the dashboard can't look the Idempotency-Key up: {error}") from None
        return found[0] if found else None

    def _note(self, key: str, body: str) -> None:
        now = time.time()
        try:
            self._database.execute(FORGET, (now - KEPT_SECONDS, MOST))
            self._database.execute("INSERT OR IGNORE INTO requests (key, body, at) VALUES (?, ?, ?)", (key, body, now))
        except sqlite3.Error as error:
            raise StoreFull(f"the tasks are taken, but not their Idempotency-Key: {error}; repeat the request") from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
