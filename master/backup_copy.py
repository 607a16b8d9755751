"""The copy of the store that a client reads, piece by piece: a backup while the queue runs."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from master.store import Store
from taskyard.errors import BadRequest, TaskyardError

KEPT_SECONDS = 60.0
"""A copy of which nothing was read for so long is given up."""
PIECE_BYTES = 4 * 1024 * 1024
"""What one call reads at most."""


class Copy:
    """At most one at a time. It is a file without a name, so that it is gone with whoever ends this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._token = ""
        self._size = 0
        self._file: BinaryIO | None = None
        self._read_at = 0.0

    def read(self, token: str, offset: int, limit: int, now: float) -> bytes:
        """See `taskyard.contract.Queue.backup`. Call it between transactions."""
        if token != self._token:
            if offset:
                raise BadRequest(
                    "this backup is not kept any more: another one was begun, nothing was read of it for a minute,"
                    " or the master was started anew; begin again"
                )
            self._begin(token)
        self._read_at = now
        if self._file is None or offset >= self._size:
            if offset < self._size:
                raise BadRequest("this backup was read to its end, and is not kept any more; begin again")
            self.close()
            return b""
        self._file.seek(offset)
        return self._file.read(min(limit, PIECE_BYTES))

    def drop_unread(self, now: float) -> None:
        """Give up a copy that nobody reads any more."""
        if self._file is not None and now - self._read_at > KEPT_SECONDS:
            self.close()
            self._token = ""

    def _begin(self, token: str) -> None:
        self.close()
        self._token = ""
        path = self._store.path.with_name("backup.db")
        self._store.copy_to(path)
        self._file = self._opened(path)
        self._size = self._file.seek(0, 2)
        self._token = token

    @staticmethod
    def _opened(path: Path) -> BinaryIO:
        try:
            return path.open("rb")
        except OSError as error:
            raise TaskyardError(f"{path} can't be read: {error.strerror}") from None
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the copy."""
        if self._file is not None:
            self._file.close()
            self._file = None
