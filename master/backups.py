"""Copies of the queue's file on their way out of a master and into one: ``python -m master backup`` and ``restore``."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import sqlite3
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import localtime, strftime
from typing import BinaryIO

from master import sql
from master.backup_copy import PIECE_BYTES
from master.keyring import keyring_of
from master.program import own_queue
from master.store import FILE
from taskyard.errors import SettingsError, StoreBroken, StoreFull, Unreachable
from taskyard.keys import new_key
from taskyard.log import set_up_logging
from taskyard.settings import Settings, load_settings
from taskyard.transport import RemoteQueue
from taskyard.urls import is_nats

PATIENCE = 5.0
"""Seconds after which no master is believed to run. One that makes its copy answers late, but has been connected to."""
LEVEL = 3
"""Of gzip: three times as fast as the usual one, and a few percent larger."""


def save() -> int:
    """Write a copy of the queue, compressed, to the standard output: of the master that serves, else of its file, or of NATS.

    Returns an exit code. Raises `taskyard.errors.TaskyardError`.
    """
    if sys.stdout.isatty():
        raise SettingsError("a backup is no text for a terminal; write it into a file: python -m master backup > queue.db.gz")
    settings = load_settings()
    set_up_logging(settings)
    size = 0
    with gzip.open(sys.stdout.buffer, "wb", LEVEL) as packed:
        for piece in _pieces(settings):
            packed.write(piece)
            size += len(piece)
    sys.stdout.flush()
    print(f"backup: {size:,} bytes of a queue of format {sql.VERSION}", file=sys.stderr)
    return 0


def restore() -> int:
    """Put a copy, as `save` wrote it to the standard input here, in the place of the queue, which is kept beside.

    A single master must not run; of several, any may (`master.replica.whole`). Returns an exit code. Raises `StoreBroken` (the
    copy is damaged, of a newer release, or no copy; a master runs), `StoreFull`, `Unreachable`; then the queue is as it was.
    """
    settings = load_settings()
    set_up_logging(settings)
    folder = settings.master_data
    path = folder / FILE
    many = is_nats(settings.taskyard_url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not many:
            _refuse_one_in_use(path)
        with TemporaryDirectory(prefix="restore-", dir=folder) as workshop:
            fresh = Path(workshop) / FILE
            _unpack(sys.stdin.buffer, fresh)
            version, size = _checked(fresh), fresh.stat().st_size
            _make_own(fresh)
            kept = _for_all(settings, fresh) if many else _for_one(path, fresh)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StoreFull(f"the disk that holds {folder} has no room for the queue that is to be restored") from None
        raise StoreBroken(f"{folder} can't be written: {error.strerror}; it must belong to the master's user") from None
    former = f"; the former one is kept as {kept}" if kept else ""
    where = "what NATS has" if many else path
    print(f"restore: {where} is a queue of {size:,} bytes, format {version}{former}")
    return 0


# To save


def _pieces(settings: Settings) -> Iterator[bytes]:
    """The copy, of the master that answers; where none does, of the file itself, or of what NATS has."""
    keyring = keyring_of(settings)
    authkey = partial(keyring.any_of, "shared", "admin")
    url = settings.taskyard_url
    with (
        RemoteQueue(url, authkey, PATIENCE, files=settings.tls_files)
        if is_nats(url)
        else own_queue(settings, authkey, settings.master_port, PATIENCE) as queue
    ):
        try:
            queue.connect()
        except Unreachable:
            if not is_nats(url) and not (settings.master_data / FILE).exists():
                raise
        else:
            yield from _read(queue)
            return
    yield from _read_nats(settings) if is_nats(url) else _read_file(settings.master_data)


def _read(queue: RemoteQueue) -> Iterator[bytes]:
    token, offset = new_key().decode(), 0
    while piece := queue.backup(token, offset, PIECE_BYTES):
        yield piece
        offset += len(piece)


def _read_file(folder: Path) -> Iterator[bytes]:
    path, copy = folder / FILE, folder / "backup.db"
    try:
        with closing(_locked(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
        with copy.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except sqlite3.Error as error:
        raise StoreBroken(f"{path} can't be copied: {error}") from None
    finally:
        copy.unlink(missing_ok=True)


def _read_nats(settings: Settings) -> Iterator[bytes]:
    from master.replica.whole import fetch

    try:
        settings.master_data.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix="backup-", dir=settings.master_data) as workshop:
            if fetch(settings, Path(workshop)) is None:
                raise StoreBroken("NATS has no queue of this name: start a master, so that it brings there what it has")
            yield from _read_file(Path(workshop))
    except OSError as error:
        raise StoreBroken(f"{settings.master_data} can't be written: {error.strerror}") from None


# To restore


def _for_one(path: Path, fresh: Path) -> str:
    """Put the file in the place of a single master's; returns where that is kept, if there was one."""
    kept = _put_aside(path)
    fresh.replace(path)
    return kept


def _for_all(settings: Settings, fresh: Path) -> str:
    from master.replica.whole import replace

    kept = _kept_as(settings.master_data / FILE)
    return str(kept) if replace(settings, fresh, kept) else ""


def _locked(path: Path) -> sqlite3.Connection:
    """A connection that keeps every master out."""
    db = sqlite3.connect(path, isolation_level=None, timeout=2.0)
    try:
        db.execute("PRAGMA locking_mode=EXCLUSIVE")
        db.execute("PRAGMA user_version").fetchone()  # opens the file
        db.execute("BEGIN IMMEDIATE")
        db.execute("ROLLBACK")
    except sqlite3.Error:
        db.close()
        raise
    return db


def _refuse_one_in_use(path: Path) -> None:
    if not path.exists():
        return
    try:
        _locked(path).close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreBroken(f"{path} is in use by a master: stop that one first (docker compose stop master)") from None
        # Damaged, which is what a backup is for.


def _unpack(packed: BinaryIO, path: Path) -> None:
    try:
        with gzip.open(packed, "rb") as copy, path.open("wb") as file:
            shutil.copyfileobj(copy, file, PIECE_BYTES)
            file.flush()
            os.fsync(file.fileno())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise StoreBroken(f"what is to be restored is damaged, or no backup: {error}") from None


def _checked(path: Path) -> int:
    """Its format. Raises `StoreBroken` for what no master could use."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            verdict = " ".join(str(db.execute("PRAGMA integrity_check(1)").fetchone()[0]).split())
    except sqlite3.Error as error:
        raise StoreBroken(f"what is to be restored is damaged: {error}") from None
    if verdict != "ok":
        raise StoreBroken(f"what is to be restored is damaged: {verdict}")
    if version > sql.VERSION:
        raise StoreBroken(
            f"what is to be restored was written by a newer release (format {version}; this one knows {sql.VERSION}):"
            " restore it with that one"
        )
    if version < 1:
        raise StoreBroken("what is to be restored is a database of something else")
    return int(version)


def _make_own(path: Path) -> None:
    """Let it be no copy of what several masters share any more: a log on NATS that has gone on would be replayed over it."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript("DROP TABLE IF EXISTS replica; DROP TABLE IF EXISTS replica_lead;")
    except sqlite3.Error as error:
        raise StoreBroken(f"what is to be restored can't be changed: {error}") from None


def _put_aside(path: Path) -> str:
    """Give the queue's file a second name, under which it is kept; returns that."""
    if not path.exists():
        return ""
    kept = _kept_as(path)
    os.link(path, kept)  # so that at no moment there is none
    log = path.with_name(f"{path.name}-wal")
    if log.exists():  # it was folded into the file, unless that is damaged
        log.rename(kept.with_name(f"{kept.name}-wal"))
    return str(kept)


def _kept_as(path: Path) -> Path:
    return path.with_name(f"{path.name}.{strftime('%Y%m%d-%H%M%S', localtime())}")
