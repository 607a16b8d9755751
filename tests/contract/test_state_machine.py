"""Whatever is called, lost, cut and crashed, in whatever order: the queue is as a small model of its states says.

The model is docs/contract.md once more, in a dictionary. Where the contract leaves room (the jitter of a back-off, the
moment at which an unknown name was first seen), the model takes what the queue did and holds it against the bounds.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from master.engine import SUSPECT_AFTER
from taskyard.errors import QueueFull
from taskyard.model import BACKOFF_LIMIT, BY_CAUSE, END_STATES, OPEN_STATES, Lease, Outcome, Result, State, Task
from taskyard.transport import RemoteQueue
from tests.harness import LEASE_TIME, FakeClock, Harness, Kind

BOUND = 30
WINDOW = 3
"""Ready tasks in memory, so that some are only on the disk."""
JOBS = ("one", "two")
NAMES = ("add", "mul", "typo")
SESSIONS = ("s", "t", "doomed")
WORDS = ("exception", "signal: SIG", "expired", "no such cause")
ALIVE = ("exception", "unknown task", "expired")
"""Causes after which the slot still lives: no retry unless the task asks for it."""


@dataclass
class Known:
    """A task, as the model knows it."""

    task: Task
    age: int
    state: State
    due: tuple[float, float] = (0.0, 0.0)
    """While it is delayed: it becomes ready not before the first, not after the second."""
    attempts: int = 0
    losses: int = 0
    holder: str = ""
    token: int = 0
    alone: bool = False
    end: tuple[bytes, str, int] = (b"", "", 0)
    """Value, first words of the cause, attempts: what its result must say."""
    result: Result | None = None
    """Its result as it was read first."""
    expires: float = math.inf
    begin_by: float = math.inf
    since: tuple[float, float] = (0.0, 0.0)
    """It became ready not before the first, not after the second."""
    waited: bool = False
    """The wait of its present attempt was counted: its lease came back."""

    def is_meant(self, name: str | None, job: str | None, cause: str | None) -> bool:
        """Whether it has this name and job, and a cause that begins so."""
        return name in (None, self.task.name) and job in (None, self.task.job) and self.end[1].startswith(cause or "")

    def is_late(self, now: float) -> bool:
        """Whether it had to begin before now, and has not."""
        return self.state in ("ready", "delayed") and self.attempts == 0 and self.begin_by <= now


@dataclass
class Worker:
    """A session, as the model knows it."""

    deadline: float = 0.0
    connection: RemoteQueue | None = None
    names: frozenset[str] | None = None
    draining: bool = False
    drain: bool = False
    """Whether it was told to."""
    stop: dict[str, float] = field(default_factory=dict)


class Model:
    """The states of docs/contract.md, and who moves a task from one to another."""

    def __init__(self, time: FakeClock) -> None:
        self.time = time
        self.ids: list[str] = []
        """Of all tasks that there ever were, oldest first."""
        self.tasks: dict[str, Known] = {}
        self.workers: dict[str, Worker] = {}
        self.to_drain: set[str] = set()
        """Workers that were lost and are still to drain when they come back."""
        self.paused = False
        self.maybe_unknown: dict[str, float] = {}
        """Names that no worker knows, at the earliest since then."""
        self.surely_unknown: dict[str, float] = {}
        """The same, at the latest since then."""
        self.counted: dict[str, Counter[str]] = {name: Counter() for name in NAMES}
        """What there was of each name since the last crash."""
        self.waited: dict[str, tuple[float, float]] = dict.fromkeys(NAMES, (0.0, 0.0))
        """Seconds that all waits together took, at least and at most."""

    @property
    def now(self) -> float:
        return self.time.monotonic

    def of(self, *states: State) -> list[Known]:
        return [known for known in self.tasks.values() if known.state in states]

    def held(self, session: str) -> list[Known]:
        return [known for known in self.of("leased") if known.holder == session]

    def submit(self, tasks: Sequence[Task]) -> int:
        new = {task.id: task for task in reversed(tasks) if task.id not in self.ids}
        for task in sorted(new.values(), key=tasks.index):
            due = self.now + task.delay
            known = Known(task, len(self.ids), "delayed" if task.delay else "ready", (due, due))
            known.begin_by = self.now + task.expiry if task.expiry else math.inf
            known.since = due, due
            self.count(task, "submitted")
            self.tasks[task.id] = known
            self.ids.append(task.id)
        return len(new)

    def count(self, task: Task, what: str) -> None:
        self.counted[task.name][what] += 1

    def hear(self, session: str) -> Worker:
        worker = self.workers.setdefault(session, Worker(drain=session in self.to_drain))
        worker.deadline = self.now + LEASE_TIME
        return worker

    def to_lend(self, session: str, limit: int, names: Sequence[str] | None) -> list[Known]:
        held = self.held(session)
        if self.paused or self.workers[session].draining or self.workers[session].drain or any(known.alone for known in held):
            return []
        share = max(1, math.ceil(len(self.of("ready")) / len(self.workers)))
        wanted = [known for known in self.of("ready") if names is None or known.task.name in names]
        wanted = [known for known in wanted if not known.is_late(self.now)]
        wanted.sort(key=lambda known: (-known.task.priority, known.age))
        wanted = wanted[: min(limit, share)]
        for index, known in enumerate(wanted):
            if known.losses >= SUSPECT_AFTER:
                return wanted[:index] if index or held else [known]
        return wanted

    def lend(self, known: Known, session: str, token: int) -> None:
        known.state, known.holder, known.token = "leased", session, token
        known.alone = known.losses >= SUSPECT_AFTER
        if not known.waited:
            known.waited = True
            self.count(known.task, "wait")
            least, most = self.waited[known.task.name]
            since, at_most = known.since
            self.waited[known.task.name] = least + max(0.0, self.now - at_most), most + self.now - since

    def settle(self, outcomes: Sequence[Outcome]) -> int:
        counted = 0
        for outcome in outcomes:
            known = self.tasks.get(outcome.id)
            if known is None or known.state in END_STATES:
                continue
            current = known.state == "leased" and known.token == outcome.token
            counted += current or outcome.kind == "done"
            if outcome.kind == "done":
                self.end(known, "done", outcome.value, "", known.attempts + 1)
            elif current and outcome.kind == "failed":
                self.fail_attempt(known, outcome.value, outcome.cause, outcome.delay, outcome.final)
            elif current:
                known.state, known.due = "delayed" if outcome.delay > 0 else "ready", (self.now + outcome.delay,) * 2
                known.since = known.due if outcome.delay > 0 else known.since
        return counted

    def end(self, known: Known, state: State, value: bytes, cause: str, attempts: int) -> None:
        known.state, known.end, known.attempts = state, (value, cause, attempts), attempts
        known.expires = self.now + known.task.result_ttl
        self.count(known.task, state)

    def fail_attempt(self, known: Known, value: bytes, cause: str, delay: float = -1.0, final: bool = False) -> None:
        known.attempts, known.waited = known.attempts + 1, False
        self.count(known.task, "attempts_failed")
        by_cause = 0 if cause.startswith(ALIVE) else 2
        if final or known.attempts > (by_cause if known.task.retries == BY_CAUSE else known.task.retries):
            self.end(known, "failed", value, cause, known.attempts)
            return
        pause = min(known.task.backoff * 2 ** (known.attempts - 1), BACKOFF_LIMIT) if delay < 0 else delay
        jitter = pause / 10 + 0.001 if delay < 0 < pause else 0.0
        known.state, known.due = "delayed" if pause else "ready", (self.now + pause - jitter, self.now + pause + jitter)
        known.since = known.due

    def give_back(self, session: str, lost: bool = False) -> int:
        held = self.held(session)
        for known in held:
            known.state = "ready"
            if lost and known.alone:
                self.fail_attempt(known, b"", "worker lost")
            elif lost:
                known.losses += 1
        return len(held)

    def lose(self, sessions: list[str]) -> None:
        for session in sessions:
            self.give_back(session, lost=True)
            self.forget_worker(session)

    def forget_worker(self, session: str) -> None:
        worker = self.workers.pop(session, None)
        if worker is not None and worker.names is not None and worker.drain:
            self.to_drain.add(session)
        elif worker is not None and worker.names is not None:
            self.to_drain.discard(session)

    def cancel(self, ids: Sequence[str]) -> int:
        open_ones = [self.tasks[task_id] for task_id in set(ids) & {known.task.id for known in self.of(*OPEN_STATES)}]
        for known in open_ones:
            if known.state == "leased":
                self.workers[known.holder].stop[known.task.id] = self.now + LEASE_TIME
            self.end(known, "cancelled", b"", "cancelled", known.attempts)
        return len(open_ones)

    def retry(self, ids: Sequence[str]) -> int:
        failed = [self.tasks[task_id] for task_id in set(ids) & {known.task.id for known in self.of("failed")}]
        for known in failed:
            known.state, known.attempts, known.losses, known.result, known.begin_by = "ready", 0, 0, None, math.inf
            known.since, known.waited = (self.now, self.now), False
        return len(failed)

    def forget(self, ended: list[Known]) -> int:
        for known in ended:
            del self.tasks[known.task.id]
        return len(ended)

    def pass_time(self, still_delayed: set[str]) -> None:
        """What is due happens; of a back-off the queue says itself whether it is over."""
        self.lose([session for session, worker in self.workers.items() if worker.deadline <= self.now])
        for known in self.of("delayed"):
            if known.due[1] <= self.now or (known.due[0] <= self.now and known.task.id not in still_delayed):
                known.state = "ready"
        self.forget([known for known in self.of(*END_STATES) if known.expires <= self.now])

    def expire(self) -> None:
        """The queue has looked at what has not begun in time."""
        for known in self.tasks.values():
            if known.is_late(self.now):
                self.end(known, "failed", b"", f"expired: not begun within {known.task.expiry} s", 0)

    def counts(self) -> list[tuple[Any, ...]]:
        """What the queue tells of each job: its tasks, and how many of them are done, failed, cancelled."""
        states: dict[str, list[State]] = {}
        for known in self.tasks.values():
            states.setdefault(known.task.job, []).append(known.state)
        return [(job, len(all_of), *map(all_of.count, END_STATES)) for job, all_of in states.items()]

    def note_names(self, surely: bool) -> None:
        """Which names nobody knows; ``surely``: the queue has looked at them too."""
        told = [worker.names for worker in self.workers.values() if worker.names is not None and not self.paused]
        waiting = {known.task.name for known in self.of("ready")} - set().union(*told) if told else set()
        for name in NAMES:
            if name in waiting:
                self.maybe_unknown.setdefault(name, self.now)
                if surely:
                    self.surely_unknown.setdefault(name, self.now)
            else:
                self.surely_unknown.pop(name, None)
                if surely:
                    self.maybe_unknown.pop(name, None)

    def crash(self) -> None:
        for known in self.of("leased"):
            known.state = "ready"
        for known in self.tasks.values():
            known.losses, known.waited = 0, False
        self.counted.update({name: Counter() for name in NAMES})
        self.waited.update(dict.fromkeys(NAMES, (0.0, 0.0)))
        for in_memory in (self.workers, self.to_drain, self.maybe_unknown, self.surely_unknown):
            in_memory.clear()


few = st.integers(0, 8)
fields = st.fixed_dictionaries(
    {
        "job": st.sampled_from(JOBS),
        "name": st.sampled_from(NAMES),
        "priority": st.integers(-1, 1),
        "delay": st.sampled_from([0, 0, 0, 5, 60]),
        "retries": st.sampled_from([BY_CAUSE, 0, 1, 3]),
        "backoff": st.sampled_from([0, 1, 20, 200]),
        "result_ttl": st.sampled_from([45, 10_000]),
        "expiry": st.sampled_from([0, 0, 0, 10, 40]),
    }
)
names = st.lists(st.sampled_from(NAMES), unique=True)
some_names = st.none() | st.none() | names
kinds = st.sampled_from(["done", "done", "failed", "failed", "released"])
delays = st.sampled_from([-1, -1, 0, 7])
finals = st.sampled_from([False, False, False, True])
causes = st.sampled_from(["exception: KeyError", "signal: SIGKILL (9)"])


class QueueMachine(RuleBasedStateMachine):
    """The rules; what each call returns, and after each rule all that the queue tells, is held against the model."""

    kind: ClassVar[Kind]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.harness = Harness(Path(self.folder.name), self.kind, bound=BOUND, window=WINDOW)
        self.queue = self.harness.queue
        self.connections = [self.harness.another() for _ in range(3)]
        self.model = Model(self.harness.time)
        self.leases: list[Lease] = []
        self.cursor = 0

    def teardown(self) -> None:
        self.harness.end()
        self.folder.cleanup()
        del self.harness, self.queue, self.connections  # a cycle has the machine: their descriptors would stay

    def id_of(self, number: int) -> str:
        return self.model.ids[-1 - number % len(self.model.ids)] if self.model.ids else "none"

    # Clients

    @rule(
        new=st.lists(st.tuples(fields, st.integers(1, 5)), max_size=3),
        big=st.booleans(),
        before=st.integers(0, 3),
        again=st.lists(few, max_size=2),
    )
    def submit(self, new: list[tuple[dict[str, Any], int]], big: bool, before: int, again: list[int]) -> None:
        alike = [fields for fields, many in new for _ in range(many)]
        # Consecutive ids with the same fields travel, and may be kept, as series; these may overlap with former ones.
        overlap = [i for i in self.model.ids[-before:] if i in self.model.tasks] if before and alike else []
        alike = alike[:1] * len(overlap) + alike
        ids = overlap + [f"t-{len(self.model.ids) + n}" for n in range(len(alike) - len(overlap))]
        tasks = [Task(id=i, payload=i.encode() * (1000 if big else 1), **f) for i, f in zip(ids, alike, strict=True)]
        known = [task_id for task_id in map(self.id_of, again) if task_id in self.model.tasks]
        tasks += [Task(task_id, JOBS[0], NAMES[0], b"again", priority=9) for task_id in known]
        tasks += [task._replace(payload=b"again") for task in tasks[:1]]
        unknown = len(alike) - len(overlap)
        if unknown and len(self.model.of(*OPEN_STATES)) + unknown > BOUND:
            with pytest.raises(QueueFull):
                self.queue.submit(tasks)
        else:
            assert self.queue.submit(tasks) == self.model.submit(tasks)

    @rule(many=st.integers(2, 8), job=st.sampled_from(JOBS), priority=st.integers(0, 1))
    def submit_a_series(self, many: int, job: str, priority: int) -> None:
        if len(self.model.of(*OPEN_STATES)) + many <= BOUND:
            ids = [f"t-{len(self.model.ids) + n}" for n in range(many)]
            tasks = [Task(i, job, NAMES[0], i.encode(), priority, backoff=0) for i in ids]
            assert self.queue.submit(tasks) == self.model.submit(tasks)

    @rule(numbers=st.lists(few, max_size=3))
    def cancel(self, numbers: list[int]) -> None:
        ids = [self.id_of(number) for number in numbers]
        assert self.queue.cancel(ids) == self.model.cancel(ids)

    @rule(numbers=st.lists(few, max_size=2), all_failed=st.booleans())
    def retry(self, numbers: list[int], all_failed: bool) -> None:
        ids = [self.id_of(number) for number in numbers]
        ids += [known.task.id for known in self.model.of("failed")] if all_failed else []
        assert self.queue.retry(ids) == self.model.retry(ids)

    @rule(
        name=st.none() | st.sampled_from(NAMES), job=st.none() | st.sampled_from(JOBS), cause=st.none() | st.sampled_from(WORDS)
    )
    def retry_all(self, name: str | None, job: str | None, cause: str | None) -> None:
        meant = [known.task.id for known in self.model.of("failed") if known.is_meant(name, job, cause)]
        assert self.queue.retry_all(name, job, cause) == self.model.retry(meant)

    @rule(paused=st.sampled_from([True] + [False] * 4))
    def pause(self, paused: bool) -> None:
        assert self.queue.pause(paused) == (paused != self.model.paused)
        self.model.paused = paused

    @rule(sessions=st.sampled_from([[]] * 6 + [[session] for session in SESSIONS]))
    def drain(self, sessions: list[str]) -> None:
        told = [worker for name, worker in self.model.workers.items() if name in sessions and worker.names is not None]
        assert self.queue.drain(sessions) == len(told)
        for worker in told:
            worker.drain = True

    @rule(job=st.sampled_from(JOBS))
    def forget(self, job: str) -> None:
        ended = [known for known in self.model.of(*END_STATES) if known.task.job == job]
        assert self.queue.forget(job) == self.model.forget(ended)

    # Workers

    @rule(session=st.sampled_from(SESSIONS), connection=st.integers(0, 2), limit=st.integers(1, 6), names=some_names)
    def lease(self, session: str, connection: int, limit: int, names: list[str] | None) -> None:
        self.lease_on(self.connections[connection], session, limit, names)

    def lease_on(self, connection: RemoteQueue, session: str, limit: int, names: list[str] | None = None) -> None:
        worker = self.model.hear(session)
        if worker.connection is not connection:
            self.model.give_back(session)
            worker.connection = connection
        right = self.model.to_lend(session, limit, names)
        leases = connection.lease(session, limit, 0, names)
        assert [(lease.id, lease.attempt) for lease in leases] == [(known.task.id, known.attempts + 1) for known in right]
        for lease, known in zip(leases, right, strict=True):
            task = known.task
            assert lease[3:] == (task.name, task.payload, task.time_limit, task.job)
            assert lease.token not in {former.token for former in self.leases if former not in leases}
            self.model.lend(known, session, lease.token)
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(
        session=st.sampled_from(SESSIONS),
        said=st.lists(st.tuples(few, kinds, causes, delays, finals, st.sampled_from([0, 0, 0, 1])), min_size=1, max_size=5),
    )
    def settle(self, session: str, said: list[tuple[int, Any, str, float, bool, int]]) -> None:
        outcomes: list[Outcome] = []
        for number, kind, cause, delay, final, off in said:
            lease = self.leases[-1 - number % len(self.leases)]
            value = b"%d of %d" % (len(outcomes), lease.token)
            outcomes.append(Outcome(lease.id, lease.token + off, kind, value, cause, delay, final))
        self.settle_all(session, outcomes)

    @rule(session=st.sampled_from(SESSIONS), kind=kinds, cause=causes, delay=delays)
    def settle_what_it_holds(self, session: str, kind: Any, cause: str, delay: float) -> None:
        held = self.model.held(session)
        self.settle_all(session, [Outcome(known.task.id, known.token, kind, b"held", cause, delay) for known in held])

    def settle_all(self, session: str, outcomes: list[Outcome]) -> None:
        if outcomes:  # else there is nothing to say to the queue
            self.model.hear(session)
        assert self.queue.settle(session, outcomes) == self.model.settle(outcomes)

    @rule(session=st.sampled_from(SESSIONS), names=names, draining=st.sampled_from([False] * 5 + [True]))
    def heartbeat(self, session: str, names: list[str], draining: bool) -> None:
        worker = self.model.hear(session)
        worker.names, worker.draining = frozenset(names), draining
        told = [task_id for task_id, until in worker.stop.items() if until > self.model.now]
        orders = self.queue.heartbeat(session, {"host": "h", "tasks": names, "draining": draining})
        assert (sorted(orders.stop), orders.drain) == (sorted(told), worker.drain)
        self.model.to_drain.discard(session)

    @rule(session=st.sampled_from(SESSIONS))
    def leave(self, session: str) -> None:
        assert self.queue.leave(session) == self.model.give_back(session)
        self.model.forget_worker(session)

    @rule(number=st.integers(0, 2))
    def close(self, number: int) -> None:
        self.close_one(self.connections[number])
        self.connections[number] = self.harness.another()

    def close_one(self, connection: RemoteQueue) -> None:
        self.harness.close(connection)
        self.model.lose([session for session, worker in self.model.workers.items() if worker.connection is connection])

    @rule(times=st.integers(1, SUSPECT_AFTER + 1), limit=st.integers(1, 3))
    def lose_again_and_again(self, times: int, limit: int) -> None:
        for _ in range(times):
            connection = self.harness.another()
            self.lease_on(connection, "doomed", limit)
            self.close_one(connection)
            self.model.note_names(surely=False)

    # The clock, and crashes

    @rule(seconds=st.sampled_from([0.5, 5, 5, 14, 15, 16, 29.5, 30, 60, 400]))
    def advance(self, seconds: float) -> None:
        self.harness.advance(seconds)
        self.model.expire()
        self.model.pass_time({found.id for found in self.queue.find("delayed", None, 100, 0)})
        self.model.note_names(surely=True)
        self.check_results()
        for name, since in self.model.surely_unknown.items():
            late = [known.task.id for known in self.model.of("ready") if known.task.name == name]
            assert not late or self.model.now < since + LEASE_TIME, f"nobody knows {name}, but {late} still wait"

    @rule()
    def crash(self) -> None:
        self.harness.reopen()
        self.model.crash()

    # What always holds

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        self.model.pass_time(set(self.model.tasks))
        self.check_results()
        self.model.note_names(surely=False)
        stats = self.queue.stats()
        for state in (*OPEN_STATES, *END_STATES):
            expected = sorted(self.model.of(state), key=lambda known: known.age)
            found = self.queue.find(state, None, 100, 0)
            if state == "leased":
                found.sort(key=lambda one: self.model.ids.index(one.id))
            assert stats[state] == len(expected), state
            assert [(one.id, one.attempts) for one in found] == [(known.task.id, known.attempts) for known in expected], state
            if state != "leased":
                assert self.queue.find(state, None, 2, 3) == found[3:5]
        leased = {known.task.id for known in self.model.of("leased")}
        found = self.queue.find(None, None, 100, 0)
        assert [page for after in (0, 1, 4, 9) for page in self.queue.find(None, None, 1 + after // 2, after)] == [
            *found[:1],
            *found[1:2],
            *found[4:7],
            *found[9:14],
        ]
        everything = [(one.id, one.state == "leased") for one in found]
        assert everything == [(task_id, task_id in leased) for task_id in self.model.ids if task_id in self.model.tasks]
        assert {running.id for running in self.queue.running(None, 100)} == leased
        assert sorted(info[:1] + info[2:] for info in self.queue.jobs(None, 100, 0)) == sorted(self.model.counts())
        assert stats["paused"] == self.model.paused
        assert stats["workers"] == sum(worker.names is not None for worker in self.model.workers.values())
        self.everything_is_counted_once()

    def everything_is_counted_once(self) -> None:
        told = {kind.name: kind for kind in self.queue.kinds()}
        for name, counts in self.model.counted.items():
            if name not in told:
                assert not counts, name
                continue
            kind = told[name]
            for what in ("submitted", *END_STATES, "attempts_failed"):
                assert getattr(kind, what) == counts[what], (name, what)
            assert sum(kind.wait) == counts["wait"], name
            least, most = self.model.waited[name]
            assert least - 0.001 <= kind.wait_seconds <= most + 0.001, name

    def check_results(self) -> None:
        """One for each ended task, the same ever after, behind all that was read before."""
        last = self.cursor
        for job in JOBS:
            results = self.queue.results(job, 0, 100, 0)
            assert results == sorted(set(results)), "the cursor grows"
            cursors = [0, *(result.cursor for result in results)]
            assert [page for after in cursors[::2] for page in self.queue.results(job, after, 2, 0)] == results
            for result in results:
                known = self.model.tasks[result.id]
                if known.state not in END_STATES and result.cause.startswith("unknown task"):
                    assert known.state == "ready"
                    assert self.model.now >= self.model.maybe_unknown[known.task.name] + LEASE_TIME
                    self.model.end(known, "failed", b"", "unknown task", known.attempts)
                if known.state not in END_STATES and result.cause.startswith("expired"):
                    assert known.is_late(self.model.now)
                    self.model.end(known, "failed", b"", f"expired: not begun within {known.task.expiry} s", 0)
                value, cause, attempts = known.end
                assert (result.state, result.value, result.attempts) == (known.state, value, attempts)
                assert result.cause.startswith(cause) if cause else not result.cause
                assert known.result == result if known.result else result.cursor > last
                known.result = result
                self.cursor = max(self.cursor, result.cursor)
            ended = {known.task.id for known in self.model.of(*END_STATES) if known.task.job == job}
            assert {result.id for result in results} == ended


class InProcess(QueueMachine):
    kind = "in-process"


class Manager(QueueMachine):
    kind = "manager"


@pytest.mark.parametrize(("machine", "examples"), [(InProcess, 300), (Manager, 15)], ids=["in-process", "manager"])
def test_after_any_calls_losses_and_crashes_each_task_is_in_the_one_state_that_the_contract_says(
    machine: type[QueueMachine], examples: int
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
