"""The ready tasks: a window for each name, so that a worker is only offered what it knows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from master import sql
from master.ready import WINDOW, Entry, Key, ReadyWindow
from master.store import Store


class Backlog:
    """Ready tasks by name; ``leased``: seqs whose rows say ready though they are out."""

    def __init__(self, store: Store, leased: Collection[int], window: int = WINDOW) -> None:
        self._store = store
        self._leased = leased
        self._window = window
        self._windows: dict[str, ReadyWindow[Entry]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget what is in memory; the disk knows it all."""
        self._windows = {name: self._new(name) for (name,) in self._store.rows(sql.READY_NAMES)}

    def push(self, entry: Entry) -> None:
        """Add a task whose row says ready."""
        window = self._windows.get(entry.name)
        if window is None:
            window = self._windows[entry.name] = self._new(entry.name)
        payload = entry.payload
        if payload is not None and len(payload) > sql.INLINE_BYTES:
            entry = entry._replace(payload=None)
        window.push(entry)

    def push_row(self, seq: int) -> None:
        """Add a task by its row."""
        self.push(Entry(*self._store.rows(sql.READY_BY_SEQ, seq)[0]))

    def remove(self, name: str, seq: int) -> None:
        """Forget a task that is not ready any more."""
        if name in self._windows:
            self._windows[name].remove(seq)

    def best(self, names: list[str] | None) -> tuple[ReadyWindow[Entry], Entry] | None:
        """The entry of ``names`` (None: all) that goes first, and its window; None when there is nothing ready."""
        best: tuple[ReadyWindow[Entry], Entry] | None = None
        for name in list(self._windows) if names is None else names:
            window = self._windows.get(name)
            if window is None:
                continue
            first = window.first()
            if first is None:
                del self._windows[name]
            elif best is None or first[:2] < best[1][:2]:
                best = window, first
        return best

    def names(self) -> list[str]:
        """Names that have something ready."""
        return [name for name, window in list(self._windows.items()) if window.first() is not None]

    def take(self, name: str, limit: int) -> Iterator[Entry]:
        """Take out up to ``limit`` entries of a name."""
        for _ in range(limit):
            if self.best([name]) is None:
                return
            yield self._windows[name].pop()

    def _new(self, name: str) -> ReadyWindow[Entry]:
        return ReadyWindow(self._fetch(name), self._window)

    def _fetch(self, name: str) -> Callable[[Key, int], tuple[list[Entry], Key | None]]:
        def fetch(after: Key, limit: int) -> tuple[list[Entry], Key | None]:
            rows: list[Any] = self._store.rows(sql.READY, name, *after, limit)
            frontier = rows[-1][:2] if len(rows) == limit else None
            return [Entry(*row) for row in rows if row[1] not in self._leased], frontier

        return fetch
