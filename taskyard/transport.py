"""The queue over the network: `QueueManager` as in the tutorial, and `RemoteQueue`, which speaks the whole contract."""

from __future__ import annotations

import logging
import pickle
import random
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import AuthenticationError
from multiprocessing.managers import BaseManager
from typing import Any, Self, TypeVar

from taskyard import errors, finder, tls, wire
from taskyard.errors import (
    BadRequest,
    PayloadTooLarge,
    SettingsError,
    TaskyardError,
    Unreachable,
    WrongKey,
    WrongVersion,
)
from taskyard.keys import Authkey, find_nats_password
from taskyard.model import (
    PROTOCOL,
    Attempt,
    Details,
    Found,
    JobInfo,
    Kind,
    Lease,
    Orders,
    Outcome,
    Result,
    Running,
    Sample,
    ScheduleInfo,
    Task,
    WorkerInfo,
)
from taskyard.series import (
    LeaseSeries,
    OutcomeSeries,
    ResultSeries,
    TaskSeries,
    data_of,
    from_outcomes,
    from_tasks,
    messages,
    to_leases,
    to_results,
)
from taskyard.settings import SYSTEM_CAS, TlsFiles
from taskyard.urls import is_nats, is_tls, parse_url, shown

logger = logging.getLogger("taskyard")

IDENT = "queue"
"""The object, known to every master, that serves the contract. The tutorial's two queues are ``task`` and ``result``."""
BATCH_BYTES = 4 * 1024 * 1024
"""A call's payloads are cut into messages of about this size."""
LONGEST_WAIT = 30.0
"""Seconds that one long poll may wait; longer waits are several polls."""
SILENCE = 30.0
"""Seconds beyond its own wait that a call's answer may take before the connection is given up."""
RETRY_LIMIT = 2000
"""Failed tasks that one call moves at most, so that others don't wait for it."""
SHORT_BYTES = 4096
"""A message that surely finds room in a connection on which nothing is under way."""
TELL_SECONDS = 0.5
"""An outage that lasts so long is told in the log."""

S = TypeVar("S", TaskSeries, OutcomeSeries)


class QueueManager(BaseManager):
    """The tutorial's manager, for programs that want just its two queues: ``QueueManager(address, authkey)``."""

    def __init__(self, address: tuple[str, int], authkey: bytes) -> None:
        super().__init__(address=address, authkey=authkey, serializer=wire.SERIALIZER)


QueueManager.register("get_task_queue")
QueueManager.register("get_result_queue")


class RemoteQueue:
    """The contract (`taskyard.contract.Queue`) over one connection, which is made again whenever it breaks.

    A call that was cut off is repeated, which the contract allows for each verb. ``patience`` is how many seconds a
    call may go without a master before it raises `Unreachable` (None: for ever). `WrongKey`, `WrongVersion` and
    `WrongCertificate` are raised at once. Calls from several threads take turns. ``name``: who speaks; without one, outages
    are not logged. ``files``: for a ``managers://`` URL. Raises `SettingsError` if URL or files make no sense.
    """

    def __init__(
        self, url: str, authkey: Authkey, patience: float | None = None, name: str = "", files: TlsFiles = SYSTEM_CAS
    ) -> None:
        self.url = shown(url)
        """As it may be told."""
        self._url = url
        self.address = ("", 0) if is_nats(url) else parse_url(url)
        """With several masters: that of the last one that was found to lead."""
        self.generation = 0
        """Grows with each connection made; leases of an earlier one were given back by the master."""
        self.limits: dict[str, int] = {}
        self._authkey = authkey
        self._patience = patience
        self._name = name
        self._files = files
        self._context = tls.client_context(files) if is_tls(url) else None
        self._finder = finder.share(url, "client", partial(find_nats_password, "client"), self._context) if is_nats(url) else None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._conn: wire.PlainConnection | None = None
        self._posted: bytes | None = None
        """What was sent by `post`, and not answered."""
        self._answered: tuple[bytes, Any] | None = None
        """What was posted last, and its answer, or what it raised."""

    def another(self, patience: float | None = None, name: str = "") -> RemoteQueue:
        """A further connection to the same master."""
        return RemoteQueue(self._url, self._authkey, patience, name, self._files)

    @property
    def connected(self) -> bool:
        """Whether there was a connection when it was last used."""
        return self._conn is not None

    def connect(self) -> None:
        """Connect now rather than at the first call. Raises `WrongKey`, `WrongVersion`, `WrongCertificate`, `Unreachable`."""
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
            held, self._finder = self._finder, None
        if held is not None:
            finder.release(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The verbs

    def submit(self, tasks: Sequence[Task]) -> int:
        """See `taskyard.contract.Queue.submit`. A long list goes in several messages; each is taken whole or not at all."""
        return self.submit_series(from_tasks(tasks))

    def submit_series(self, tasks: Sequence[TaskSeries]) -> int:
        """The same for tasks in series."""
        return sum(self._call("submit", list(map(tuple, message))) for message in self._messages(tasks))

    def lease(self, session: str, limit: int, wait: float, names: Sequence[str] | None = None) -> list[Lease]:
        """See `taskyard.contract.Queue.lease`."""
        return to_leases(self.lease_series(session, limit, wait, names))

    def lease_series(self, session: str, limit: int, wait: float, names: Sequence[str] | None = None) -> list[LeaseSeries]:
        """The same in series."""
        known = None if names is None else list(names)
        return list(map(LeaseSeries._make, self._call("lease", session, limit, min(wait, LONGEST_WAIT), known)))

    def settle(self, session: str, outcomes: Sequence[Outcome]) -> int:
        """See `taskyard.contract.Queue.settle`. A long list goes in several messages."""
        return self.settle_series(session, from_outcomes(outcomes))

    def settle_series(self, session: str, outcomes: Sequence[OutcomeSeries]) -> int:
        """The same for outcomes in series."""
        return sum(self._call("settle", session, list(map(tuple, message))) for message in self._messages(outcomes))

    def heartbeat(self, session: str, info: dict[str, Any]) -> Orders:
        """See `taskyard.contract.Queue.heartbeat`."""
        return Orders._make(self._call("heartbeat", session, info))

    def leave(self, session: str) -> int:
        """See `taskyard.contract.Queue.leave`."""
        return int(self._call("leave", session))

    def results(self, job: str, after: int, limit: int, wait: float) -> list[Result]:
        """See `taskyard.contract.Queue.results`."""
        return to_results(self.results_series(job, after, limit, wait))

    def results_series(self, job: str, after: int, limit: int, wait: float) -> list[ResultSeries]:
        """The same in series."""
        return list(map(ResultSeries._make, self._call("results", job, after, limit, min(wait, LONGEST_WAIT))))

    def cancel(self, ids: Sequence[str]) -> int:
        """See `taskyard.contract.Queue.cancel`."""
        return int(self._call("cancel", list(ids)))

    def find(
        self, state: str | None, job: str | None, limit: int, after: int, name: str | None = None, text: str | None = None
    ) -> list[Found]:
        """See `taskyard.contract.Queue.find`."""
        return list(map(Found._make, self._call("find", state, job, limit, after, name, text)))

    def show(self, ids: Sequence[str], payloads: bool = True) -> list[Details]:
        """See `taskyard.contract.Queue.show`."""
        return list(map(Details._make, self._call("show", list(ids), payloads)))

    def attempts(self, ids: Sequence[str]) -> list[Attempt]:
        """See `taskyard.contract.Queue.attempts`."""
        return list(map(Attempt._make, self._call("attempts", list(ids))))

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

    def retry_all(self, name: str | None, job: str | None, cause: str | None) -> int:
        """See `taskyard.contract.Queue.retry_all`. Many are moved by several calls."""
        retried = 0
        while moved := int(self._call("retry_all", name, job, cause)):
            retried += moved
            if moved < RETRY_LIMIT:
                break
        return retried

    def forget(self, job: str) -> int:
        """See `taskyard.contract.Queue.forget`."""
        return int(self._call("forget", job))

    def pause(self, paused: bool) -> bool:
        """See `taskyard.contract.Queue.pause`."""
        return bool(self._call("pause", paused))

    def drain(self, sessions: Sequence[str]) -> int:
        """See `taskyard.contract.Queue.drain`."""
        return int(self._call("drain", list(sessions)))

    def stats(self) -> dict[str, Any]:
        """See `taskyard.contract.Queue.stats`."""
        counted: dict[str, Any] = self._call("stats")
        return counted

    def workers(self) -> list[WorkerInfo]:
        """See `taskyard.contract.Queue.workers`."""
        return list(map(WorkerInfo._make, self._call("workers")))

    def history(self, since: float, step: float) -> list[Sample]:
        """See `taskyard.contract.Queue.history`."""
        return list(map(Sample._make, self._call("history", since, step)))

    def kinds(self) -> list[Kind]:
        """See `taskyard.contract.Queue.kinds`."""
        return list(map(Kind._make, self._call("kinds")))

    def backup(self, token: str, offset: int, limit: int) -> bytes:
        """See `taskyard.contract.Queue.backup`."""
        while (piece := self._call("backup", token, offset, limit)) is None:
            pass  # it was being written all the time
        return bytes(piece)

    # The connection

    def _messages(self, series: Sequence[S]) -> Iterator[list[S]]:
        for message in messages(series, BATCH_BYTES):
            for one in message:
                self._check_size(max(map(len, data_of(one)), default=0))
            yield message

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

    def post(self, verb: str, *args: Any) -> bytes | None:
        """Send a call without waiting for anything; None: that can't be done now. Whoever gets something else calls `answer`
        with it, from any thread.
        """
        message = _message(verb, args)
        if len(message) >= SHORT_BYTES or self._lock.locked():
            return None
        with self._lock:  # not longer: whoever is interrupted here must leave nothing that others wait for
            conn = self._conn
            # Nothing else is under way on the connection, so that a short message finds room in it.
            if conn is None or self._posted is not None:
                return None
            try:
                conn.send_bytes(message)
                self._posted = message
            except (OSError, ValueError) as error:
                logger.debug("connection to %s lost: %r", self.url, error)
                self._drop()
            except BaseException:  # KeyboardInterrupt: nobody can tell what was sent
                self._posted = None
                self._drop()
                raise
            return self._posted

    def answer(self, message: bytes) -> Any:
        """What a call returns that was sent by `post`; it is made again if it was cut off."""
        with self._lock:
            if self._posted is message:
                self._end_posted()
            answered, self._answered = self._answered, None
        if answered is None or answered[0] is not message:
            raise ValueError("nothing was posted that would have this answer")
        if isinstance(answered[1], BaseException):
            raise answered[1]
        return answered[1]

    def _call(self, verb: str, *args: Any) -> Any:
        message = _message(verb, args)
        with self._lock:
            if self._posted is not None:  # its answer comes first; nobody may ask for it, if whoever posted was interrupted
                self._end_posted()
            return self._converse(message)

    def _end_posted(self) -> None:
        """Take the answer to what was posted, for `answer`."""
        message, self._posted = self._posted, None
        assert message is not None
        try:
            self._answered = message, self._converse(message, posted=self._conn is not None)
        except Exception as error:
            self._answered = message, error

    def _converse(self, message: bytes, posted: bool = False) -> Any:
        started, pause = time.monotonic(), 0.0
        while True:
            conn = self._connected()
            if len(message) > self.limits["message"]:
                raise BadRequest(f"{len(message):,} bytes in one call; the bound is {self.limits['message']:,}")
            try:
                if not posted:
                    conn.send_bytes(message)
                kind, value = conn.recv()
                break
            except (EOFError, OSError, pickle.UnpicklingError, ValueError) as error:
                logger.debug("connection to %s lost: %r", self.url, error)
                self._drop()
                posted = False
                if self._patience is not None and time.monotonic() - started > self._patience + LONGEST_WAIT + SILENCE:
                    raise Unreachable(f"the master at {self.url} closes the connection at each call: see its log") from None
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
            if self._finder is not None:
                self._finder.unwatch(conn)
            conn.close()

    def _connect_patiently(self) -> wire.PlainConnection:
        started = time.monotonic()
        pause, told, asked = 0.05, False, False
        while not self._closing.is_set():
            try:
                # Not longer at first: a host that is just coming back answers a new attempt sooner than the old one.
                conn = self._connect_once(min(max(1.0, 2 * pause), wire.HANDSHAKE_SECONDS))
            except AuthenticationError:
                raise WrongKey(f"the master at {self.url} has another authkey; give both the same one") from None
            except (OSError, EOFError) as error:
                # A server of TLS waits for the client's first word; this one has waited for the server's.
                if self._context is None and not asked and isinstance(error, BlockingIOError | EOFError):
                    asked = True
                    if tls.speaks_tls(self.address):
                        raise SettingsError(
                            f"the master at {self.url} speaks TLS: use managers:// in TASKYARD_URL, and TASKYARD_TLS_CA"
                        ) from None
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
        if self._finder is not None:
            self.address = self._finder.find(seconds)
        authkey = self._authkey if isinstance(self._authkey, bytes) else self._authkey()
        conn = wire.open_connection(self.address, authkey, seconds, self._secure)
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
        if self._finder is not None:
            self._finder.watch(conn, self.address)
        self.limits = {"payload": hello["payload_limit"], "message": hello["message_limit"]}
        conn.max_bytes = hello["message_limit"]
        wire.bound_waits(conn, LONGEST_WAIT + SILENCE, SILENCE)
        return conn

    def _secure(self, sock: socket.socket) -> socket.socket:
        return sock if self._context is None else tls.open_tunnel(sock, self._context, self.address[0], self.url)


def _message(verb: str, args: tuple[Any, ...]) -> bytes:
    return pickle.dumps((IDENT, verb, args, {}), protocol=5)


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
