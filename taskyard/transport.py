"""The queue over the network: `QueueManager` as in the tutorial, and `RemoteQueue`, which speaks the whole contract."""

from __future__ import annotations

import logging
import pickle
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import AuthenticationError
from multiprocessing.managers import BaseManager
from typing import Any, Self

from taskyard import errors, wire
from taskyard.errors import BadRequest, PayloadTooLarge, TaskyardError, Unreachable, WrongKey, WrongVersion
from taskyard.model import (
    PROTOCOL,
    Details,
    Found,
    JobInfo,
    Lease,
    Outcome,
    Result,
    Running,
    ScheduleInfo,
    Task,
    WorkerInfo,
)
from taskyard.settings import parse_url

logger = logging.getLogger("taskyard")

IDENT = "queue"
"""The object, known to every master, that serves the contract. The tutorial's two queues are ``task`` and ``result``."""
BATCH_BYTES = 4 * 1024 * 1024
"""A call's payloads are cut into messages of about this size."""
LONGEST_WAIT = 30.0
"""Seconds that one long poll may wait; longer waits are several polls."""
SILENCE = 30.0
"""Seconds beyond its own wait that a call's answer may take before the connection is given up."""
TELL_SECONDS = 0.5
"""An outage that lasts so long is told in the log."""
ENTRY_BYTES = 100
"""What one entry of a batch takes in a message beside its payload."""


class QueueManager(BaseManager):
    """The tutorial's manager, for programs that want just its two queues: ``QueueManager(address, authkey)``."""

    def __init__(self, address: tuple[str, int], authkey: bytes) -> None:
        super().__init__(address=address, authkey=authkey, serializer=wire.SERIALIZER)


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")


class RemoteQueue:
    """The contract (`taskyard.contract.Queue`) over one connection, which is made again whenever it breaks.

    A call that was cut off is repeated, which the contract allows for each verb. ``patience`` is how many seconds a
    call may go without a master before it raises `Unreachable` (None: for ever). `WrongKey` and `WrongVersion` are
    raised at once. Calls from several threads take turns. ``name``: who speaks; without one, outages are not logged.
    """

    def __init__(self, url: str, authkey: bytes, patience: float | None = None, name: str = "") -> None:
        self.url = url
        self.address = parse_url(url)
        self.generation = 0
        """Grows with each connection made; leases of an earlier one were given back by the master."""
        self.limits: dict[str, int] = {}
        self._authkey = authkey
        self._patience = patience
        self._name = name
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._conn: wire.PlainConnection | None = None

    def another(self, patience: float | None = None, name: str = "") -> RemoteQueue:
        """A further connection to the same master."""
        return RemoteQueue(self.url, self._authkey, patience, name)

    @property
    def connected(self) -> bool:
        """Whether there was a connection when it was last used."""
        return self._conn is not None

    def connect(self) -> None:
        """Connect now rather than at the first call. Raises `WrongKey`, `WrongVersion`, `Unreachable`."""
        with self._lock:
            self._connected()

    def close(self) -> None:
        """Close the connection for good. A call that is under way in another thread raises `Unreachable`."""
        self._closing.set()
        conn = self._conn
        if conn is not None:
            wire.shut_down(conn)
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The verbs

    def submit(self, tasks: Sequence[Task]) -> int:
        """See `taskyard.contract.Queue.submit`. A long list goes in several messages; each is taken whole or not at all."""
        return sum(self._call("submit", batch) for batch in self._batches(tasks, lambda task: task.payload))

    def lease(self, session: str, limit: int, wait: float, names: Sequence[str] | None = None) -> list[Lease]:
        """See `taskyard.contract.Queue.lease`."""
        wait = min(wait, LONGEST_WAIT)
        return list(map(Lease._make, self._call("lease", session, limit, wait, None if names is None else list(names))))

    def settle(self, session: str, outcomes: Sequence[Outcome]) -> int:
        """See `taskyard.contract.Queue.settle`. A long list goes in several messages."""
        return sum(self._call("settle", session, batch) for batch in self._batches(outcomes, lambda outcome: outcome.value))

    def heartbeat(self, session: str, info: dict[str, Any]) -> list[str]:
        """See `taskyard.contract.Queue.heartbeat`."""
        stop: list[str] = self._call("heartbeat", session, info)
        return stop

    def leave(self, session: str) -> int:
        """See `taskyard.contract.Queue.leave`."""
        return int(self._call("leave", session))

    def results(self, job: str, after: int, limit: int, wait: float) -> list[Result]:
        """See `taskyard.contract.Queue.results`."""
        return list(map(Result._make, self._call("results", job, after, limit, min(wait, LONGEST_WAIT))))

    def cancel(self, ids: Sequence[str]) -> int:
        """See `taskyard.contract.Queue.cancel`."""
        return int(self._call("cancel", list(ids)))

    def find(self, state: str | None, job: str | None, limit: int, after: int) -> list[Found]:
        """See `taskyard.contract.Queue.find`."""
        return list(map(Found._make, self._call("find", state, job, limit, after)))

    def show(self, ids: Sequence[str], payloads: bool = True) -> list[Details]:
        """See `taskyard.contract.Queue.show`."""
        return list(map(Details._make, self._call("show", list(ids), payloads)))

    def running(self, job: str | None, limit: int) -> list[Running]:
        """See `taskyard.contract.Queue.running`."""
        return list(map(Running._make, self._call("running", job, limit)))

    def jobs(self, job: str | None, limit: int, after: int) -> list[JobInfo]:
        """See `taskyard.contract.Queue.jobs`."""
        return list(map(JobInfo._make, self._call("jobs", job, limit, after)))

    def schedules(self) -> list[ScheduleInfo]:
        """See `taskyard.contract.Queue.schedules`."""
        return list(map(ScheduleInfo._make, self._call("schedules")))

    def retry(self, ids: Sequence[str]) -> int:
        """See `taskyard.contract.Queue.retry`."""
        return int(self._call("retry", list(ids)))

    def forget(self, job: str) -> int:
        """See `taskyard.contract.Queue.forget`."""
        return int(self._call("forget", job))

    def stats(self) -> dict[str, Any]:
        """See `taskyard.contract.Queue.stats`."""
        counted: dict[str, Any] = self._call("stats")
        return counted

    def workers(self) -> list[WorkerInfo]:
        """See `taskyard.contract.Queue.workers`."""
        return list(map(WorkerInfo._make, self._call("workers")))

    # The connection

    def _batches(self, entries: Sequence[Any], data: Callable[[Any], bytes]) -> Iterator[list[tuple[Any, ...]]]:
        batch: list[tuple[Any, ...]] = []
        size = 0
        for entry in entries:
            batch.append(tuple(entry))
            size += len(data(entry)) + ENTRY_BYTES
            self._check_size(len(data(entry)))
            if size >= BATCH_BYTES:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _check_size(self, size: int) -> None:
        if size < BATCH_BYTES:
            return
        if not self.limits:
            self.connect()
        if size > self.limits["payload"]:
            raise PayloadTooLarge(
                f"{size:,} bytes are over the bound of {self.limits['payload']:,} (MASTER_PAYLOAD_LIMIT);"
                " keep big data in a file or a store and pass its address"
            )

    def _call(self, verb: str, *args: Any) -> Any:
        message = pickle.dumps((IDENT, verb, args, {}), protocol=5)
        started, pause = time.monotonic(), 0.0
        with self._lock:
            while True:
                conn = self._connected()
                if len(message) > self.limits["message"]:
                    raise BadRequest(f"{verb}: {len(message):,} bytes in one call; the bound is {self.limits['message']:,}")
                try:
                    conn.send_bytes(message)
                    kind, value = conn.recv()
                    break
                except (EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
                    logger.debug("connection to %s lost: %r", self.url, error)
                    self._drop()
                    if self._patience is not None and time.monotonic() - started > self._patience + LONGEST_WAIT + SILENCE:
                        raise Unreachable(f"the master at {self.url} closes the connection at each {verb}: see its log") from None
                    self._closing.wait(pause)
                    pause = min(0.1 + 2 * pause, 2.0)  # none before the first repetition
        if kind == "#RETURN":
            return value
        raise _error_of(value)

    def _connected(self) -> wire.PlainConnection:
        if self._conn is None:
            self._conn = self._connect_patiently()
            if self._closing.is_set():  # meanwhile, by `close`, which did not see this connection
                self._drop()
                raise Unreachable(f"the connection to {self.url} was closed")
        return self._conn

    def _drop(self) -> None:
        conn, self._conn = self._conn, None
        if conn is not None:
            conn.close()

    def _connect_patiently(self) -> wire.PlainConnection:
        started = time.monotonic()
        pause, told = 0.05, False
        while not self._closing.is_set():
            try:
                # Not longer at first: a host that is just coming back answers a new attempt sooner than the old one.
                conn = self._connect_once(min(max(1.0, 2 * pause), wire.HANDSHAKE_SECONDS))
            except AuthenticationError:
                raise WrongKey(f"the master at {self.url} has another authkey; give both the same one") from None
            except (OSError, EOFError) as error:
                reason = _why(error)
                if self._patience is not None and time.monotonic() - started + pause > self._patience:
                    raise Unreachable(
                        f"no master answers at {self.url} ({reason}); is it running, is the address right?"
                    ) from None
                if self._name and not told and time.monotonic() - started > TELL_SECONDS:
                    until = "until it does" if self._patience is None else f"for {self._patience:g} s"
                    logger.warning("no master answers at %s (%s); trying again %s", self.url, reason, until)
                    told = True
                self._closing.wait(pause * random.uniform(0.5, 1.5))
                pause = min(pause * 2, 2.0)
                continue
            if told:
                logger.warning("connected to %s after %.1f s", self.url, time.monotonic() - started)
            self.generation += 1
            return conn
        raise Unreachable(f"the connection to {self.url} was closed")

    def _connect_once(self, seconds: float) -> wire.PlainConnection:
        conn = wire.open_connection(self.address, self._authkey, seconds)
        try:
            conn.max_bytes = wire.MESSAGE_BYTES
            conn.send((None, "accept_connection", (self._name or threading.current_thread().name,), {}))
            if conn.recv() != ("#RETURN", None):
                raise Unreachable(f"what answers at {self.url} is not a Taskyard master")
            conn.send((IDENT, "hello", (PROTOCOL,), {}))
            kind, hello = conn.recv()
            if kind != "#RETURN":
                raise WrongVersion(f"what answers at {self.url} does not speak Taskyard's protocol {PROTOCOL}")
            if hello["protocol"] != PROTOCOL:
                raise WrongVersion(
                    f"the master at {self.url} speaks protocol {hello['protocol']}, this program {PROTOCOL};"
                    " run the same release on both sides"
                )
        except pickle.UnpicklingError:
            conn.close()
            raise WrongVersion(f"what answers at {self.url} is not a Taskyard master") from None
        except BaseException:
            conn.close()
            raise
        self.limits = {"payload": hello["payload_limit"], "message": hello["message_limit"]}
        conn.max_bytes = hello["message_limit"]
        wire.bound_waits(conn, LONGEST_WAIT + SILENCE, SILENCE)
        return conn


def _why(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "it hung up"
    if isinstance(error, BlockingIOError | TimeoutError):
        return "no answer in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _error_of(value: Any) -> Exception:
    if isinstance(value, Exception):  # of a call that the master could not even read
        return BadRequest(str(value))
    # Errors travel as (class name, message), so that neither side unpickles more than plain data.
    name, message = value
    kind = getattr(errors, str(name), None)
    if isinstance(kind, type) and issubclass(kind, TaskyardError):
        return kind(message)
    return TaskyardError(f"the master failed: {name}: {message}")
