"""The durable side: one SQLite file, opened, checked and migrated; its troubles said in words.

WAL with ``synchronous=FULL``: when COMMIT returns, the transaction is on the disk.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic
from typing import Any

from master import sql
from taskyard.errors import StoreBroken, StoreFull, TaskyardError
from taskyard.series import split_id

FILE = "taskyard.db"
CHECKED_BYTES = 256 * 1024 * 1024
"""Files up to this size are read through at the start (under a second); in a larger one damage shows when it is met."""
ROOM_BYTES, ROOM_SECONDS = 256 * 1024 * 1024, 1.0
"""More than what is written between two looks at how much room the disk has."""
LOG_PAGES = 1000
"""After so many pages in it SQLite folds the log into the file (its own default)."""
LOG_BYTES = 16 * 1024 * 1024
"""The log keeps no more than this once it was folded in: one huge transaction must not make it large for ever."""

_READ_ONLY = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


class LeadLost(StoreBroken):
    """With several masters: another one leads now, or this one can't know that it does. Nothing is answered any more."""


class StoreDamaged(StoreBroken):
    """The file is damaged, or is no database."""


def migrate(db: sqlite3.Connection, version: int, wanted: int) -> None:
    """Bring a file of this format to the wanted one, if that is later."""
    if version >= wanted:
        return
    db.create_function("prefix_of", 1, lambda task_id: split_id(task_id)[0], deterministic=True)
    db.create_function("number_of", 1, lambda task_id: split_id(task_id)[1], deterministic=True)
    steps = " ".join(sql.MIGRATIONS[version:wanted])
    db.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version={wanted}; COMMIT;")


class Store:
    """Statements and transactions on the queue's file. Used by one thread at a time.

    Opening raises `StoreBroken` when the file is damaged, was written by a newer release, is in use by another master or
    can't be written; every statement may raise `StoreFull` or `StoreBroken`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._open_transaction = False
        self._roomy = False
        self._cut = 0
        """Pages cut off since the file became shorter."""
        self._look_again = 0.0
        self._open()

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = self._connect()
        except (OSError, sqlite3.Error) as error:
            raise StoreBroken(
                f"{self.path} can't be opened: {error}; the folder must exist and be writable by the master's user"
            ) from None
        try:
            self._set_up()
        except sqlite3.Error as error:
            self._db.close()
            raise self._in_words(error) from error
        except BaseException:
            self._db.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        # Any thread may open it; the committer sees to it that only one uses it at a time.
        return sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=2.0)

    def _set_up(self) -> None:
        run = self._db.execute
        # First of all: one master a file, the lock is taken with the first access and kept, and WAL needs no shared memory
        # file. Nothing below writes to a file of this version, so that it opens on a full disk too.
        run("PRAGMA locking_mode=EXCLUSIVE")
        version: int = run("PRAGMA user_version").fetchone()[0]
        if version > sql.VERSION:
            raise StoreBroken(
                f"{self.path} was written by a newer release (format {version}; this one knows {sql.VERSION}):"
                " run that release, or set MASTER_DATA to another folder"
            )
        if version == 0:
            run("PRAGMA auto_vacuum=INCREMENTAL")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run(f"PRAGMA journal_size_limit={LOG_BYTES}")
        run("PRAGMA cache_size=-65536")
        run("PRAGMA temp_store=MEMORY")
        if self.path.stat().st_size <= CHECKED_BYTES:
            verdict = " ".join(run("PRAGMA quick_check(1)").fetchone()[0].split())
            if verdict != "ok":
                raise StoreDamaged(f"{self.path} is damaged ({verdict}): {_WHAT_TO_DO}")
        self.version = version
        """The format that the file has."""
        self._bring_up_to_date()
        # Says now, not at the first submit, that the file can't be written. A full disk is no reason not to start.
        run("BEGIN IMMEDIATE")
        run("ROLLBACK")

    def _bring_up_to_date(self) -> None:
        self._migrate(sql.VERSION)
        # Kept by this master alone from now on, it is no copy of what several share (`master.replica.store`) any more.
        self._db.executescript("DROP TABLE IF EXISTS replica; DROP TABLE IF EXISTS replica_lead;")

    def _migrate(self, version: int) -> None:
        migrate(self._db, self.version, version)
        self.version = max(self.version, version)

    # Statements

    def rows(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        """Rows of a SELECT, or of a change that returns some."""
        try:
            if not statement.lstrip().startswith("SELECT"):
                self._begin()
            return self._db.execute(statement, args).fetchall()
        except sqlite3.Error as error:
            raise self._in_words(error) from error

    def row(self, statement: str, *args: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        found = self.rows(statement, *args)
        return found[0] if found else None

    def each(self, statement: str, *args: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a SELECT one by one, for those who may stop early; nothing is changed meanwhile."""
        try:
            yield from self._db.execute(statement, args)
        except sqlite3.Error as error:
            raise self._in_words(error) from error

    def change(self, statement: str, *args: Any) -> int:
        """Run one change within the transaction; returns how many rows it met."""
        try:
            self._begin()
            return self._db.execute(statement, args).rowcount
        except sqlite3.Error as error:
            raise self._in_words(error) from error

    def change_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Run a change once for each row within the transaction; returns how many rows they met."""
        try:
            self._begin()
            return self._db.executemany(statement, rows).rowcount
        except sqlite3.Error as error:
            raise self._in_words(error) from error

    # Transactions

    def _begin(self) -> None:
        if not self._open_transaction:
            self._db.execute("BEGIN IMMEDIATE")
            self._open_transaction = True

    def commit(self) -> bool:
        """Make what was changed durable; returns whether there was anything. Raises `StoreFull`, `StoreBroken`."""
        if not self._open_transaction:
            return False
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._in_words(error) from error
        self._open_transaction = False
        return True

    def rollback(self) -> None:
        """Forget what was changed since the last commit."""
        if self._open_transaction:
            self._open_transaction = False
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def give_back_space(self, pages: int) -> None:
        """Cut up to ``pages`` free pages off the file; call it in idle moments, between transactions."""
        try:
            (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
            if free:
                # As a script: `execute` gives up a statement without columns after its first step, which frees one page.
                self._db.executescript(f"PRAGMA incremental_vacuum({pages})")
                self._cut += min(free, pages)
            elif self._cut >= LOG_PAGES:
                # The file itself becomes shorter with a checkpoint, and what was cut makes too little of a log for one.
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._cut = 0
        except sqlite3.Error as error:
            raise self._in_words(error) from error

    def copy_to(self, path: Path) -> None:
        """Write what is committed into another file, whole or not at all; call it between transactions. It takes as long as
        copying the file does. Raises `StoreFull`; TaskyardError when the copy can't be written: the queue itself goes on."""
        fresh = path.with_name(path.name + ".new")
        try:
            fresh.unlink(missing_ok=True)
            with closing(sqlite3.connect(fresh)) as copy:
                self._db.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
            fresh.replace(path)
        except (OSError, sqlite3.Error) as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) == errno.ENOSPC:
                raise StoreFull(f"the disk has no room for a copy of {self.path} at {path}: free some space") from None
            raise TaskyardError(f"{self.path} can't be copied to {path}: {error}") from None

    def has_room(self) -> bool:
        """Whether the disk had, not a second ago, so much room that what is written now will find its own."""
        now = monotonic()
        if now >= self._look_again:
            self._look_again = now + ROOM_SECONDS
            try:
                disk = os.statvfs(self.path.parent)
            except OSError:  # what is to be written may be taken nevertheless
                self._roomy = False
            else:
                self._roomy = disk.f_bavail * disk.f_frsize >= ROOM_BYTES
        return self._roomy

    def size(self) -> int:
        """Bytes of the file and of its log."""
        paths = (self.path, self.path.with_name(FILE + "-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def close(self) -> None:
        """Fold the log into the file and close it."""
        self.rollback()
        self._db.close()

    def _in_words(self, error: sqlite3.Error) -> StoreFull | StoreBroken:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return StoreFull(f"the disk that holds {self.path} is full: free some space, the queue goes on by itself")
        if code in _READ_ONLY:
            return StoreBroken(
                f"{self.path} can't be written ({error}): its volume must be writable by the master's user; mount it read-write"
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBroken(f"{self.path} is in use by another master: stop that one, or set MASTER_DATA to another folder")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreDamaged(f"{self.path} is damaged ({error}): {_WHAT_TO_DO}")
        return StoreBroken(f"{self.path} can't be used: {error}")


_WHAT_TO_DO = "move it away and restore a backup, or start with an empty folder"
