"""One thread that owns the engine: many callers, one commit; and the place where long polls wait.

A turn: take the calls that have come in, run them, commit, and only then answer them, so that whatever was answered is
durable. Then the calls that wait (lease, results, get) are given what there is now; they change nothing on the disk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from master.engine import Engine
from taskyard.errors import StoreBroken, StoreFull, TaskyardError
from taskyard.log import get_logger

TURN_CALLS = 500
"""Calls that one commit takes at most."""
DEAF_SECONDS = 2.0
"""When it listens later than it should, because the machine or the disk stood still, it grants the delay to all sessions."""
IDLE_PAGES = 256
"""Pages cut off the file in an idle moment."""
Topic = tuple[str, str]
LEASE: Topic = ("lease", "")
ITEM: Topic = ("item", "")


def results_of(job: str) -> Topic:
    """What a call waits for that waits for results of a job."""
    return ("results", job)


logger = get_logger("master")


class Call:
    """One call of a connection's thread, which sleeps until it is answered."""

    __slots__ = ("answered", "caller_is_gone", "deadline", "error", "run", "topic", "tried", "value")

    def __init__(
        self,
        run: Callable[[], Any],
        topic: Topic | None = None,
        wait: float = 0.0,
        caller_is_gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self.run = run
        self.topic = topic
        """What it waits for while it returns None; None: it does not wait."""
        self.deadline = monotonic() + wait
        self.caller_is_gone = caller_is_gone
        self.tried = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.answered = threading.Lock()
        self.answered.acquire()

    def try_to_answer(self, now: float) -> bool:
        """Run it; answer unless there is nothing yet and time left to wait. Nobody who has gone is given anything."""
        self.tried = True
        try:
            if self.caller_is_gone():
                raise EOFError
            self.value = self.run()
        except EOFError as error:
            self.error = error
        except StoreBroken as error:
            self.error = error
            self.answered.release()
            raise
        except TaskyardError as error:
            self.error = error
        except Exception as error:
            logger.exception("a call failed")
            self.error = error
        if self.value is None and self.error is None and self.deadline > now:
            return False
        self.answered.release()
        return True


class Committer:
    """Runs the engine in a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ended = threading.Event()
        self.broken: BaseException | None = None
        """Why the thread ended by itself."""
        self._inbox: SimpleQueue[Call | None] = SimpleQueue()
        self._waiting: dict[Topic, deque[Call]] = {}
        self._disk_full = False
        self._due = monotonic()
        """When it should take in again what callers say."""
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._due = monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Serve what has come in, then end and close the file."""
        self._inbox.put(None)
        self._thread.join()

    def tell(self, run: Callable[[], Any]) -> None:
        """Run a verb without waiting for it."""
        self._inbox.put(Call(run))

    def call(
        self,
        run: Callable[[], Any],
        topic: Topic | None = None,
        wait: float = 0.0,
        caller_is_gone: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Run a verb; returns once what it changed is durable, raises what it raises.

        With a ``topic`` (`LEASE`, `ITEM`, `results_of` a job) the verb is run again whenever there is news of it, for ``wait``
        seconds, while it returns None. EOFError: the master is stopping; also as soon as ``caller_is_gone`` says so at some news.
        """
        call = Call(run, topic, wait, caller_is_gone)
        self._inbox.put(call)
        while not call.answered.acquire(timeout=1.0):
            if self.ended.is_set() and not call.answered.acquire(blocking=False):
                # A master that stops closes its connections; whoever waits comes back when it is there again.
                raise self.broken if isinstance(self.broken, StoreBroken) else EOFError
        if call.error is not None:
            raise call.error
        return call.value

    # The engine's thread

    def _main(self) -> None:
        try:
            while self._turn(self._take()):
                pass
        except BaseException as error:
            logger.error("the queue stops", error=str(error), exc_info=not isinstance(error, TaskyardError))
            self.broken = error
        finally:
            self.ended.set()
            self.engine.store.close()

    def _take(self) -> list[Call | None]:
        calls: list[Call | None] = []
        self._excuse_delay()
        pause = self._pause()
        self._due = monotonic() + max(0.0, pause)
        try:
            calls.append(self._inbox.get(timeout=pause) if pause > 0 else self._inbox.get_nowait())
            while len(calls) < TURN_CALLS:
                calls.append(self._inbox.get_nowait())
        except Empty:
            pass
        self._excuse_delay()
        self._due = monotonic()
        return calls

    def _excuse_delay(self) -> None:
        delay = monotonic() - self._due
        if delay > DEAF_SECONDS:
            logger.warning("the master stood still", seconds=round(delay, 1))
            self.engine.grant(delay)

    def _pause(self) -> float:
        pause = self._tick()
        deadlines = [call.deadline for calls in self._waiting.values() for call in calls] if pause > 0 else []
        return min([pause, *(deadline - monotonic() for deadline in deadlines)])

    def _turn(self, calls: list[Call | None]) -> bool:
        stopping = None in calls
        changes = []
        for call in calls:
            if call is None:
                continue
            if call.topic is None:
                changes.append(call)
            else:
                self._waiting.setdefault(call.topic, deque()).append(call)
        if changes:
            self._run(changes)
        self._serve_waiting()
        return not stopping

    def _run(self, calls: list[Call]) -> None:
        """Run calls that may change something, commit once, answer. If the store refuses, each is run on its own."""
        try:
            for call in calls:
                call.error = None
                try:
                    call.value = call.run()
                except (StoreFull, StoreBroken):
                    raise
                except TaskyardError as error:  # it has changed nothing
                    call.error = error
            if self.engine.commit():  # where nothing was written nothing is known of the disk
                self._tell_room()
        except Exception as error:
            self.engine.rollback()
            if len(calls) > 1:
                for call in calls:
                    self._run([call])
                return
            self._refused(calls[0], error)
        for call in calls:
            call.answered.release()

    def _refused(self, call: Call, error: Exception) -> None:
        call.error = error
        if isinstance(error, StoreFull):
            self._tell_full(error)
        elif isinstance(error, StoreBroken):
            call.answered.release()
            raise error
        else:
            logger.exception("a call failed")

    def _tell_full(self, error: StoreFull) -> None:
        if not self._disk_full:
            self._disk_full = True
            logger.error("nothing can be written", error=str(error))

    def _tell_room(self) -> None:
        if self._disk_full:
            self._disk_full = False
            logger.warning("there is room on the disk again")

    def _serve_waiting(self) -> None:
        engine, now = self.engine, monotonic()
        ready = engine.has_ready() or engine.drained
        engine.drained = False
        for topic in list(self._waiting):
            news = ready if topic == LEASE else topic == ITEM or topic[1] in engine.jobs_ended
            left = deque(call for call in self._waiting[topic] if not self._served(call, news, now))
            if left:
                self._waiting[topic] = left
            else:
                del self._waiting[topic]
        engine.jobs_ended.clear()
        engine.commit()  # nothing to write: it makes the leases final

    @staticmethod
    def _served(call: Call, news: bool, now: float) -> bool:
        if news or not call.tried or call.deadline <= now or call.caller_is_gone():
            return call.try_to_answer(now)
        return False

    def _tick(self) -> float:
        """Chores, in a transaction of their own; on a full disk they wait."""
        try:
            pause = self.engine.tick()
            if not self.engine.commit() and pause > 0 and self._inbox.empty():
                self.engine.store.give_back_space(IDLE_PAGES)
            return pause
        except StoreFull as error:
            self.engine.rollback()
            self._tell_full(error)
            return 1.0
