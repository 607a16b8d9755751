"""`Cluster`: a ``concurrent.futures.Executor`` whose calls run on the workers.

Two threads serve all futures: one sends what was submitted (many calls in one message, as many as there are), one reads
results as they come. Both go on by themselves when the master comes back after a restart: ids are made here, so a
message whose answer was lost is sent again.
"""

from __future__ import annotations

import itertools
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from taskyard.codec import decode, decode_error, encode
from taskyard.errors import BadRequest, PayloadTooLarge, QueueFull, StoreFull, TaskyardError, Unreachable
from taskyard.model import Result, Task, WorkerInfo
from taskyard.registry import options_of
from taskyard.settings import find_authkey, load_settings
from taskyard.transport import RemoteQueue

T = TypeVar("T")

SEND_TASKS = 2000
"""Tasks in one submit, at most; what came in while the last one was under way goes together."""
RESULTS_PAGE = 5000
MAP_WINDOW = 10_000
"""Calls of one `Cluster.map` that are under way at the same time, at most."""
GOODBYE_SECONDS = 5.0
"""What `Cluster.shutdown` waits for a master to hear what was cancelled."""
FULL_PAUSE = 0.5
"""Seconds until a submit that the queue had no room for is tried again."""


class Cluster(Executor):
    """Runs calls of ``@task`` functions on the workers; a drop-in for the standard library's executors.

    ``url`` and ``authkey`` default to the settings (TASKYARD_URL, TASKYARD_AUTHKEY, TASKYARD_AUTHKEY_FILE). ``patience``:
    seconds to wait for a master at first; afterwards outages are waited out. Raises `SettingsError`, `Unreachable`,
    `WrongKey`, `WrongVersion`.
    """

    def __init__(self, url: str | None = None, authkey: bytes | None = None, *, patience: float = 60.0) -> None:
        settings = load_settings()
        self.job = uuid.uuid4().hex
        """The id under which all calls of this executor are kept."""
        self._queue = RemoteQueue(url or settings.taskyard_url, authkey or find_authkey(settings), patience, "client")
        self._queue.connect()
        self._sending = self._queue.another()
        self._reading = self._queue.another()
        self._lock = threading.Lock()
        self._news = threading.Condition(self._lock)
        self._numbers = itertools.count()
        self._outbox: deque[Task] = deque()
        self._cancelled: deque[str] = deque()
        self._futures: dict[str, Future[Any]] = {}
        self._stopping = False
        self._failure: BaseException | None = None
        self._sender = threading.Thread(target=self._guard, args=(self._send,), name="taskyard-sender", daemon=True)
        self._reader = threading.Thread(target=self._guard, args=(self._read,), name="taskyard-reader", daemon=True)
        self._sender.start()
        self._reader.start()

    def submit(self, fn: Callable[..., T] | str, /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call a task's function, or the task of this name, on some worker.

        Returns a future of what it returns. What it raises is raised by ``result()``, with the worker's traceback as its
        cause; a task that ended without an exception of its own raises `TaskFailed` with the cause of death. Raises
        `UnknownTask` for a function without ``@task``, RuntimeError after `shutdown`, and what pickle raises.
        """
        options = options_of(fn)
        payload = encode((args, kwargs))
        future: Future[T] = Future()
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._stopping:
                raise RuntimeError("cannot schedule new futures after shutdown")
            task = Task(
                f"{self.job}-{next(self._numbers)}",
                self.job,
                options.name,
                payload,
                priority=options.priority,
                retries=options.retries,
                backoff=options.backoff,
                time_limit=options.time_limit,
            )
            self._futures[task.id] = future
            self._outbox.append(task)
            if len(self._outbox) == 1 or len(self._futures) == 1:
                self._news.notify_all()
        future.add_done_callback(lambda ended: self._note_cancelled(task.id) if ended.cancelled() else None)
        return future

    def map(
        self, fn: Callable[..., T], *iterables: Iterable[Any], timeout: float | None = None, chunksize: int = 1
    ) -> Iterator[T]:
        """Results of ``fn`` over the iterables, in their order; at most `MAP_WINDOW` calls are under way.

        ``timeout``: seconds from now until which a result may come, else TimeoutError. ``chunksize`` is accepted and
        has no effect: calls travel together anyway.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        calls = zip(*iterables, strict=False)
        window = deque(self.submit(fn, *args) for args in itertools.islice(calls, MAP_WINDOW))

        def results() -> Iterator[T]:
            try:
                while window:
                    left = None if deadline is None else deadline - time.monotonic()
                    yield window.popleft().result(left)
                    window.extend(self.submit(fn, *args) for args in itertools.islice(calls, 1))
            finally:
                for future in window:
                    future.cancel()

        return results()

    def workers(self) -> list[WorkerInfo]:
        """Workers that are alive."""
        return self._queue.workers()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. ``wait``: return when all futures are done; ``cancel_futures``: cancel those that are not."""
        with self._lock:
            self._stopping = True
            open_futures = list(self._futures.values()) if cancel_futures else []
            self._news.notify_all()
        for future in open_futures:
            future.cancel()
        if wait:
            with self._news:
                while self._futures:
                    self._news.wait()
            # The last cancels go out, if there is a master.
            deadline = time.monotonic() + GOODBYE_SECONDS
            for thread in (self._sender, self._reader):
                thread.join(max(0.0, deadline - time.monotonic()))
            for queue in (self._sending, self._reading, self._queue):
                queue.close()
            for thread in (self._sender, self._reader):
                thread.join()

    # The sender

    def _send(self) -> None:
        most = SEND_TASKS
        while True:
            with self._news:
                while not (self._outbox or self._cancelled or (self._stopping and not self._futures)):
                    self._news.wait()
                batch = [self._outbox.popleft() for _ in range(min(most, len(self._outbox)))]
                batch = [task for task in batch if task.id in self._futures]  # the others were cancelled meanwhile
                cancelled = [self._cancelled.popleft() for _ in range(min(SEND_TASKS, len(self._cancelled)))]
                if not (batch or cancelled or self._outbox or self._futures) and self._stopping:
                    return
            if self._cancel(cancelled):
                cancelled = []
            if self._submit(batch):
                most, batch = min(2 * most, SEND_TASKS), []
            if batch or cancelled:
                with self._news:  # again, and fewer of them, once there may be room
                    self._outbox.extendleft(reversed(batch))
                    self._cancelled.extendleft(reversed(cancelled))
                    self._news.wait(FULL_PAUSE)
                most = max(1, len(batch) // 2) if batch else most

    def _cancel(self, ids: list[str]) -> bool:
        """Send what was cancelled; returns whether the queue's disk had room."""
        try:
            if ids:
                self._sending.cancel(ids)
        except StoreFull:
            return False
        return True

    def _submit(self, batch: list[Task]) -> bool:
        """Send a batch; returns whether the queue had room. Calls that it refuses for good fail, each on its own."""
        if not batch:
            return True
        try:
            self._sending.submit(batch)
        except (QueueFull, StoreFull):
            return False
        except (BadRequest, PayloadTooLarge) as error:
            if len(batch) == 1:
                self._resolve(batch[0].id, error=error)
                return True
            middle = len(batch) // 2
            return self._submit(batch[:middle]) and self._submit(batch[middle:])
        return True

    # The reader

    def _read(self) -> None:
        cursor = 0
        while True:
            with self._news:
                while not (self._futures or self._stopping):
                    self._news.wait()
                if not self._futures:
                    self._news.notify_all()
                    return
            try:
                page = self._reading.results(self.job, cursor, RESULTS_PAGE, 1.0)
            except StoreFull:
                continue
            for result in page:
                cursor = result.cursor
                self._take(result)

    def _take(self, result: Result) -> None:
        value: Any = None
        error: BaseException | None = None
        if result.state == "done":
            try:
                value = decode(result.value)
            except Exception as problem:
                error = problem
        else:
            error = decode_error(result.value, result.cause)
        self._resolve(result.id, value, error)

    def _resolve(self, task_id: str, value: Any = None, error: BaseException | None = None) -> None:
        with self._lock:
            future = self._futures.pop(task_id, None)
            if not self._futures:
                self._news.notify_all()
        if future is None or not future.set_running_or_notify_cancel():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _note_cancelled(self, task_id: str) -> None:
        with self._lock:
            known = self._futures.pop(task_id, None)
            self._cancelled.append(task_id)
            self._news.notify_all()
        if known is not None:
            known.set_running_or_notify_cancel()  # tells `wait` and `as_completed`

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; if it fails for good, so does every future."""
        try:
            loop()
        except BaseException as error:
            if isinstance(error, Unreachable) and self._stopping and not self._futures:
                return
            with self._lock:
                self._failure = error if isinstance(error, TaskyardError) else TaskyardError(f"the client failed: {error!r}")
                ids = list(self._futures)
            for task_id in ids:
                self._resolve(task_id, error=self._failure)
