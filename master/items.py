"""The tutorial's two queues for foreign programs: durable items, given back when the connection that took one dies."""

from __future__ import annotations

import pickle
from typing import Any

from master import sql
from master.ready import START, Item, Key, ReadyWindow
from master.store import Store
from taskyard.errors import BadRequest, PayloadTooLarge, QueueFull

QUEUES = ("task", "result")


class Items:
    """Items of both queues. What a connection took is out until it asks again, which says that it is done with it."""

    def __init__(self, store: Store, bound: int, payload_limit: int) -> None:
        self._store = store
        self._bound = bound
        self._payload_limit = payload_limit
        self._seq: int = store.rows(sql.LAST_ITEM)[0][0]
        self._out: dict[object, tuple[str, Item]] = {}  # by connection
        self._finished: dict[object, tuple[str, Item]] = {}  # no longer out, but that is not committed yet
        self._windows: dict[str, ReadyWindow[Item]] = {}
        self._counts: dict[str, int] = {}
        self.reset()

    def keep(self) -> None:
        """The transaction was committed."""
        self._finished.clear()

    def reset(self) -> None:
        """The transaction was rolled back: forget what is in memory but not on the disk."""
        self._out.update(self._finished)
        self._finished.clear()
        self._windows = {queue: ReadyWindow[Item](self._fetch(queue)) for queue in QUEUES}
        self._counts = dict.fromkeys(QUEUES, 0)
        for queue, count in self._store.rows(sql.COUNT_ITEMS):
            self._counts[queue] = count

    def put(self, connection: object, queue: str, value: Any) -> None:
        """Add an item; raises `QueueFull`, `PayloadTooLarge`, `BadRequest`."""
        try:
            data = pickle.dumps(value, protocol=5)
        except RecursionError:  # it can be read nested deeper than it can be written
            raise BadRequest("the item is nested too deep") from None
        if len(data) > self._payload_limit:
            raise PayloadTooLarge(f"{len(data):,} bytes are over the bound of {self._payload_limit:,} (MASTER_PAYLOAD_LIMIT)")
        if self.is_full(queue):
            raise QueueFull(f"the {queue} queue holds {self._bound:,} items, its bound")
        self.done_with(connection)
        self._seq += 1
        self._store.change(sql.ADD_ITEM, self._seq, queue, data)
        self._counts[queue] += 1
        self._windows[queue].push(Item(0, self._seq, data))

    def get(self, connection: object, queue: str) -> Item | None:
        """Hand out the oldest item, None when there is none; it stays durable until `done_with`."""
        window = self._windows[queue]
        if window.first() is None:
            return None
        item = window.pop()
        self._out[connection] = (queue, item)
        return item

    def done_with(self, connection: object) -> None:
        """What was handed out on this connection has been dealt with."""
        out = self._out.get(connection)
        if out is not None:
            queue, item = out
            self._store.change(sql.REMOVE_ITEM, item.seq)
            self._finished[connection] = self._out.pop(connection)
            self._counts[queue] -= 1

    def closed(self, connection: object) -> None:
        """The connection has closed; what was out on it goes back to its place."""
        out = self._out.pop(connection, None)
        if out is not None:
            queue, item = out
            self._windows[queue].push(item)

    def size(self, queue: str) -> int:
        """Items that wait in a queue."""
        return self._counts[queue] - sum(out[0] == queue for out in self._out.values())

    def is_full(self, queue: str) -> bool:
        """Whether a put would be refused."""
        return self.size(queue) >= self._bound

    def counts(self) -> dict[str, int]:
        """Items that wait, by queue."""
        return {queue: self.size(queue) for queue in QUEUES}

    def _fetch(self, queue: str) -> Any:
        def fetch(after: Key, limit: int) -> tuple[list[Item], Key | None]:
            rows = self._store.rows(sql.ITEMS, queue, max(after[1], START[1]), limit)
            out = {item.seq for _, item in self._out.values()}
            items = [Item(0, seq, value) for seq, value in rows if seq not in out]
            return items, (0, rows[-1][0]) if len(rows) == limit else None

        return fetch
