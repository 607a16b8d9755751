"""A queue on a clock that tests move, in this process or behind a real manager; it can crash and come back."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal, TypeVar

from master import rules
from master.committer import COPY, LEASE, Committer, Topic, results_of
from master.engine import Clock, Engine
from master.keyring import Key, Keyring
from master.server import QueueServer
from master.store import Store
from taskyard import wire
from taskyard.errors import Unreachable
from taskyard.model import Lease, Outcome, Schedule, Task
from taskyard.transport import LONGEST_WAIT, RemoteQueue
from tests.nats_member import Member

AUTHKEY = b"the key of these tests"
LEASE_TIME = 30.0
Kind = Literal["in-process", "manager", "nats", "three-nats"]
KINDS: tuple[Kind, ...] = ("in-process", "manager", "nats", "three-nats")
NATS_SERVERS = {"nats": 1, "three-nats": 3}
T = TypeVar("T")


class FakeClock:
    """Both clocks of an engine; they stand still until they are moved."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.monotonic = 1000.0

    def move(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.monotonic)


class LocalQueue(RemoteQueue):
    """The contract in this process: what `RemoteQueue` would send goes straight to the committer."""

    def __init__(self, harness: Harness) -> None:
        super().__init__("manager://in-process", AUTHKEY)
        self._harness = weakref.proxy(harness)  # which has this queue: no cycle that keeps its descriptors
        self.limits = {"payload": harness.engine.payload_limit}

    def _call(self, verb: str, *args: Any) -> Any:
        if self._closing.is_set():
            raise Unreachable("closed")
        engine, call = self._harness.engine, self._harness.committer.call
        if verb == "lease":
            session, limit, wait, names = args
            known = None if names is None else rules.read_names(names, "names")
            return call(partial(engine.lease, self, session, limit, known, engine.now()), LEASE, wait) or []
        if verb == "results":
            job, after, limit, wait = args
            rules.read_text(job, "job")
            return call(lambda: engine.results(job, after, limit) or None, results_of(job), min(wait, LONGEST_WAIT)) or []
        run = partial(getattr(engine, verb), *args)
        return call(run, COPY, LONGEST_WAIT) if verb == "backup" else call(run)

    def close(self) -> None:
        self._closing.set()
        self._harness.committer.call(partial(self._harness.engine.closed, self))


class WatchedServer(QueueServer):
    """Knows its connections, so that a test can wait for their end, or cut them all."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.open: dict[Any, tuple[str, int]] = {}
        """The client's address of each."""
        self.changed = threading.Condition()

    def handle_request(self, conn: Any) -> None:
        with self.changed:
            self.open[conn] = end_of(conn, "getpeername")
        super().handle_request(conn)

    def ended(self, conn: Any) -> None:
        super().ended(conn)
        with self.changed:
            del self.open[conn]
            self.changed.notify_all()

    def wait_until_closed(self, client: tuple[str, int] | None = None) -> None:
        """Return once the connection from this address (None: each) has ended, and what it held was given back."""
        with self.changed:
            ended = self.changed.wait_for(lambda: client not in self.open.values() if client else not self.open, 10)
        assert ended, "the connection stays open"


def end_of(conn: Any, which: Literal["getsockname", "getpeername"]) -> tuple[str, int]:
    """The address of one end of a connection."""
    with socket.socket(fileno=os.dup(conn.fileno())) as sock:
        address: tuple[str, int] = getattr(sock, which)()
    return address


class Harness:
    """``queue``: one connection to a queue in ``folder``."""

    def __init__(self, folder: Path, kind: Kind, **options: Any) -> None:
        self.kind = kind
        self.time = FakeClock()
        self.options: dict[str, Any] = {"lease_time": LEASE_TIME, **options}
        self.server: WatchedServer | None = None
        self._folder = folder
        self._lives = 0
        self._queues: list[RemoteQueue] = []
        self._member = Member(NATS_SERVERS[kind]) if kind in NATS_SERVERS else None
        self._start(("127.0.0.1", 0))
        self.queue = self.another()

    def another(self) -> RemoteQueue:
        """A further connection."""
        queue: RemoteQueue = LocalQueue(self)
        if self.server is not None:
            url = "manager://{}:{}".format(*self.server.listener.address) if self._member is None else self._member.url
            queue = RemoteQueue(url, AUTHKEY, 10.0, "test")
        self._queues.append(queue)
        return queue

    def close(self, queue: RemoteQueue) -> None:
        """End a connection; returns once the queue has noticed."""
        self._queues.remove(queue)
        conn = queue._conn
        client = None if conn is None else end_of(conn, "getsockname")
        queue.close()
        if self.server is not None and client is not None:
            self.server.wait_until_closed(client)

    def advance(self, seconds: float) -> None:
        """Move the clock, and let the engine do all that is due."""
        self.committer.call(partial(self.time.move, seconds))
        while self.committer.call(self.engine.tick) == 0.0:
            pass

    def wait_until_one_waits(self, topic: Topic) -> None:
        """Return once a call waits for ``topic``."""
        deadline = monotonic() + 10
        while not self.committer.call(lambda: bool(self.committer._waiting.get(topic))):
            assert monotonic() < deadline, "nobody waits"

    def reopen(self) -> None:
        """Crash: what was not committed is gone, and every connection with it; then serve again from the disk."""
        address = ("127.0.0.1", 0)
        if self.server is not None:
            address = self.server.listener.address
            self.server.close()
        self.committer.call(self._crash)
        self._end_server()
        self.committer.stop()
        if self._member is not None:
            self._member.lead_no_more()
        self._start(address)

    def end(self) -> None:
        """Close everything."""
        for queue in list(self._queues):
            queue.close()
        self._end_server()
        if not self.committer.ended.is_set():
            self.committer.stop()
        if self._member is not None:
            self._member.end(self._folder / "follower")
        assert self.committer.broken is None, f"the master ended by itself: {self.committer.broken!r}"

    def _start(self, address: tuple[str, int]) -> None:
        folder = self._folder / str(self._lives)
        store = Store(folder) if self._member is None else self._member.begin(folder)
        self.engine = Engine(store, clock=self.time.clock(), **self.options)
        self.committer = Committer(self.engine)
        self.committer.start()
        self._lives += 1
        if self.kind != "in-process":
            self.server = WatchedServer(self.committer, address, Keyring([Key("shared", AUTHKEY)]))
            self.server.start()
            if self._member is not None:
                self._member.lead(self.committer, self.server.listener.address)

    def _crash(self) -> None:
        # In one turn of the engine: it sees no connection end, and what it does from now on is told to nobody.
        if self._member is None:  # else the log has what the next one is to know
            shutil.copytree(self.engine.store.path.parent, self._folder / str(self._lives))
        self._cut_off()

    def _cut_off(self) -> None:
        if self.server is not None:
            with self.server.changed:
                connections = list(self.server.open)
            for conn in connections:
                wire.shut_down(conn)

    def _end_server(self) -> None:
        if self.server is not None:
            self.server.close()
            self._cut_off()
            self.server.wait_until_closed()


class InThread:
    """A call under way in a thread of its own; ``result()`` waits for it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._call()
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = 10.0) -> Any:
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the call has not returned"
        if self._error is not None:
            raise self._error
        return self._value


def wait_until(condition: Callable[[], T], what: str, seconds: float = 60.0) -> T:
    """Ask again and again; returns the first true answer, fails when none comes in time."""
    deadline = monotonic() + seconds
    while not (answer := condition()):
        assert monotonic() < deadline, f"not within {seconds:g} s: {what}"
        sleep(0.02)
    return answer


def settled(count: Callable[[], T]) -> T:
    """What it counts once that stays the same for a while: what earlier tests have ended may close something a little later."""
    last, since = count(), monotonic()
    deadline = since + 20
    while monotonic() - since < 0.3 and monotonic() < deadline:
        sleep(0.02)
        if (now := count()) != last:
            last, since = now, monotonic()
    return last


def task(task_id: str, **fields: Any) -> Task:
    """A task of the job ``job`` that no test looks at closely."""
    return Task(**{"id": task_id, "job": "job", "name": "work", "payload": b"", **fields})


def schedule(spec: str, **fields: Any) -> Schedule:
    """A periodic task called ``work`` that no test looks at closely."""
    told = {"name": "work", "timezone": "UTC", "missed": "latest", "payload": b"", "priority": 0, "retries": 0}
    seconds = {"backoff": 1.0, "time_limit": 0.0, "result_ttl": 1e9, "expiry": 0.0}
    return Schedule(spec=spec, **{**told, **seconds, **fields})


def done(lease: Lease, value: bytes = b"value") -> Outcome:
    return Outcome(lease.id, lease.token, "done", value)


def failed(lease: Lease, cause: str = "exception: ValueError", delay: float = -1.0) -> Outcome:
    return Outcome(lease.id, lease.token, "failed", b"error", cause, delay)


def released(lease: Lease, delay: float = -1.0) -> Outcome:
    return Outcome(lease.id, lease.token, "released", delay=delay)
