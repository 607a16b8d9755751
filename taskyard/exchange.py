"""The traffic of one client: tasks out, results in, a future for each.

Two threads serve all futures: one sends what was submitted (many calls in one message, as many as there are), one reads
results as they come. Both go on by themselves when the master comes back after a restart: ids are made by the client, so
a message whose answer was lost is sent again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable

from taskyard.calls import BY_VALUE
from taskyard.ending import at_end
from taskyard.errors import BadRequest, Detached, NoSuchTask, PayloadTooLarge, QueueFull, StoreFull, TaskyardError, Unreachable
from taskyard.functions import why_refused
from taskyard.futures import OpenFutures, TaskFuture
from taskyard.model import END_STATES, Result, Running, Task
from taskyard.transport import RemoteQueue

SEND_TASKS = 2000
"""Tasks in one submit, at most; what came in while the last one was under way goes together."""
RESULTS_PAGE = 5000
POLL_SECONDS = 1.0
"""One wait for results; between two, the reader looks after calls whose key was known already."""
KEYED_POLL_SECONDS = 0.1
ASK_SECONDS = 1.0
"""How long a question about what runs waits for a master that does not answer."""
SECOND_LOOK_SECONDS = 0.6
"""For so long `Exchange.stop` looks again at what seems to run: workers give back what they hold behind a long task."""
GOODBYE_SECONDS = 5.0
"""What the end of a program or of an executor waits for a master that does not answer."""
FULL_PAUSE = 0.5
"""Seconds until a submit that the queue had no room for is tried again."""
LOOK_TASKS = 500
"""Calls that are looked at in one question."""
DOUBT_SECONDS = 30.0
"""When no result has come for so long, or the master was away, it is looked whether the queue still knows the calls."""

_GONE = "it was forgotten, its result has outlived its time, or the queue has lost its data"
logger = logging.getLogger("taskyard")
_all: weakref.WeakSet[Exchange] = weakref.WeakSet()
_interpreter_ends = False


class Exchange:
    """Serves the futures of one job. Its threads end once `stop` was called and no future is open."""

    def __init__(self, queue: RemoteQueue, job: str) -> None:
        self.job = job
        self.pid = os.getpid()
        self._asking = queue.another(ASK_SECONDS)
        self._sending = queue.another()
        self._reading = queue.another()
        self._futures = OpenFutures()
        self._news = self._futures.news
        self._outbox: deque[Task] = deque()
        self._unsent = 0
        self._known: set[str] = set()
        """Keyed calls that somebody has submitted before: their results may belong to another job."""
        self._doubtful: deque[str] = deque()
        """Calls that are to be looked at one by one."""
        self._functions_are_taken = False
        self._stopping = False
        self._failure: TaskyardError | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(loop,), name=f"taskyard-{name}", daemon=True)
            for loop, name in ((self._send, "sender"), (self._read, "reader"))
        ]
        for thread in self._threads:
            thread.start()
        _all.add(self)

    # What a client does

    def add(self, task: Task, keyed: bool = False) -> TaskFuture:
        """Submit a task; returns its future, or the one that it has already. Raises RuntimeError after `stop`."""
        with self._news:
            if self._failure is not None:
                raise type(self._failure)(*self._failure.args)
            if _interpreter_ends:
                raise RuntimeError("cannot schedule new futures after interpreter shutdown")
            if self._stopping:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future, is_new = self._futures.make(task.id, self, keyed)
            if not is_new:
                return future
            self._outbox.append(task)
            self._unsent += 1
            if len(self._outbox) == 1 or len(self._futures) == 1:
                self._news.notify_all()
        future.add_done_callback(self._futures.note_end)
        return future

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked child's copy, whose threads and connections are the parent's."""
        return self.pid != os.getpid()

    @property
    def stopped(self) -> bool:
        """Whether it takes no more calls."""
        return self._stopping

    def running(self, task_id: str = "") -> list[Running]:
        """Tasks of this job that run, or of the job that has this task; none while there is no master."""
        try:
            job = self.job
            if self._futures.is_keyed(task_id):  # another client may have submitted it
                job = next((found.job for found in self._asking.show([task_id], False)), job)
            return self._asking.running(job, RESULTS_PAGE)
        except Unreachable:
            return []

    def _waiting(self) -> set[str] | None:
        """Ids of this job's tasks that no worker has; None: there is no master to ask."""
        waiting: set[str] = set()
        try:
            for state in ("ready", "delayed"):
                after = 0
                while found := self._asking.find(state, self.job, RESULTS_PAGE, after):
                    waiting.update(task.id for task in found)
                    after += len(found)
        except Unreachable:
            return None
        return waiting

    def stop(self, cancel: bool = False) -> None:
        """Take no more calls. ``cancel``: cancel those that do not run yet."""
        if self.is_forked:
            return
        with self._news:
            self._stopping = True
            open_futures = list(self._futures.values()) if cancel else []
            self._news.notify_all()
        deadline = time.monotonic() + SECOND_LOOK_SECONDS
        while open_futures:
            waiting = self._waiting()
            for future in open_futures:
                if waiting is None or not future.sent or future.task_id in waiting:
                    future.cancel()
            open_futures = [future for future in open_futures if not future.done()]
            if not open_futures or time.monotonic() > deadline:
                return
            with self._news:
                self._news.wait(0.1)

    def wait(self) -> None:
        """After `stop`: return when all futures have ended, and all that was cancelled is told, if there is a master."""
        with self._news:
            while self._futures:
                self._news.wait()
        self._close(GOODBYE_SECONDS)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all that was submitted is in the queue, so long at most. Raises what has ended the traffic for good, as
        `WrongKey`.
        """
        with self._news:
            self._news.wait_for(lambda: not self._unsent or self._failure is not None, seconds)
            if self._failure is not None:
                raise type(self._failure)(*self._failure.args)

    def abandon(self) -> None:
        """After `stop`: end the open futures here, and leave their tasks in the queue."""
        with self._news:
            left = list(self._futures)
        for task_id in left:
            self._futures.resolve(task_id, error=Detached(f"the client has left; cluster.job({self.job!r}) has the results"))
        self._close(0.0)

    def wait_at_exit(self, heard: float) -> None:
        """As the standard library's executors do: a program ends when its calls have. But when no master was ``heard`` of
        since (monotonic s), it ends without.
        """
        if self.is_forked:
            return
        self.stop()
        with self._news:
            while (self._futures or self._futures.ending) and time.monotonic() - heard < GOODBYE_SECONDS:
                self._news.wait(0.2)
                if self._sending.connected and self._reading.connected:
                    heard = time.monotonic()
            left, unsent = len(self._futures), self._unsent
        if left:
            logger.warning("no master answers: %d calls of job %s have no result yet, %d are not sent", left, self.job, unsent)

    def _close(self, seconds: float) -> None:
        sender, reader = self._threads
        sender.join(seconds)  # it tells what was cancelled
        for queue in (self._sending, self._reading, self._asking):
            queue.close()
        sender.join()
        reader.join()

    # The sender

    def _send(self) -> None:
        most = SEND_TASKS
        while True:
            with self._news:
                while not (self._outbox or self._futures.cancelled or (self._stopping and not self._futures)):
                    self._news.wait()
                batch = [self._outbox.popleft() for _ in range(min(most, len(self._outbox)))]
                cancelled = [self._futures.cancelled.popleft() for _ in range(min(SEND_TASKS, len(self._futures.cancelled)))]
                if not (batch or cancelled or self._outbox or self._futures) and self._stopping:
                    return
            if self._tell_cancelled(cancelled):
                cancelled = []
            wanted = [task for task in batch if task.id in self._futures]  # the others were cancelled meanwhile
            if self._submit(wanted):
                self._note_sent(len(batch))
                most, batch = min(2 * most, SEND_TASKS), []
            if batch or cancelled:
                with self._news:  # again, and fewer of them, once there may be room
                    self._outbox.extendleft(reversed(batch))
                    self._futures.cancelled.extendleft(reversed(cancelled))
                    self._news.wait(FULL_PAUSE)
                most = max(1, len(batch) // 2) if batch else most

    def _note_sent(self, count: int) -> None:
        with self._news:
            self._unsent -= count
            if not self._unsent:
                self._news.notify_all()

    def _tell_cancelled(self, ids: list[str]) -> bool:
        """Send what was cancelled; returns whether the queue's disk had room."""
        try:
            if ids:
                self._sending.cancel(ids)
        except StoreFull:
            return False
        return True

    def _submit(self, batch: list[Task]) -> bool:
        """Send a batch; returns whether the queue had room. Calls that it refuses for good fail, each on its own."""
        batch = self._without_refused(batch)
        if not batch:
            return True
        try:
            new = self._sending.submit(batch)
        except (QueueFull, StoreFull):
            return False
        except (BadRequest, PayloadTooLarge) as error:
            if len(batch) == 1:
                self._futures.resolve(batch[0].id, error=error)
                return True
            middle = len(batch) // 2
            return self._submit(batch[:middle]) and self._submit(batch[middle:])
        with self._news:
            for task in batch:
                if task.id in self._futures:
                    self._futures[task.id].sent = True
            known = [task.id for task in batch if self._futures.is_keyed(task.id)] if new < len(batch) else []
            self._known.update(known)
        if known:
            self._look_at(known, self._sending)
        return True

    def _without_refused(self, batch: list[Task]) -> list[Task]:
        """Without functions by value that no worker takes: these fail now rather than when nobody has come for a while."""
        if self._functions_are_taken or not any(task.name == BY_VALUE for task in batch):
            return batch
        workers = self._sending.workers()
        refused = why_refused(workers)
        if not refused:
            self._functions_are_taken = bool(workers)  # if these workers go, others will come
            return batch
        for task in batch:
            if task.name == BY_VALUE:
                self._futures.resolve(task.id, error=BadRequest(refused))
        return [task for task in batch if task.name != BY_VALUE]

    # The reader

    def _read(self) -> None:
        cursor, heard, generation = 0, time.monotonic(), 0
        while True:
            with self._news:
                while not (self._futures or self._stopping):
                    self._news.wait()
                if not self._futures:
                    self._news.notify_all()
                    return
            try:
                wait = KEYED_POLL_SECONDS if self._doubtful or self._known else POLL_SECONDS
                page = self._reading.results(self.job, cursor, RESULTS_PAGE, wait)
            except StoreFull:
                continue
            for result in page:
                cursor = result.cursor
                self._futures.take(result)
            if page:
                heard = time.monotonic()
            elif generation != self._reading.generation or time.monotonic() - heard > DOUBT_SECONDS:
                heard, generation = time.monotonic(), self._reading.generation
                self._count()
            self._look()

    def _count(self) -> None:
        """All results that there are have come: now the queue should have as many open tasks as this job has open futures."""
        with self._news:
            sent = [future.task_id for future in self._futures.values() if future.sent and future.task_id not in self._known]
        found = self._reading.jobs(self.job, 1, 0)
        if len(sent) > sum(info.open for info in found):
            self._doubtful.extend(sent)

    def _look(self) -> None:
        """Look at some of the calls of which it is not certain that their results will come by themselves."""
        with self._news:
            if not self._doubtful:
                self._known &= self._futures.keys()
                self._doubtful.extend(self._known)
            ids = [self._doubtful.popleft() for _ in range(min(LOOK_TASKS, len(self._doubtful)))]
        self._look_at(ids, self._reading)

    def _look_at(self, ids: list[str], queue: RemoteQueue) -> None:
        """Take the ends of those that have one. What the queue does not know fails: it will have no result any more."""
        while ids := [task_id for task_id in ids if task_id in self._futures]:
            found = queue.show(ids, False)
            for task in found:
                if task.state in END_STATES:
                    self._futures.take(Result(0, task.id, task.state, task.value, task.cause, task.attempts))  # type: ignore[arg-type]
            told = {task.id for task in found}
            ids = [task_id for task_id in ids if task_id not in told]  # for one answer they may be too many
            if not found:
                for task_id in ids:
                    self._futures.resolve(task_id, error=NoSuchTask(f"the queue does not know task {task_id} any more: {_GONE}"))

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; if it fails for good, so does every future."""
        try:
            loop()
        except BaseException as error:
            if isinstance(error, Unreachable) and self._stopping and not self._futures:
                return
            with self._news:
                self._failure = error if isinstance(error, TaskyardError) else TaskyardError(f"the client failed: {error!r}")
                ids = list(self._futures)
                self._news.notify_all()
            for task_id in ids:
                self._futures.resolve(task_id, error=self._failure)


def _at_exit() -> None:
    global _interpreter_ends
    _interpreter_ends = True
    now = time.monotonic()
    try:
        for exchange in list(_all):
            exchange.wait_at_exit(now)
    except KeyboardInterrupt:
        pass  # whoever presses it wants the prompt


at_end(_at_exit)
