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
from collections.abc import Callable

from taskyard.ending import at_end
from taskyard.errors import Detached, TaskyardError, Unreachable
from taskyard.futures import Block, Key, OpenCalls, TaskFuture
from taskyard.model import Running
from taskyard.options import Options
from taskyard.reader import RESULTS_PAGE, Reader
from taskyard.sender import Sender
from taskyard.transport import RemoteQueue
from taskyard.urls import is_nats

ASK_SECONDS = 1.0
"""How long a question about what runs waits for a master that does not answer."""
SECOND_LOOK_SECONDS = 0.6
"""For so long `Exchange.stop` looks again at what seems to run: workers give back what they hold behind a long task."""
GOODBYE_SECONDS = 5.0
"""What the end of a program or of an executor waits for a master that does not answer."""
logger = logging.getLogger("taskyard")
_all: weakref.WeakSet[Exchange] = weakref.WeakSet()
_interpreter_ends = False
_process = object()
"""Another one in each forked child: asking for the process id would be a system call for each task."""


class Exchange:
    """Serves the futures of one job. Its threads end once `stop` was called and no call is open."""

    def __init__(self, queue: RemoteQueue, job: str, prefix: str) -> None:
        self.job = job
        self._process = _process
        self._asking = queue.another(ASK_SECONDS)
        self._sending = queue.another()
        self._reading = queue.another()
        self._calls = OpenCalls(prefix)
        self._news = self._calls.news
        self._number = 0
        """Of the next call."""
        # Servers of NATS that lose their power together may lose what they have acknowledged.
        self._sender = Sender(self._sending, self._calls, job, self._note_known, is_nats(queue.url))
        self._reader = Reader(self._reading, self._calls, job, self._sender.is_sent, self._sender.send_again)
        self._failure: TaskyardError | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(loop,), name=f"taskyard-{name}", daemon=True)
            for loop, name in ((self._sender.run, "sender"), (self._reader.run, "reader"))
        ]
        for thread in self._threads:
            thread.start()
        _all.add(self)

    # What a client does

    def add(self, options: Options, payload: bytes, count: int = 1) -> TaskFuture:
        """Submit a task of so many calls. Raises RuntimeError after `stop`."""
        with self._calls.lock:
            self._check_open()
            number, self._number = self._number, self._number + count  # first: whoever is interrupted here must not use it again
            future = self._calls[number] = TaskFuture(number, self)
            self._sender.post(options, number, [payload])
        return future

    def add_keyed(self, options: Options, payload: bytes, key: str) -> TaskFuture:
        """Submit a task with this id, unless that was done already: then returns the future that it has. Raises RuntimeError
        after `stop`."""
        with self._calls.lock:
            self._check_open()
            future = self._calls.known(key)
            if future is not None:
                return future
            future = TaskFuture(key, self)
            former = self._calls.put_keyed(key, future)
            self._sender.post(options, key, [payload])
        if former is not None:
            former.end(None)
        return future

    def add_block(self, options: Options, payloads: list[bytes], count: int, last: Block | None = None) -> Block:
        """Submit tasks: one for each call, or one for so many. Returns the block of their ends: that of the ``last`` ones,
        now longer, where no other calls were made in between. Raises RuntimeError after `stop`."""
        with self._calls.lock:
            self._check_open()
            number, self._number = self._number, self._number + count
            if last is not None and last.first + len(last.ends) == number:
                block = last
                block.ends += [None] * len(payloads)
            else:
                block = Block(self._calls, number, len(payloads))
            self._calls.update(dict.fromkeys(range(number, number + len(payloads)), block))
            self._sender.post(options, number, payloads)
        return block

    def _check_open(self) -> None:
        if self._failure is not None:
            raise type(self._failure)(*self._failure.args)
        if _interpreter_ends:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if self._calls.stopping:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def withdraw(self, future: TaskFuture) -> bool:
        """Let go of a future that was cancelled; returns whether it had no end yet."""
        return self._calls.withdraw(future.key, future)

    def id_of(self, key: Key) -> str:
        """The task's id in the queue."""
        return self._calls.id_of(key)

    def is_sent(self, key: Key) -> bool:
        """Whether the queue has a call, or refused it."""
        return self._sender.is_sent(key)

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked child's copy, whose threads and connections are the parent's."""
        return self._process is not _process

    @property
    def stopped(self) -> bool:
        """Whether it takes no more calls."""
        return self._calls.stopping

    def running(self, key: Key = "") -> list[Running]:
        """Tasks of this job that run, or of the job that has this call; none while there is no master."""
        try:
            job = self.job
            if self._calls.is_keyed(key):  # another client may have submitted it
                job = next((found.job for found in self._asking.show([self.id_of(key)], False)), job)
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
            self._calls.stopping = True
            left = list(self._calls) if cancel else []
            self._news.notify_all()
        deadline = time.monotonic() + SECOND_LOOK_SECONDS
        while left:
            waiting = self._waiting()
            self._calls.cancel(key for key in left if waiting is None or not self.is_sent(key) or self.id_of(key) in waiting)
            left = [key for key in left if key in self._calls]
            if not left or time.monotonic() > deadline:
                return
            with self._news:
                self._news.wait(0.1)

    def wait(self) -> None:
        """After `stop`: return when all futures have ended, and all that was cancelled is told, if there is a master."""
        with self._news:
            while self._calls:
                self._news.wait()
        self._close(GOODBYE_SECONDS)

    def flush(self, seconds: float | None = None) -> None:
        """Wait until all that was submitted is in the queue, so long at most. Raises what has ended the traffic for good, as
        `WrongKey`.
        """
        with self._news:
            self._news.wait_for(lambda: not self._sender.unsent or self._failure is not None, seconds)
            if self._failure is not None:
                raise type(self._failure)(*self._failure.args)

    def abandon(self) -> None:
        """After `stop`: end the open futures here, and leave their tasks in the queue."""
        with self._news:
            left = list(self._calls)
        self._calls.fail(left, Detached(f"the client has left; cluster.job({self.job!r}) has the results"))
        self._close(0.0)

    def wait_at_exit(self, heard: float) -> None:
        """As the standard library's executors do: a program ends when its calls have. But when no master was ``heard`` of
        since (monotonic s), it ends without.
        """
        if self.is_forked:
            return
        self.stop()
        with self._news:
            while (self._calls or self._calls.ending) and time.monotonic() - heard < GOODBYE_SECONDS:
                self._news.wait(0.2)
                if self._sending.connected and self._reading.connected:
                    heard = time.monotonic()
            left, unsent = len(self._calls), self._sender.unsent
        if left:
            logger.warning("no master answers: %d calls of job %s have no result yet, %d are not sent", left, self.job, unsent)

    def _close(self, seconds: float) -> None:
        sender, reader = self._threads
        sender.join(seconds)  # it tells what was cancelled
        for queue in (self._sending, self._reading, self._asking):
            queue.close()
        sender.join()
        reader.join()

    def _note_known(self, keys: list[Key]) -> None:
        self._reader.look_at_known(keys, self._sending)

    # Its threads

    def _guard(self, loop: Callable[[], None]) -> None:
        """Run a thread's loop; if it fails for good, so does every future."""
        try:
            loop()
        except BaseException as error:
            if isinstance(error, Unreachable) and self._calls.stopping and not self._calls:
                return
            with self._news:
                self._failure = error if isinstance(error, TaskyardError) else TaskyardError(f"the client failed: {error!r}")
                left = list(self._calls)
                self._news.notify_all()
            self._calls.fail(left, self._failure)


def _at_exit() -> None:
    global _interpreter_ends
    _interpreter_ends = True
    now = time.monotonic()
    try:
        for exchange in list(_all):
            exchange.wait_at_exit(now)
    except KeyboardInterrupt:
        pass  # whoever presses it wants the prompt


def _note_fork() -> None:
    global _process
    _process = object()


os.register_at_fork(after_in_child=_note_fork)
at_end(_at_exit)
