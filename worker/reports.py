"""What a slot tells its supervisor: results, and how far the running task is."""

from __future__ import annotations

import pickle
import threading
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, Literal, NamedTuple

from worker.running import Failed

FLUSH_SECONDS = 0.005
PROGRESS_SECONDS = 0.1
"""Words of progress go out at most so often."""

Word = tuple[float, float, str]
"""Of progress: done, total, note."""


class Report(NamedTuple):
    """Tasks that followed each other in a chunk and ended alike; on its way it is a plain tuple, which is pickled sooner."""

    first: int
    """Index of the first."""
    kind: Literal["done", "failed"]
    values: list[bytes]
    """One a task."""
    seconds: float
    """They took together."""
    cause: str
    final: bool


class Reports:
    """Results on their way to the supervisor: many in one message, none of them held back for long."""

    def __init__(self, conn: Connection[Any, Any]) -> None:
        self._conn = conn
        self._lock = threading.Lock()
        self._unsent: list[tuple[Any, ...]] = []
        self._name = ""
        self._last = 0
        # Values that follow each other: index of the first, ns at which that began and at which the last of them ended.
        self._first = self._began = self._ended = 0
        self._values: list[bytes] = []
        self._waiting = threading.Event()
        self._word: tuple[int, Word] | None = None
        self._told = threading.Event()
        self._telling = False
        # A short task's result must not wait for a long one that follows it in the chunk.
        threading.Thread(target=self._flush_late, name="reports", daemon=True).start()

    def begin(self, tasks: int) -> None:
        """A chunk of so many tasks begins."""
        self._last = tasks - 1

    def begin_series(self, name: str) -> None:
        """Tasks of this name follow."""
        if name != self._name:  # durations are kept by the name
            with self._lock:
                self._close()
            self._name = name

    def done(self, index: int, value: bytes, began: int, ended: int) -> None:
        """Take a value; it is sent with the next ones, within `FLUSH_SECONDS`. ``began``, ``ended``: in ns."""
        with self._lock:
            if not self._values:
                self._first, self._began = index, began
                self._wait(index)
            self._values.append(value)
            self._ended = ended

    def failed(self, index: int, failed: Failed, began: int, ended: int) -> None:
        """Take a failure, likewise."""
        with self._lock:
            self._close()
            self._unsent.append((index, "failed", [failed.value], (ended - began) / 1e9, failed.cause, failed.final))
            self._wait(index)

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
            self._waiting.clear()
            self._close()
            reports, self._unsent = self._unsent, []
            if end:
                self._word = None  # an index of the next chunk is another task
            if reports or end:
                self._conn.send_bytes(pickle.dumps(("end" if end else "reports", reports), protocol=5))

    def _wait(self, index: int) -> None:
        if index < self._last:  # behind the last one comes the end of the chunk at once
            self._waiting.set()

    def _close(self) -> None:
        if self._values:
            self._unsent.append((self._first, "done", self._values, (self._ended - self._began) / 1e9, "", False))
            self._values = []

    def _flush_late(self) -> None:
        while True:
            self._waiting.wait()
            _pause(FLUSH_SECONDS)
            try:
                if self._waiting.is_set():
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
