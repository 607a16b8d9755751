"""What a slot tells its supervisor: results, and how far the running task is."""

from __future__ import annotations

import threading
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, NamedTuple

from taskyard.model import Lease, Outcome

FLUSH_SECONDS = 0.005
PROGRESS_SECONDS = 0.1
"""Words of progress go out at most so often."""

Word = tuple[float, float, str]
"""Of progress: done, total, note."""


class Report(NamedTuple):
    """One result; on its way it is a plain tuple, which is pickled sooner."""

    number: int
    """Of the task in its chunk."""
    kind: str
    value: bytes
    cause: str
    final: bool
    seconds: float
    """It took."""

    def outcome(self, lease: Lease) -> Outcome:
        """What to settle."""
        return Outcome(lease.id, lease.token, self.kind, self.value, self.cause, final=self.final)  # type: ignore[arg-type]


class Reports:
    """Results on their way to the supervisor: many in one message, none of them held back for long."""

    def __init__(self, conn: Connection[Any, Any]) -> None:
        self._conn = conn
        self._lock = threading.Lock()
        self._unsent: list[tuple[Any, ...]] = []
        self._begun = threading.Event()
        self._word: tuple[int, Word] | None = None
        self._told = threading.Event()
        self._telling = False
        # A short task's result must not wait for a long one that follows it in the chunk.
        threading.Thread(target=self._flush_late, name="reports", daemon=True).start()

    def add(self, report: tuple[Any, ...]) -> None:
        """Take a `Report`; it is sent with the next ones, within `FLUSH_SECONDS`."""
        with self._lock:
            self._unsent.append(report)
            if len(self._unsent) == 1:
                self._begun.set()

    def tell(self, index: int, word: Word) -> None:
        """Take a word of progress; it is sent within `PROGRESS_SECONDS`, unless a newer one has come by then."""
        if not self._telling:  # most slots never need this thread
            self._telling = True
            threading.Thread(target=self._tell_late, name="progress", daemon=True).start()
        self._word = (index, word)
        self._told.set()

    def flush(self, end: bool = False) -> None:
        """Send what there is; ``end``: the chunk is over."""
        with self._lock:
            self._begun.clear()
            reports, self._unsent = self._unsent, []
            if end:
                self._word = None  # an index of the next chunk is another task
            if reports or end:
                self._conn.send(("end" if end else "reports", reports))

    def _flush_late(self) -> None:
        while True:
            self._begun.wait()
            _pause(FLUSH_SECONDS)
            try:
                if self._begun.is_set():
                    self.flush()
            except OSError:
                return

    def _tell_late(self) -> None:
        while True:
            self._told.wait()
            self._told.clear()
            try:
                with self._lock:
                    word, self._word = self._word, None
                    if word is not None:
                        self._conn.send(("progress", word))
            except OSError:
                return
            _pause(PROGRESS_SECONDS)


def _pause(seconds: float) -> None:
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        threading.Event().wait(left)
