"""Submit tasks until standard input ends; check every result.

``mixed``: tasks of six kinds, so many at a time, and beside them jobs of many short ones. ``even``: a short task every few
milliseconds, whatever comes, so that each one's delay tells what its worker is at.

Prints JSON lines: what was submitted and came and for how long the oldest has been open, each time in which nothing came though
work was open, and each task that came late (monotonic seconds, which all processes of a host share; late ones only where tasks
are even); at the end the verdict on what this client saw and what the queue tells.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from itertools import count
from random import Random
from typing import Any

from taskyard import Cluster
from taskyard.history import End, Event, faults
from tests.cluster.driver.load import ends_of
from tests.cluster.driver.tasks import square_after

OPEN = 60
"""Tasks of the six kinds that are under way."""
ROUND = 10_000
"""Tasks of one job; then the next one begins, and this one is judged when it is done."""
BATCH = 1000
"""Short tasks of one job."""
BATCHED_OPEN = 4000
"""Short tasks that are under way when a job of more begins, at most."""
BATCHED_RATE = 300.0
"""Short tasks a second; what an outage has kept from being submitted is made up for."""
EVEN_RATE = 50.0
RETRIES = 1000
"""Slots that are killed count as attempts, and so does each loss of a task that has been lost three times: here neither is
the task's fault."""
PATIENCE = 600.0
LATE_SECONDS = 0.5
Kind = tuple[float, int, dict[str, Any]]
"""Seconds of work, bytes of ballast, options."""
SHORT: Kind = (0.0, 0, {})
KINDS: list[Kind] = [
    *[(0.01, 0, {})] * 70,
    *[(0.1, 0, {})] * 20,
    *[(0.01, 0, {"priority": 1})] * 3,
    *[(0.05, 0, {"delay": 1.0})] * 3,
    *[(0.01, 30_000, {})] * 3,
    (2.0, 0, {}),
]
"""Of a hundred tasks."""


class Watch:
    """What was submitted and came, and the times in which nothing came; ``late``: also which tasks came late."""

    def __init__(self, late: bool) -> None:
        self._late = late
        self._lock = threading.Lock()
        self._open: dict[int, float] = {}
        """Since when, the oldest first."""
        self._last = 0.0
        self.submitted = self.came = 0
        self.longest = 0.0

    def begin(self) -> int:
        """A task is submitted; returns its number for `end`."""
        with self._lock:
            now = time.monotonic()
            if not self._open:
                self._last = now
            self.submitted += 1
            self._open[self.submitted] = now
            return self.submitted

    def end(self, number: int) -> None:
        with self._lock:
            now = time.monotonic()
            since, began, self._last = self._open.pop(number), self._last, now
            self.came += 1
            self.longest = max(self.longest, now - began)
        if now - began > LATE_SECONDS:
            tell(gap=[began, now])
        if self._late and now - since > LATE_SECONDS:
            tell(late=[since, now])

    def oldest(self) -> float:
        """For how long the oldest task has been open."""
        with self._lock:
            return time.monotonic() - next(iter(self._open.values())) if self._open else 0.0


class Round:
    """Tasks of one job."""

    def __init__(self, watch: Watch) -> None:
        self.cluster = Cluster(patience=PATIENCE)
        self._watch = watch
        self._futures: list[Future[int]] = []
        self._mapped: list[int] = []
        """Numbers of `Watch`."""
        self._results: Iterator[int] = iter(())
        self._answered: list[Event] = []
        self._wrong: list[str] = []

    def submit(self, n: int, kind: Kind, ended: Callable[[], object]) -> None:
        seconds, ballast, options = kind
        number = self._watch.begin()
        calls = self.cluster.options(retries=RETRIES, backoff=0.1, **options)
        future = calls.submit(square_after, n, seconds, bytes(ballast))

        def note(future: Future[int]) -> None:
            self._watch.end(number)
            self._note(n, future.task_id, future.exception() or future.result())  # type: ignore[attr-defined]
            ended()

        future.add_done_callback(note)
        self._futures.append(future)

    def map(self, tasks: int) -> None:
        """Each call is a task of its own; nothing else may be of this job."""
        self._mapped = [self._watch.begin() for _ in range(tasks)]
        calls = self.cluster.options(retries=RETRIES, backoff=0.1)
        self._results = calls.map(square_after, range(tasks), [0.0] * tasks)

    def _note(self, n: int, task_id: str, value: object) -> None:
        failed = isinstance(value, BaseException)
        self._answered.append(Event("answered", task_id, 0, End("failed", None) if failed else End("done", value)))
        if value != n * n:
            self._wrong.append(f"{n}: {value!r}")

    def finish(self) -> None:
        """Wait until all have ended."""
        wait(self._futures)
        try:
            for n, value in enumerate(self._results):
                self._watch.end(self._mapped[n])
                self._note(n, f"{self.cluster.job_id}-{n}", value)
        except Exception as error:  # what has failed ends the whole map
            self._wrong.append(f"map: {error!r}")

    def judge(self) -> dict[str, object]:
        """Once all have ended: what is wrong with them."""
        ids = [future.task_id for future in self._futures]  # type: ignore[attr-defined]
        ids += [f"{self.cluster.job_id}-{n}" for n in range(len(self._mapped))]
        sent = [Event(what, task_id) for what in ("submitted", "acknowledged") for task_id in ids]
        ended = list(ends_of(self.cluster.job_id))
        self.cluster.shutdown()
        attempts = [event.end.attempts for event in ended if event.end is not None]
        found = [f"{len(ids):,} {broken}: {', '.join(ids[:5])}" for broken, ids in faults([*sent, *self._answered, *ended])]
        if len(self._answered) != len(ids):
            found.append(f"{len(ids):,} tasks, and {len(self._answered):,} answers")
        return {
            "job": self.cluster.job_id,
            "tasks": len(ids),
            "results": len(ended),
            "attempts": sum(attempts),
            "most_attempts": max(attempts, default=0),
            "faults": found,
            "wrong": self._wrong[:5],
        }


class Client:
    """Streams of tasks until ``stopped``, and the verdicts on them."""

    def __init__(self, watch: Watch, stopped: threading.Event) -> None:
        self._watch = watch
        self._stopped = stopped
        self._judges: list[threading.Thread] = []
        self._verdicts: list[dict[str, object]] = []

    def six_kinds(self, seed: int) -> None:
        dealt = kinds(seed)
        room = threading.Semaphore(OPEN)
        while not self._stopped.is_set():
            one = Round(self._watch)
            n = 0
            while n < ROUND and not self._stopped.is_set():
                if room.acquire(timeout=1.0):
                    one.submit(n, next(dealt), room.release)
                    n += 1
            self._judge(one)

    def batches(self) -> None:
        """By turns in a loop of `submit` and with `map`."""
        begun = time.monotonic()
        for number in count():
            due = begun + number * BATCH / BATCHED_RATE
            while self._watch.submitted - self._watch.came > OPEN + BATCHED_OPEN or time.monotonic() < due:
                if self._stopped.wait(0.05):
                    return
            one = Round(self._watch)
            if number % 2:
                one.map(BATCH)
            else:
                for n in range(BATCH):
                    one.submit(n, SHORT, bool)
            self._judge(one)

    def even(self) -> None:
        one = Round(self._watch)
        begun = time.monotonic()
        for n in count():
            if self._stopped.wait(max(0.0, begun + n / EVEN_RATE - time.monotonic())):
                break
            one.submit(n, SHORT, bool)
        self._judge(one)

    def _judge(self, one: Round) -> None:
        def judge() -> None:
            one.finish()
            self._verdicts.append(one.judge())

        self._judges = [thread for thread in self._judges if thread.is_alive()]
        self._judges.append(threading.Thread(target=judge))
        self._judges[-1].start()

    def verdicts(self) -> list[dict[str, object]]:
        """Of all jobs, when they have ended."""
        for judge in self._judges:
            judge.join()
        return self._verdicts


telling = threading.Lock()


def tell(**what: object) -> None:
    with telling:  # each on a line of its own, whatever thread tells it
        print(json.dumps(what), flush=True)


def kinds(seed: int) -> Iterator[Kind]:
    random = Random(seed)
    while True:
        yield from random.sample(KINDS, len(KINDS))


def main(seed: int, load: str) -> None:
    stopped = threading.Event()
    watch = Watch(late=load == "even")
    client = Client(watch, stopped)

    def stop_at_the_end_of_input() -> None:
        sys.stdin.read()
        stopped.set()

    def report() -> None:
        while True:
            tell(submitted=watch.submitted, came=watch.came, oldest=watch.oldest())
            time.sleep(0.2)

    for work in (stop_at_the_end_of_input, report):
        threading.Thread(target=work, daemon=True).start()
    if load == "even":
        client.even()
    else:
        batches = threading.Thread(target=client.batches)
        batches.start()
        client.six_kinds(seed)
        batches.join()
    tell(verdicts=client.verdicts(), longest=watch.longest)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
