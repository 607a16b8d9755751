"""One of several masters in this process: the store and the lead of a queue of its own on NATS."""

from __future__ import annotations

import atexit
import sqlite3
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from time import monotonic, sleep
from typing import TypeVar

from nats.js.errors import ServiceUnavailableError

from bench import nats_servers
from master.committer import Committer
from master.replica.lead import Lead
from master.replica.log import Log
from master.replica.store import ReplicaStore
from taskyard.broker import Broker
from taskyard.errors import Unreachable
from taskyard.urls import parse_nats_url

T = TypeVar("T")
INSIST_SECONDS = 60.0
AHEAD = 12
"""Three servers need a second to agree on who leads a new stream: so many queues are made before they are asked for."""


def insist(call: Callable[[], T]) -> T:
    """What NATS answers, asked again where it is too busy, as masters do: three servers have to agree on what changes."""
    deadline = monotonic() + INSIST_SECONDS
    while True:
        try:
            return call()
        except (Unreachable, TimeoutError, ServiceUnavailableError):
            if monotonic() > deadline:
                raise
            sleep(0.5)


class NewQueue:
    """A queue on NATS that nobody has used; ``many``: servers, each of which has a copy of all."""

    def __init__(self, many: int) -> None:
        self.url = f"{nats_servers.shared(many).url}/{uuid.uuid4().hex[:12]}"
        parsed = parse_nats_url(self.url)
        self.name = parsed.queue
        self.broker = Broker(parsed, "master", str)
        self.log = Log(self.broker, parsed.queue, many)
        insist(lambda: self.log.open(INSIST_SECONDS))


class Supply:
    """New queues, made ahead."""

    def __init__(self, many: int) -> None:
        self._many = many
        nats_servers.shared(many)
        self._makers = ThreadPoolExecutor(AHEAD)
        self._made: deque[Future[NewQueue]] = deque()
        atexit.register(self.end)

    def take(self) -> NewQueue:
        """A queue of one's own."""
        ahead = AHEAD if self._many > 1 else 1
        while len(self._made) < ahead:
            self._made.append(self._makers.submit(NewQueue, self._many))
        return self._made.popleft().result()

    def end(self) -> None:
        """Close those that nobody has taken."""
        self._makers.shutdown()
        for made in self._made:
            made.result().log.close()


@cache
def supply(many: int) -> Supply:
    """That of this process."""
    return Supply(many)


def content(path: Path) -> list[str]:
    """All that a store's file has, but for how long its log is."""
    with closing(sqlite3.connect(path)) as db:
        return list(db.iterdump())


class Member:
    """The one master of a new queue."""

    def __init__(self, many: int) -> None:
        self._many = many
        self._queue = supply(many).take()
        self.url, self.log = self._queue.url, self._queue.log
        self._lead: Lead | None = None

    def begin(self, folder: Path) -> ReplicaStore:
        """A store that leads, whatever another one thinks."""
        self._revision = insist(lambda: self.log.hold("test", "", self.log.holder().revision))
        store = ReplicaStore(folder, self.log)
        store.lead("test", "0")
        self._leading = store.path
        return store

    def lead(self, committer: Committer, address: tuple[str, int]) -> None:
        """Tell clients of the master at this address."""
        store = committer.engine.store
        assert isinstance(store, ReplicaStore)
        self._lead = Lead(self.log, self._queue.broker, self._queue.name, "test", self._revision)
        self._lead.begin()
        self._lead.serve("{}:{}".format(*address), committer, store)

    def lead_no_more(self) -> None:
        """Tell nobody any more."""
        if self._lead is not None:
            self._lead.end()

    def end(self, folder: Path) -> None:
        """See that a follower, in this folder, has what the leader has; disconnect, and leave nothing on NATS."""
        self.lead_no_more()
        if self._many == 1:  # three servers tell it nothing else
            follower = ReplicaStore(folder, self.log)
            follower.catch_up()
            follower.close()
            assert content(follower.path) == content(self._leading)
        insist(self.log.delete)
        self.log.close()
