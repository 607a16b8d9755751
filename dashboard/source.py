"""What the page shows: one poller asks the queue for all open pages, so that its load does not grow with their number."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dashboard.connections import PATIENCE, Connections
from dashboard.page.values import TaskText, text_of
from taskyard.contract import Queue
from taskyard.errors import TaskyardError
from taskyard.log import get_logger
from taskyard.model import OPEN_STATES, Attempt, Found, JobInfo, Kind, Running, Sample, State, WorkerInfo
from taskyard.transport import RemoteQueue

T = TypeVar("T")
PERIOD = 1.0
"""Seconds between two looks while a page is open."""
IDLE_PERIOD = 10.0
"""The same while none is."""
ENDED_PERIOD = 10.0
"""Seconds between two looks at a task that has ended: only somebody's retry changes it, and its value may be big."""
LATE = 5.0
"""Seconds without an answer after which the queue counts as lost; one that is frozen says nothing at all."""
RECENT_SECONDS = 3600.0
"""Of history that is kept; longer ranges are asked for, in coarser steps."""
RATE_SECONDS = 30.0
"""Over which a job's rate is taken."""
MOST_RUNNING, MOST_JOBS = 500, 50
"""Rows that each look asks for."""
MOST_RATES = 1000
"""Jobs whose counts are remembered for their rate."""
MOST_ANSWERS = 200
"""Answers kept for pages that ask the same."""
CALLS = 4
"""Calls for pages under way at a time, beside the poller's."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the queue told last."""

    at: float = 0.0
    """Epoch seconds of the answer; 0: there was none yet."""
    stats: dict[str, Any] = field(default_factory=dict)
    workers: tuple[WorkerInfo, ...] = ()
    running: tuple[Running, ...] = ()
    jobs: tuple[JobInfo, ...] = ()
    """The newest."""
    kinds: tuple[Kind, ...] = ()
    samples: tuple[Sample, ...] = ()
    """Of the last `RECENT_SECONDS`."""
    done: float = 0.0
    """Tasks a second, lately; so is the next."""
    failed: float = 0.0


class Source:
    """Asks the queue of ``queue`` over connections of its own. `start` and `close` it; the rest is for one event loop."""

    def __init__(self, queue: RemoteQueue) -> None:
        self._queue = queue
        self._connections = Connections(queue, CALLS, "dashboard's page")
        self._snapshot = Snapshot()
        self._answered = self._looked = self._woken = time.monotonic()
        self._begun = time.time()
        self._why = ""
        self._rates = Rates()
        self._ends: deque[tuple[float, int, int]] = deque(maxlen=int(10 / PERIOD))
        """Moment, all that were done, all that failed."""
        self._calls: dict[str, str] = {}
        """Of open tasks that pages show, as text."""
        self._answers: OrderedDict[tuple[Any, ...], tuple[float, asyncio.Future[Any]]] = OrderedDict()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._poller: RemoteQueue | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._answered, self._begun = time.monotonic(), time.time()
        self._poller = self._queue.another(PATIENCE)
        self._thread = threading.Thread(target=self._poll, args=(self._poller,), name="page-poller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End for good; calls that are under way raise `Unreachable`."""
        self._stop.set()
        self._wake.set()
        self._connections.close()
        if self._poller is not None and self._thread is not None:
            self._poller.close()
            self._thread.join(5)

    # What pages read

    def now(self) -> Snapshot:
        """What is known, at once."""
        now = time.monotonic()
        if now - self._looked > IDLE_PERIOD:
            self._woken = now
        self._looked = now
        self._wake.set()
        return self._snapshot

    @property
    def lost_since(self) -> float:
        """Epoch seconds since when the queue does not answer; 0: it does."""
        # While nobody looked it was not asked, so that no answer is due yet.
        if not self._why and time.monotonic() - max(self._answered, self._woken) < LATE:
            return 0.0
        return self._snapshot.at or self._begun

    @property
    def why(self) -> str:
        """Why it is lost, in the words of the error; empty where it just says nothing."""
        return self._why

    def rate(self, job: str) -> float:
        """Tasks of this job that end a second, lately; 0: none, or not known yet."""
        return self._rates.of(job)

    # What pages ask for: the same question of several pages is asked once

    async def history(self, span: float, step: float) -> Sequence[Sample]:
        """Samples of the last ``span`` seconds. Raises `TaskyardError`, as all that follow."""
        if span <= RECENT_SECONDS:
            return self.now().samples
        return await self._shared(
            ("history", span, step), lambda queue: queue.history(time.time() - span, step), lambda _: step / 10
        )

    async def jobs(self, limit: int, after: int) -> list[JobInfo]:
        """A page of jobs, the newest first."""
        jobs = await self._shared(("jobs", limit, after), lambda queue: queue.jobs(None, limit, after))
        self._rates.note(jobs)
        return jobs

    async def tasks(self, state: State | None, job: str, name: str, text: str, limit: int, after: int) -> list[Found]:
        """A page of tasks, the oldest first; ``name``, ``job`` and ``text`` (part of the id): empty for any."""
        asked = state, job or None, limit, after, name or None, text or None
        return await self._shared(("tasks", *asked), lambda queue: queue.find(*asked))

    async def task(self, task: str) -> TaskText | None:
        """What is told of a task; None: the queue does not know it."""
        return await self._shared(("task", task), lambda queue: self._text_of(queue, task), _age_of_task)

    async def attempts(self, task: str) -> Sequence[Attempt]:
        """The attempts of a task that are known, the first one first."""
        return await self._shared(("attempts", task), lambda queue: queue.attempts([task]))

    async def act(self, ask: Callable[[Queue], T]) -> T:
        """Change something; what is asked after it is asked anew, and the next snapshot has it."""
        try:
            return await self._connections.call(ask)
        finally:
            self._answers.clear()

    def _text_of(self, queue: Queue, task: str) -> TaskText | None:
        """In a connection's thread. A call stays what it is, and may be megabytes: it is asked for once."""
        call = self._calls.get(task)
        found = queue.show([task], call is None)
        if not found:
            self._calls.pop(task, None)
            return None
        told = text_of(found[0], call)
        if told.details.state in OPEN_STATES:
            self._calls[task] = told.call
            while len(self._calls) > MOST_ANSWERS:
                self._calls.pop(next(iter(self._calls)), None)
        else:
            self._calls.pop(task, None)
        return told

    async def _shared(
        self, key: tuple[Any, ...], ask: Callable[[Queue], T], age: Callable[[T], float] = lambda _: PERIOD * 0.9
    ) -> T:
        """The answer to a question, which may be so many seconds old as ``age`` says of it. Raises `TaskyardError`."""
        known = self._answers.get(key)
        if known is None or _is_stale(*known, age):
            call: Awaitable[T] = self._connections.call(ask)
            known = time.monotonic(), asyncio.ensure_future(call)
            known[1].add_done_callback(_seen)
            self._answers[key] = known
            while len(self._answers) > MOST_ANSWERS:
                self._answers.popitem(last=False)
        self._answers.move_to_end(key)
        answer: T = await asyncio.shield(known[1])
        return answer

    # The poller

    def _poll(self, queue: RemoteQueue) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                self._snapshot = self._ask(queue)
                self._answered, self._why = time.monotonic(), ""
            except TaskyardError as error:
                self._why = str(error)
            except Exception:  # a queue that tells nonsense must not end the page for good
                get_logger("dashboard").exception("what the queue tells can't be read")
                self._why = "what it tells can't be read; the dashboard's log says why"
            self._stop.wait(max(0.05, begun + PERIOD - time.monotonic()))
            if time.monotonic() - self._looked > IDLE_PERIOD:
                self._wake.clear()
                self._wake.wait(IDLE_PERIOD - PERIOD)

    def _ask(self, queue: Queue) -> Snapshot:
        old, now = self._snapshot, time.time()
        since = old.samples[-1].at if old.samples else now - RECENT_SECONDS
        samples = (*old.samples, *queue.history(since, 0.0))
        latest = max(now, samples[-1].at) if samples else now  # the master's clock may be another
        jobs, kinds = tuple(queue.jobs(None, MOST_JOBS, 0)), tuple(queue.kinds())
        self._rates.note(jobs)
        return Snapshot(
            now,
            queue.stats(),
            tuple(queue.workers()),
            tuple(queue.running(None, MOST_RUNNING)),
            jobs,
            kinds,
            tuple(sample for sample in samples if sample.at > latest - RECENT_SECONDS),
            *self._ends_a_second(kinds),
        )

    def _ends_a_second(self, kinds: Iterable[Kind]) -> tuple[float, float]:
        done, failed = (sum(counts) for counts in zip((0, 0), *((kind.done, kind.failed) for kind in kinds), strict=True))
        if self._ends and (done < self._ends[-1][1] or failed < self._ends[-1][2]):
            self._ends.clear()  # the master was started anew, and counts from zero
        self._ends.append((time.monotonic(), done, failed))
        begun, done_then, failed_then = self._ends[0]
        seconds = self._ends[-1][0] - begun
        return ((done - done_then) / seconds, (failed - failed_then) / seconds) if seconds else (0.0, 0.0)


class Rates:
    """How fast jobs go, by what was seen of them. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, deque[tuple[float, int]]] = OrderedDict()

    def note(self, jobs: Iterable[JobInfo]) -> None:
        """What they have come to now."""
        now = time.monotonic()
        with self._lock:
            for job in jobs:
                seen = self._seen.setdefault(job.job, deque())
                self._seen.move_to_end(job.job)
                ended = job.tasks - job.open
                if seen and ended < seen[-1][1]:
                    seen.clear()  # some were tried again
                if not seen or now - seen[-1][0] >= PERIOD / 2:
                    seen.append((now, ended))
                while now - seen[0][0] > RATE_SECONDS and len(seen) > 1:
                    seen.popleft()
            while len(self._seen) > MOST_RATES:
                self._seen.popitem(last=False)

    def of(self, job: str) -> float:
        """Ends a second; 0: none, or not known yet."""
        with self._lock:
            seen = self._seen.get(job)
            if not seen or seen[-1][0] == seen[0][0]:
                return 0.0
            return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


def _is_stale(asked: float, answer: asyncio.Future[T], age: Callable[[T], float]) -> bool:
    if not answer.done():
        return False
    return answer.cancelled() or answer.exception() is not None or time.monotonic() - asked > age(answer.result())


def _age_of_task(told: TaskText | None) -> float:
    return PERIOD * 0.9 if told is None or told.details.state in OPEN_STATES else ENDED_PERIOD


def _seen(answer: asyncio.Future[Any]) -> None:
    if not answer.cancelled():
        answer.exception()  # also where nobody waits for it any more
