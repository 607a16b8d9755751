"""The ready tasks: a window for each name, so that a worker is only offered what it knows."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from typing import Any

from master import sql
from master.ready import WINDOW, Entry, Key, ReadyWindow
from master.series import SeriesStore
from master.store import Store


class Backlog:
    """Ready tasks by name; ``leased``: seqs of those that are ready on the disk though they are out."""

    def __init__(self, store: Store, series: SeriesStore, leased: Container[int], window: int = WINDOW) -> None:
        self._store = store
        self._series = series
        self._leased = leased
        self._window = window
        self._windows: dict[str, ReadyWindow[Entry]] = {}
        self.reset()

    def reset(self) -> None:
        """Forget what is in memory; the disk knows it all."""
        names = [name for (name,) in self._store.rows(sql.READY_NAMES)]
        self._windows = {name: ReadyWindow(self._fetch(name), self._window) for name in names}

    def push(self, entry: Entry) -> None:
        """Add tasks that are ready on the disk."""
        window = self._windows.get(entry.name)
        if window is None:  # nothing else of this name is ready: `reset` finds all names, `best` forgets those without tasks
            window = self._windows[entry.name] = ReadyWindow(self._fetch(entry.name), self._window, nothing_there=True)
        if entry.many == 1 and not entry.series and entry.payloads and len(entry.payloads[0]) > sql.INLINE_BYTES:
            entry = entry._replace(payloads=None)
        window.push(entry)

    def push_row(self, seq: int) -> None:
        """Add a task by its row, which has become ready."""
        self.push(_entry_of(self._store.rows(sql.READY_BY_SEQ, seq)[0]))

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
        """Take out up to ``limit`` tasks of a name, one an entry."""
        for _ in range(limit):
            if self.best([name]) is None:
                return
            yield self._windows[name].pop()

    def _fetch(self, name: str) -> Callable[[Key, int], tuple[list[Entry], Key | None]]:
        def fetch(after: Key, limit: int) -> tuple[list[Entry], Key | None]:
            rows = self._store.rows(sql.READY, name, *after, limit)
            entries, frontier = self._series.ready(name, after, limit, self._leased)
            entries += [_entry_of(row) for row in rows if row[1] not in self._leased]
            if len(rows) == limit and (frontier is None or rows[-1][:2] < frontier):
                frontier = rows[-1][:2]
            return [entry for entry in entries if frontier is None or entry[:2] <= frontier], frontier

        return fetch


def _entry_of(row: tuple[Any, ...]) -> Entry:
    payload = row[6]
    return Entry._make((*row[:6], None if payload is None else [payload], *row[7:10], 0, 1, row[10]))
