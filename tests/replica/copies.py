"""What tests do to copies of a queue."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from nats.js.errors import NotFoundError

from bench.nats_servers import NatsServers
from master import sql
from master.replica import log as log_module
from master.replica.log import Log
from master.replica.store import ReplicaStore
from master.store import FILE, Store
from taskyard.broker import Broker
from taskyard.errors import Unreachable
from taskyard.urls import parse_nats_url
from tests.harness import wait_until
from tests.nats_member import NewQueue, content, insist

Make = Callable[[str], ReplicaStore]
"""Makes the store of a folder."""


def leading(store: ReplicaStore) -> ReplicaStore:
    store.lead("test", "0")
    return store


def put(store: Store, seq: int, size: int = 10) -> None:
    """Add an item of so many bytes, and commit."""
    store.change(sql.ADD_ITEM, seq, "task", b"x" * size)
    store.commit()


def with_snapshot(make: Make, monkeypatch: pytest.MonkeyPatch, many: int, size: int = 10) -> ReplicaStore:
    """A leader that has put so many items and cut the log off: no more than two messages are before its snapshot."""
    monkeypatch.setattr(log_module, "KEPT", 2)
    leader = leading(make("a"))
    for seq in range(1, many + 1):
        put(leader, seq, size)
    leader.save_snapshot()
    return leader


def items(store: Store) -> list[int]:
    return [seq for seq, _ in store.rows(sql.ITEMS, "task", 0, -1)]


def kept_beside(store: ReplicaStore) -> list[Path]:
    """Former files of a store that was made anew."""
    return list(store.path.parent.glob(f"{FILE}.[0-9]*"))


def same(one: ReplicaStore, other: ReplicaStore) -> bool:
    """Whether two stores have the same content; closes them."""
    for store in (one, other):
        store.close()
    return content(one.path) == content(other.path)


def lose_log(queue: NewQueue) -> None:
    """As when NATS's servers lost it."""
    broker = Broker(parse_nats_url(queue.url), "master", str)
    js = insist(lambda: broker.open(5))
    with suppress(NotFoundError):
        insist(lambda: broker.run(js.delete_stream(queue.log.name)))
    broker.close()
    insist(lambda: queue.log.open(5))


class Forgetful:
    """A server that can be set back to what it had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "stores"
        """For stores on it."""
        self._servers = NatsServers(folder, 1)
        self._files, self._kept = folder / "n0", folder / "kept"
        self.log = Log(Broker(parse_nats_url(self._servers.url), "master", str), "q", 1)
        self.log.open(5)

    def remember(self) -> None:
        self._servers.stop()
        shutil.copytree(self._files, self._kept)
        self._start()

    def set_back(self) -> None:
        self._servers.stop()
        shutil.rmtree(self._files)
        shutil.copytree(self._kept, self._files)
        self._start()

    def _start(self) -> None:
        self._servers.all[0].start()
        self._servers.wait_until_ready()
        wait_until(lambda: answers(self.log), "the log is there again")

    def close(self) -> None:
        self.log.close()
        self._servers.stop()


def answers(log: Log) -> bool:
    try:
        return log.state().last > 0
    except Unreachable:
        return False
