"""`Cluster`: a ``concurrent.futures.Executor`` whose calls run on the workers."""

from __future__ import annotations

import functools
import hashlib
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Executor, Future
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from taskyard import calls, functions, registry
from taskyard.codec import encode
from taskyard.errors import SettingsError, TaskyardError
from taskyard.exchange import GOODBYE_SECONDS, Exchange
from taskyard.futures import Block, TaskFuture
from taskyard.jobs import Job
from taskyard.keys import Authkey, follow_authkey
from taskyard.mapping import AT_HAND, WINDOW, Mapping
from taskyard.model import BY_CAUSE, WorkerInfo
from taskyard.options import Options
from taskyard.registry import options_of
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue

T = TypeVar("T")
LONGEST_JOB = 120
"""Characters; ids of tasks begin with it."""


class Calls(Executor):
    """Makes calls on a cluster, with options of its own: see `Cluster.options`."""

    def __init__(self, cluster: Cluster | None, options: dict[str, Any]) -> None:
        self._made_by = cluster
        self._options = options
        self._changed: dict[Options, Options] = {}
        self._with_options(Options())  # refuses now what makes no sense

    @property
    def _cluster(self) -> Cluster:
        return self._made_by or self  # type: ignore[return-value]

    def options(self, **options: Any) -> Calls:
        """An executor of the same cluster whose calls have these options (see `taskyard.options.Options`).

        Raises TypeError for an option that there is not, `SettingsError` for one that makes no sense.
        """
        for name in ("name", "cron", "every", "timezone", "missed"):
            if name in options:
                raise TypeError(f"{name} is an option of @task, not of a call")
        return Calls(self._cluster, {**self._options, **options})

    def submit(self, fn: Callable[..., T] | str, /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a function on some worker: a task (``@task``, or its name) by name, any other function by value.

        Returns a future of what it returns. What it raises is raised by ``result()``, with the worker's traceback as its
        cause; a task that ended without an exception of its own raises `TaskFailed` with the cause of death. What can't
        be pickled, or sent, fails that future alone. With a ``key`` that was used before, it is the first call's future.
        Raises RuntimeError after `shutdown`.
        """
        options, by_value = self._plan(fn)
        try:
            if by_value:
                pickled = functions.pickle_function(fn)  # type: ignore[arg-type]
                payload = calls.pack_function(pickled, functions.pickle_arguments(args, kwargs))
            else:
                payload = encode((args, kwargs))
        except Exception as error:
            return self._cluster._failed(error)
        return self._submit(options, payload)

    def submit_payload(self, name: str, payload: bytes, count: int = 1) -> TaskFuture:
        """Submit a task whose arguments are encoded already (see `taskyard.codec`), for instance as JSON.

        ``count``: calls in the payload, where it is one of many (see `taskyard.calls.pack_many`); then the future gives
        their seconds and their outcomes.
        """
        return self._submit(self._plan(name)[0], payload, count)

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Results of ``fn`` over the iterables, in their order; the iterables may be endless.

        ``timeout``: seconds from now until which a result may come, else TimeoutError. ``chunksize``: calls that one task
        has; None: as many as make about `taskyard.mapping.CHUNK_SECONDS`, found by measuring; 1: each is a task of its
        own, as it always is where ``retries``, ``retry_on`` or ``time_limit`` are given, which count for a
        task. ``buffersize``: calls whose results were not taken yet, at most; None: `taskyard.mapping.WINDOW`.
        """
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and (not isinstance(buffersize, int) or buffersize < 1):
            raise ValueError("buffersize must be None or > 0")
        options, by_value = self._plan(fn)
        if options.key:
            raise SettingsError("a key is one call's: map makes many")
        deadline = None if timeout is None else time.monotonic() + timeout
        function = functions.pickle_function(fn) if by_value else b""
        cluster = self._cluster
        cluster._check_open()

        def send(payloads: list[bytes], count: int, last: Block | None) -> Block:
            if function:
                payloads = [calls.pack_function(function, payload) for payload in payloads]
            return cluster._add_block(options, _with_retry_names(options, payloads), count, last)

        alone = options.retries != BY_CAUSE or bool(options.time_limit)
        at_hand = all(type(one) in AT_HAND for one in iterables)
        at_once = buffersize is None and all(isinstance(one, Sized) for one in iterables)
        encode_call = _encode_by_value if by_value else _encode
        mapping = Mapping(
            zip(*iterables, strict=False), encode_call, send, 1 if alone else chunksize or 0, buffersize or WINDOW, at_hand
        )
        return mapping.begin(deadline, at_once)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Cluster.shutdown`."""
        self._cluster.shutdown(wait, cancel_futures=cancel_futures)

    # Parts of the above

    def _plan(self, fn: Callable[..., Any] | str) -> tuple[Options, bool]:
        """The options of a call, and whether its function goes by value."""
        if isinstance(fn, str) and fn not in registry._functions:
            return self._with_options(_options_of_name(fn)), False
        known = options_of(fn)
        if known is not None and getattr(fn, "__module__", "") != "__main__":
            return self._with_options(known), False
        if not callable(fn):
            raise TypeError(f"{fn!r} can't be called, and is no name of a task")
        options = self._with_options(_by_value(known or Options()))
        if options.key:
            if known is None:
                raise SettingsError("a key belongs to a task's name: put @task above the function")
            options = options.changed(key=f"{known.name}: {options.key}")
        return options, True

    def _with_options(self, options: Options) -> Options:
        if not self._options:
            return options
        changed = self._changed.get(options)
        if changed is None:
            changed = self._changed[options] = options.changed(**self._options)
        return changed

    def _submit(self, options: Options, payload: bytes, count: int = 1) -> TaskFuture:
        if options.retry_on is not None:
            (payload,) = _with_retry_names(options, [payload])
        return self._cluster._add(options, payload, count)


_options_of_name = functools.lru_cache(1000)(lambda name: Options(name=name))
"""Of tasks that are not known here. Calls in a row travel together if their options are one object."""
_by_value = functools.lru_cache(1000)(lambda options: options.changed(name=calls.BY_VALUE))


def _encode(args: tuple[Any, ...]) -> bytes:
    return encode((args, {}))


def _encode_by_value(args: tuple[Any, ...]) -> bytes:
    return functions.pickle_arguments(args, {})


def _with_retry_names(options: Options, payloads: list[bytes]) -> list[bytes]:
    names = options.retry_names()
    return payloads if names is None else [calls.pack_retry_on(names, payload) for payload in payloads]


class Cluster(Calls):
    """Runs calls on the workers; a drop-in for the standard library's executors.

    ``url`` and ``authkey`` default to the settings (TASKYARD_URL, TASKYARD_AUTHKEY, TASKYARD_AUTHKEY_FILE). ``job``: the
    id under which all calls are kept; made if not said. ``patience``: seconds to wait for a master at first; afterwards
    outages are waited out. Raises `SettingsError`, `Unreachable`, `WrongKey`, `WrongVersion`, `WrongCertificate`.
    """

    def __init__(
        self, url: str | None = None, authkey: Authkey | None = None, *, job: str | None = None, patience: float = 60.0
    ) -> None:
        super().__init__(None, {})
        settings = load_settings()
        if job is not None and not 0 < len(job) <= LONGEST_JOB:
            raise SettingsError(f"job={job!r}: expected 1 to {LONGEST_JOB} characters")
        self.job_id = job or uuid.uuid4().hex
        """The job under which all calls of this executor are kept."""
        # Several clients may submit under one job.
        self._prefix = self.job_id if job is None else f"{job}-{uuid.uuid4().hex[:8]}"
        authkey = authkey or follow_authkey(settings)
        self.queue = RemoteQueue(url or settings.taskyard_url, authkey, patience, "client", settings.tls_files)
        """The queue's verbs, for what this class has no method."""
        self.queue.connect()
        self._renewing = threading.Lock()
        self._open_exchange()

    def _open_exchange(self) -> None:
        self._exchange = Exchange(self.queue, self.job_id, self._prefix)
        self._finalizer = weakref.finalize(self, self._exchange.stop)
        self._finalizer.atexit = False

    def job(self, job_id: str) -> Job:
        """A job by its id, also one of a client that is gone."""
        if job_id == self.job_id and not self._exchange.is_forked:
            self._exchange.flush()
        return Job(self.queue, job_id)

    def workers(self) -> list[WorkerInfo]:
        """Workers that are alive."""
        return [worker for worker in self.queue.workers() if not worker.left]

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. ``wait``: return when all futures have ended; ``cancel_futures``: cancel what no worker has."""
        self._exchange.stop(cancel_futures)
        if wait and not self._exchange.is_forked:
            self._exchange.wait()
            self.queue.close()

    def detach(self) -> str:
        """Take no more calls, return once all is durable in the queue, and let it go: returns the job's id.

        Futures that are open end with `Detached`; `job` has the results. Raises what ended the traffic for good (`WrongKey`).
        """
        if not self._exchange.is_forked:
            self._leave(None)
        return self.job_id

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        interrupted = kind is not None and not issubclass(kind, Exception)
        try:
            return None if interrupted else super().__exit__(kind, error, traceback)
        except KeyboardInterrupt:
            interrupted = True
            raise
        finally:
            # Nobody waits for what may take hours. It stays in the queue, and can be picked up by its job.
            if interrupted and not self._exchange.is_forked:
                with suppress(TaskyardError):
                    self._leave(GOODBYE_SECONDS)

    def _leave(self, seconds: float | None) -> None:
        """Let go of all calls, once they are sent or so many seconds have passed."""
        self._exchange.stop()
        try:
            self._exchange.flush(seconds)
        finally:
            self._exchange.abandon()
            self.queue.close()

    # For `Calls`

    def _add(self, options: Options, payload: bytes, count: int) -> TaskFuture:
        if self._exchange.is_forked:
            self._renew()
        if options.key:
            task_id = "key-" + hashlib.sha256(f"{options.name}\0{options.key}".encode()).hexdigest()[:48]
            return self._exchange.add_keyed(options, payload, task_id)
        return self._exchange.add(options, payload, count)

    def _add_block(self, options: Options, payloads: list[bytes], count: int, last: Block | None) -> Block:
        if self._exchange.is_forked:
            self._renew()
        return self._exchange.add_block(options, payloads, count, last)

    def _failed(self, error: Exception) -> Future[Any]:
        """A call that can't be sent."""
        self._check_open()
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        future.set_exception(error)
        return future

    def _check_open(self) -> None:
        if self._exchange.stopped and not self._exchange.is_forked:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _renew(self) -> None:
        """In a forked child, whose parent has the threads and the connections: begin anew, under a job of its own."""
        with self._renewing:
            if not self._exchange.is_forked:
                return
            self.job_id = self._prefix = uuid.uuid4().hex
            self.queue = self.queue.another(60.0, "client")
            self._open_exchange()
