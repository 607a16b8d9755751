"""Which request an ``Idempotency-Key`` was used for, so that another one is told of it.

That the same request submits nothing twice hangs on the ids of its tasks alone; what is kept here may be lost.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from taskyard.errors import SettingsError, StoreFull

KEPT_SECONDS = 30 * 86400
MOST = 1_000_000
FORGET = "DELETE FROM requests WHERE at < ? OR number <= (SELECT max(number) FROM requests) - ?"


class Repeats:
    """Kept in a file for `KEPT_SECONDS`, the last `MOST` of them. Raises `SettingsError` if it can't be used."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, key TEXT UNIQUE, body TEXT, at REAL)"
            )
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"{file} can't be used (DASHBOARD_DATA): {error}") from None

    def is_other(self, key: str, body: str) -> bool:
        """Whether a key was used for another body; else it is used for this one from now on. Raises `StoreFull`."""
        now = time.time()
        with self._lock:
            try:
                self._database.execute(FORGET, (now - KEPT_SECONDS, MOST))
                self._database.execute("INSERT OR IGNORE INTO requests (key, body, at) VALUES (?, ?, ?)", (key, body, now))
                (known,) = self._database.execute("SELECT body FROM requests WHERE key = ?", (key,)).fetchone()
            except sqlite3.Error as error:
                raise StoreFull(f"the dashboard can't note the Idempotency-Key: {error}") from None
        return bool(known != body)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()
