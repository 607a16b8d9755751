"""Who runs the engine, and when it commits: many callers, one commit; and the place where long polls wait.

A turn: take the calls that have come in, run them, commit, and only then answer them, so that whatever was answered is
durable. Then the calls that wait (lease, results, get) are given what there is now; they change nothing on the disk. One
thread makes the turns, and listens to the connections itself: nobody is to be woken between a request and its answer.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

from master.engine import Engine
from master.poll import Poll
from master.store import LeadLost
from taskyard.errors import StoreBroken, StoreFull, TaskyardError
from taskyard.log import get_logger

TURN_CALLS = 500
"""Calls that one commit takes at most."""
DEAF_SECONDS = 2.0
"""When it listens later than it should, because the machine or the disk stood still, it grants the delay to all sessions."""
IDLE_PAGES = 1024
"""Pages cut off the file in an idle moment, some four times a second."""
Topic = tuple[str, str]
LEASE: Topic = ("lease", "")
ITEM: Topic = ("item", "")
COPY: Topic = ("copy", "")
"""What a call waits for that is to be run between two transactions."""


def results_of(job: str) -> Topic:
    """What a call waits for that waits for results of a job."""
    return ("results", job)


def without_frames(error: Exception) -> Exception:
    """The same error; the frames that it went through hold what was asked, and may be held by what has the error."""
    return error.with_traceback(None)


logger = get_logger("master")


class Call:
    """One call. Whoever made it sleeps until it is answered, or is told by `finish`."""

    __slots__ = ("answered", "caller_is_gone", "deadline", "error", "ran", "run", "topic", "tried", "value")

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
        self.ran = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.answered = threading.Lock()
        self.answered.acquire()

    def finish(self) -> None:
        """Called once it has its ``value`` or its ``error``, by the thread that runs it."""
        self.answered.release()

    def try_to_answer(self, now: float) -> bool:
        """Run it; answer unless there is nothing yet and time left to wait. Nobody who has gone is given anything."""
        self.tried = True
        try:
            if self.caller_is_gone():
                raise EOFError
            self.value = self.run()
        except (EOFError, TaskyardError) as error:
            self.error = without_frames(error)
        except Exception as error:
            logger.exception("a call failed")
            self.error = without_frames(error)
        if self.value is None and self.error is None and self.deadline > now:
            return False
        self.finish()
        if isinstance(self.error, StoreBroken):
            raise self.error
        return True


class Committer:
    """Runs the engine, in one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ended = threading.Event()
        self.broken: BaseException | None = None
        """Why the queue ended by itself."""
        self.poll = Poll()
        self._inbox: SimpleQueue[Call | None] = SimpleQueue()
        self._waiting: dict[Topic, deque[Call]] = {}
        self._next_deadline = math.inf
        """No call that waits is to be told before that there is nothing."""
        self._disk_full = False
        self._idle = True
        """Whether nobody had asked for anything when it last looked."""
        self._due = monotonic()
        """When it should take in again what callers say."""
        self._thread = threading.Thread(target=self._main, name="engine", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._due = monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Serve what has come in, then end: close the connections, and the file. Also where it has not begun."""
        if self._thread.ident is None:
            self._close()
            return
        self.add(None)
        self._thread.join()

    def add(self, call: Call | None) -> None:
        """Let a call be run, from any thread; `Call.finish` tells of it."""
        self._inbox.put(call)
        self.poll.wake()

    def tell(self, run: Callable[[], Any]) -> None:
        """Run a verb without waiting for it."""
        self.add(Call(run))

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
        self.add(call)
        while not call.answered.acquire(timeout=1.0):
            if self.ended.is_set() and not call.answered.acquire(blocking=False):
                # A master that stops closes its connections; whoever waits comes back when it is there again.
                raise self.broken if isinstance(self.broken, StoreBroken) and not isinstance(self.broken, LeadLost) else EOFError
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call  # it has the error, which has this frame: a cycle
        return call.value

    # The engine's thread

    def _main(self) -> None:
        try:
            while self._turn(self._take()):
                pass
            self._take_last_sample()
        except BaseException as error:
            logger.error("the queue stops", error=str(error), exc_info=not isinstance(error, TaskyardError))
            self.broken = error
        self._close()

    def _close(self) -> None:
        self.ended.set()
        self.poll.close()
        self.engine.close()

    def _take_last_sample(self) -> None:
        try:
            self.engine.take_last_sample()
            self.engine.commit()
        except StoreFull:  # it is as after a crash
            self.engine.rollback()

    def _take(self) -> list[Call | None]:
        self._excuse_delay()
        pause = self._pause()
        self._due = monotonic() + max(0.0, pause)
        self.poll.fall_asleep()
        calls: list[Call | None] = [*self.poll.wait(pause if self._inbox.empty() else 0.0)]
        try:
            while len(calls) < TURN_CALLS:
                calls.append(self._inbox.get_nowait())
        except Empty:
            pass
        self._excuse_delay()
        self._due = monotonic()
        self._idle = not calls
        return calls

    def _excuse_delay(self) -> None:
        delay = monotonic() - self._due
        if delay > DEAF_SECONDS:
            logger.warning("the master stood still", seconds=round(delay, 1))
            self.engine.grant(delay)

    def _pause(self) -> float:
        return min(self._tick(), self._next_deadline - monotonic())

    def _turn(self, calls: list[Call | None]) -> bool:
        changes = [call for call in calls if call is not None and call.topic is None]
        try:
            if changes:
                self._run(changes)
            self._serve_waiting()  # first: for some of them the changes were made
            for call in calls:
                if call is not None and call.topic is not None:
                    self._let_wait(call, call.topic)
            self.engine.commit()  # nothing to write: it makes the leases final
        finally:
            for call in changes:
                if call.ran:
                    call.finish()
        return None not in calls

    def _run(self, calls: list[Call]) -> None:
        """Run calls that may change something, and commit once. If the store refuses, each is run on its own; if it is broken,
        it is for all of them."""
        try:
            for call in calls:
                call.error = None
                try:
                    call.value = call.run()
                except (StoreFull, StoreBroken):
                    raise
                except TaskyardError as error:  # it has changed nothing
                    call.error = without_frames(error)
            if LEASE in self._waiting and not self._disk_full and self.engine.store.has_room():
                self._serve(LEASE)  # runs while the disk writes: what is lent now is known to nobody as taken yet
            if self.engine.commit():  # where nothing was written nothing is known of the disk
                self._tell_room()
        except Exception as error:
            self.engine.rollback()
            if len(calls) > 1 and not isinstance(error, StoreBroken):
                for call in calls:
                    self._run([call])
                return
            self._refused(calls[0], error)
        for call in calls:
            call.ran = True

    def _refused(self, call: Call, error: Exception) -> None:
        if isinstance(error, StoreFull):
            self._tell_full(error)
        elif isinstance(error, StoreBroken):
            if not isinstance(error, LeadLost):  # whose callers are to ask the next leader
                call.error, call.ran = error, True
            raise error
        else:
            logger.exception("a call failed")
        call.error = without_frames(error)

    def _tell_full(self, error: StoreFull) -> None:
        if not self._disk_full:
            self._disk_full = True
            logger.error("nothing can be written", error=str(error))

    def _tell_room(self) -> None:
        if self._disk_full:
            self._disk_full = False
            logger.warning("there is room on the disk again")

    def _serve_waiting(self) -> None:
        """Try the calls that wait for something of which there is news, and end the waits that are over."""
        jobs, self.engine.jobs_ended = self.engine.jobs_ended, set()
        for topic in (COPY, LEASE, ITEM, *map(results_of, jobs)):
            self._serve(topic)
        self.engine.drained = False
        now = monotonic()
        if now >= self._next_deadline:
            self._end_waits(now)

    def _serve(self, topic: Topic) -> None:
        engine, calls = self.engine, self._waiting.pop(topic, None)
        try:
            while calls and (topic != LEASE or engine.has_ready() or engine.drained):
                self._let_wait(calls.popleft(), topic)
        finally:
            if calls:
                self._waiting.setdefault(topic, deque()).extend(calls)

    def _end_waits(self, now: float) -> None:
        waiting, self._waiting, self._next_deadline = self._waiting, {}, math.inf
        for topic, calls in waiting.items():
            for call in calls:
                self._let_wait(call, topic, tried=call.deadline > now)

    def _let_wait(self, call: Call, topic: Topic, tried: bool = False) -> None:
        """Answer, or keep for the next news."""
        if tried or not call.try_to_answer(monotonic()):
            self._waiting.setdefault(topic, deque()).append(call)
            self._next_deadline = min(self._next_deadline, call.deadline)

    def _tick(self) -> float:
        """Chores, in a transaction of their own; on a full disk they wait."""
        try:
            due = self.engine.chores_are_due()
            pause = self.engine.tick()
            changed = self.engine.commit()
            if due:
                self._serve_waiting()  # a task may be ready now: it was delayed, or its worker is gone
                self.engine.commit()  # as after a turn
            if self.engine.take_sample():  # what has no room on the disk now is part of the next one
                self.engine.commit()
            if not changed and due and pause > 0 and self._idle:
                self.engine.store.give_back_space(IDLE_PAGES)
            return pause
        except StoreFull as error:
            self.engine.rollback()
            self._tell_full(error)
            return 1.0
