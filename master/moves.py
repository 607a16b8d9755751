"""What moves a task from one state to another: the part of the engine that all verbs and chores share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from time import monotonic, time
from typing import Any, NamedTuple, cast

from master import rules, sql
from master.backlog import Backlog
from master.items import Items
from master.leases import Held, Leases, Session
from master.ready import Entry
from master.schedules import Schedules
from master.store import Store
from taskyard.model import END_STATES, Outcome, State, Task


class Clock(NamedTuple):
    """Wall time for what is stored, monotonic time for what is waited for; tests pass their own."""

    wall: Callable[[], float] = time
    monotonic: Callable[[], float] = monotonic


class Moves:
    """Tasks on the disk and in memory, changed alike: after `commit` both hold a change, after `rollback` neither does."""

    def __init__(
        self,
        store: Store,
        *,
        lease_time: float = 30.0,
        bound: int = 10_000_000,
        payload_limit: int = 2**24,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.payload_limit = payload_limit
        self._bound = bound
        self._clock = clock or Clock()
        self._leases = Leases(lease_time)
        self._backlog = Backlog(store, self._leases.seqs)
        self.items = Items(store, bound, payload_limit)
        self._schedules = Schedules(store)
        self._losses: dict[str, int] = {}
        self._counts: dict[str, int] = dict.fromkeys(("ready", "delayed", *END_STATES), 0)
        self._counts.update(cast("list[tuple[str, int]]", store.rows(sql.COUNT_STATES)))
        self._kept_counts = dict(self._counts)
        self._job_counts: dict[str, Counter[str]] = {}
        """What this transaction adds to the rows of `job`; written once, when it is committed."""
        self._seq: int = store.rows(sql.LAST_SEQ)[0][0]
        self._cursor: int = store.rows(sql.LAST_CURSOR)[0][0]
        self._unknown_since: dict[str, float] = {}
        self._next_chores = 0.0
        self.jobs_ended: set[str] = set()
        """Jobs that got a result since the committer last looked."""
        self.drained = False
        """Whether a session has said, since the committer last looked, that it takes no more."""

    def now(self) -> float:
        """Monotonic seconds; from any thread."""
        return self._clock.monotonic()

    def commit(self) -> bool:
        """Make the changes durable; returns whether there were any. Raises `StoreFull`, `StoreBroken`."""
        self._write_job_counts()
        changed = self.store.commit()
        self._leases.keep()
        self.items.keep()
        self._kept_counts.update(self._counts)
        return changed

    def rollback(self) -> None:
        """Take back all changes since the last commit."""
        self.store.rollback()
        self._job_counts.clear()
        self._leases.undo()
        self._counts.update(self._kept_counts)
        self._backlog.reset()
        self.items.reset()
        self._schedules.reset()

    # Counts

    def _open(self) -> int:
        return self._counts["ready"] + self._counts["delayed"]

    def _move(self, before: str, after: str, many: int = 1) -> None:
        self._counts[before] -= many
        self._counts[after] += many

    def _count_job(self, job: str, what: str, many: int = 1) -> None:
        counts = self._job_counts.get(job)
        if counts is None:
            counts = self._job_counts[job] = Counter()
        counts[what] += many

    def _write_job_counts(self) -> None:
        for job, counts in self._job_counts.items():
            added = (counts[what] for what in ("tasks", *END_STATES))
            self.store.change(sql.COUNT_JOB, job, self._clock.wall(), *added)
            if "deleted" in counts:
                self.store.change(sql.REMOVE_JOB, job)
        self._job_counts.clear()

    # Tasks come and go

    def _take(self, tasks: Sequence[Task]) -> int:
        """Add tasks, but for those whose id is known; returns how many were new."""
        now, first = self._clock.wall(), self._seq + 1
        numbered = list(enumerate(tasks, first))
        self._seq += len(tasks)
        added = self.store.change_many(sql.ADD_TASK, (_row_of(seq, task, now) for seq, task in numbered))
        if added < len(tasks):  # some ids were known: only rows under a number of this call are new
            numbered = [(seq, t) for seq, t in numbered if self.store.row(sql.BY_ID, t.id)[0] == seq]  # type: ignore[index]
        for seq, t in numbered:
            if t.delay > 0:
                self._counts["delayed"] += 1
            else:
                begin_by = now + t.expiry if t.expiry else inf
                self._backlog.push(Entry(-t.priority, seq, t.id, t.job, t.name, t.payload, t.time_limit, 0, begin_by))
                self._counts["ready"] += 1
        for job, many in Counter(t.job for _, t in numbered).items():
            self._count_job(job, "tasks", many)
        return added

    def _deleted(self, rows: Sequence[tuple[Any, ...]]) -> int:
        """Count ended tasks whose rows are gone; ``rows``: state and job of each."""
        if rows:
            self.store.change(sql.KEEP_CURSOR, self._cursor)
        for (state, job), many in Counter(rows).items():
            self._counts[state] -= many
            self._count_job(job, state, -many)
            self._count_job(job, "tasks", -many)
            self._count_job(job, "deleted", many)
        return len(rows)

    # Ends

    def _end(self, row: Sequence[Any], state: State, value: bytes, cause: str, attempts: int) -> None:
        """Write a task's one end; ``row``: as `sql.BY_ID` returns it, of a task that is open and not leased."""
        seq, before, job, name = row[:4]
        self._cursor += 1
        self.store.change(sql.END, state, self._cursor, value, cause, attempts, self._clock.wall(), seq)
        self._move(before, state)
        self._count_job(job, state)
        self._backlog.remove(name, seq)
        self.jobs_ended.add(job)

    def _settle_late(self, outcome: Outcome) -> bool:
        """The lease was lost, the work is done: its result counts if the task has none yet."""
        row = self.store.row(sql.BY_ID, outcome.id)
        if row is None or row[1] in END_STATES:
            return False
        self._leases.take_back(outcome.id)
        self._end(row, "done", outcome.value, "", row[4] + 1)
        self._losses.pop(outcome.id, None)
        return True

    def _attempt_failed(self, entry: Entry, value: bytes, cause: str, delay: float = -1.0, final: bool = False) -> None:
        """Count an attempt of a task that is not leased any more; its row says ready."""
        attempts = entry.attempts + 1
        retries, backoff, _ = self.store.rows(sql.RETRY_RULES, entry.seq)[0]
        if final or not rules.may_retry(retries, attempts, cause):
            self._losses.pop(entry.id, None)
            self._end((entry.seq, "ready", entry.job, entry.name), "failed", value, cause, attempts)
            return
        pause = delay if delay >= 0 else rules.pause_before_retry(backoff, attempts)
        self.store.change(sql.DELAY, self._clock.wall() + pause, attempts, cause, entry.seq)
        self._move("ready", "delayed")
        self._next_chores = 0.0

    # Sessions

    def _workers(self) -> list[Session]:
        return [session for session in self._leases.sessions.values() if session.info]

    def _lost(self, session: Session) -> None:
        del self._leases.sessions[session.name]
        self._give_back(session, lost=True)

    def _give_back(self, session: Session, lost: bool) -> int:
        """End all leases of a session; those of a lost one are remembered as losses."""
        all_held = list(self._leases.held_by(session))
        for held in all_held:
            entry = cast(Held, self._leases.take_back(held.entry.id)).entry
            if lost and session.alone == entry.id:
                self._attempt_failed(entry, b"", "worker lost: it was running this task alone")
                continue
            if lost:
                self._losses[entry.id] = self._losses.get(entry.id, 0) + 1
            self._backlog.push(entry)
        return len(all_held)


def _row_of(seq: int, task: Task, now: float) -> tuple[Any, ...]:
    """A new task, as `sql.ADD_TASK` takes it."""
    task_id, job, name, payload, priority, delay, retries, backoff, time_limit, result_ttl, expiry = task
    state, due = ("delayed", now + delay) if delay > 0 else ("ready", None)
    begin_by = now + expiry if expiry else None
    return seq, task_id, job, name, payload, -priority, retries, backoff, time_limit, result_ttl, now, begin_by, state, due
