"""What moves a task from one state to another: the part of the engine that all verbs and chores share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import inf
from time import monotonic, time
from typing import Any, NamedTuple, cast

from master import rules, sql
from master.backlog import Backlog
from master.backup_copy import Copy
from master.gauges import Gauges
from master.items import Items
from master.leases import Held, Leases, Session
from master.ready import WINDOW, Entry
from master.schedules import Schedules
from master.series import SeriesStore
from master.store import Store
from taskyard.model import END_STATES, State
from taskyard.series import NOT_NUMBERED, TaskSeries, part, split_id

SERIES_TASKS = 1000
"""Of one series on the disk: what takes one of its tasks out reads or copies all of them."""
Row = tuple[Any, ...]


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
        window: int = WINDOW,
    ) -> None:
        self.store = store
        self.payload_limit = payload_limit
        self._bound = bound
        self._clock = clock or Clock()
        self._leases = Leases(lease_time)
        self._series = SeriesStore(store)
        self._backlog = Backlog(store, self._series, self._leases.by_seq, window)
        self.items = Items(store, bound, payload_limit)
        self.gauges = Gauges(store)
        self._schedules = Schedules(store)
        self._copy = Copy(store)
        self._losses: dict[int, int] = {}
        """How often tasks were lost together with their worker, by their seqs."""
        self._waited: set[int] = set()
        """Seqs of tasks that came back from a lease without a counted attempt: how long this one waited is counted already."""
        self._counts: dict[str, int] = dict.fromkeys(("ready", "delayed", *END_STATES), 0)
        self._counts.update(cast("list[tuple[str, int]]", store.rows(sql.COUNT_STATES)))
        self._kept_counts = dict(self._counts)
        self._job_counts: dict[str, Counter[str]] = {}
        """What this transaction adds to the rows of `job`; written once, when it is committed."""
        self._seq: int = store.rows(sql.LAST_SEQ)[0][0]
        self._cursor: int = store.rows(sql.LAST_CURSOR)[0][0]
        self._paused = self._reads_paused()
        """Whether nothing is lent."""
        self._unknown_since: dict[str, float] = {}
        self._next_chores = 0.0
        self._looked = self._clock.monotonic(), self._clock.wall()
        """Both clocks, when the chores last looked at them."""
        self._set_back: float | None = 0.0
        """Seconds by which the wall clock was set back, until what waits by it is put right; at the start nobody knows them."""
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
        self._set_back = None
        self._leases.keep()
        self.items.keep()
        self.gauges.keep()
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
        self.gauges.undo()
        self._schedules.reset()
        self._paused = self._reads_paused()

    def _reads_paused(self) -> bool:
        row = self.store.row(sql.IS_PAUSED)
        return row is not None and bool(row[0])

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

    def _take(self, all_tasks: Sequence[TaskSeries]) -> int:
        """Add tasks, but for those whose id is known; returns how many were new."""
        now, added = self._clock.wall(), 0
        rows: list[TaskSeries] = []
        for tasks in all_tasks:
            if not _fits_a_series(tasks):
                rows.append(tasks)
                continue
            added += self._take_rows(rows, now)
            rows = []
            for new in self._unknown(tasks):
                # Forgotten ids that come again lie within a series that is still there: series never overlap.
                if self._series.overlaps(new.prefix, new.first, len(new.payloads)):
                    added += self._take_rows([new], now)
                    continue
                for begin in range(0, len(new.payloads), SERIES_TASKS):
                    some = part(new, begin, min(begin + SERIES_TASKS, len(new.payloads)))
                    added += self._take_rows([some], now) if len(some.payloads) == 1 else self._take_series(some, now)
        return added + self._take_rows(rows, now)

    def _unknown(self, tasks: TaskSeries) -> Iterator[TaskSeries]:
        """What of a series nobody has submitted before, in as few series as that makes."""
        first, many = tasks.first, len(tasks.payloads)
        if not self._series.overlaps(tasks.prefix, first, many) and not self.store.row(
            sql.NUMBERS, tasks.prefix, first, first + many - 1
        ):
            yield tasks
            return
        begun = None
        for index in range(many + 1):
            known = index == many or self._row(tasks.prefix, first + index) is not None
            if not known and begun is None:
                begun = index
            elif known and begun is not None:
                yield part(tasks, begun, index)
                begun = None

    def _take_series(self, tasks: TaskSeries, now: float) -> int:
        many = len(tasks.payloads)
        entry = self._series.add(self._seq + 1, tasks, now)
        self._seq += many
        self._backlog.push(entry)
        self._counts["ready"] += many
        self._count_job(tasks.job, "tasks", many)
        self.gauges.count(tasks.name, "submitted", many)
        return many

    def _take_rows(self, all_tasks: Sequence[TaskSeries], now: float) -> int:
        """Add tasks with a row each."""
        numbered = list(enumerate(self._not_in_series(all_tasks), self._seq + 1))
        if not numbered:
            return 0
        self._seq += len(numbered)
        added = self.store.change_many(sql.ADD_TASK, (_row_of(seq, *task, now) for seq, task in numbered))
        if added < len(numbered):  # some ids were known: only rows under a number of this call are new
            numbered = [
                (seq, task) for seq, task in numbered if cast(Row, self.store.row(sql.BY_ID, task[0].prefix, task[1]))[0] == seq
            ]
        for seq, (t, number, payload) in numbered:
            if t.delay > 0:
                self._counts["delayed"] += 1
            else:
                begin_by = now + t.expiry if t.expiry else inf
                self._backlog.push(
                    Entry(-t.priority, seq, t.prefix, number, t.job, t.name, [payload], t.time_limit, 0, begin_by, since=now)
                )
                self._counts["ready"] += 1
        for job, many in Counter(task[0].job for _, task in numbered).items():
            self._count_job(job, "tasks", many)
        for name, many in Counter(task[0].name for _, task in numbered).items():
            self.gauges.count(name, "submitted", many)
        return added

    def _not_in_series(self, all_tasks: Sequence[TaskSeries]) -> Iterator[tuple[TaskSeries, int, bytes]]:
        """Each task with its number and payload, but for those that are kept in a series already."""
        for tasks in all_tasks:
            prefix, first, many = tasks.prefix, tasks.first, len(tasks.payloads)
            overlaps = first != NOT_NUMBERED and self._series.overlaps(prefix, first, many)
            for number, payload in enumerate(tasks.payloads, first):
                if not overlaps or self._series.find(prefix, number) is None:
                    yield tasks, number, payload

    def _row(self, prefix: str, number: int) -> Row | None:
        """Seq, state, job, name and attempts of a task, as the disk has them."""
        row = self.store.row(sql.BY_ID, prefix, number)
        place = self._series.find(prefix, number) if row is None and number != NOT_NUMBERED else None
        return row if place is None else (place.seq, place.state, place.series.job, place.series.name, 0)

    def _own_row(self, task_id: str) -> Row | None:
        """The same; an open task of a series has a row of its own from now on."""
        prefix, number = split_id(task_id)
        row = self.store.row(sql.BY_ID, prefix, number)
        place = self._series.find(prefix, number) if row is None and number != NOT_NUMBERED else None
        if place is None:
            return row
        if not place.done:
            self._series.give_row(place.seq, self._series.payload(place), place.series.seq)
        return (place.seq, place.state, place.series.job, place.series.name, 0)

    def _alone(self, entry: Entry) -> Entry:
        """One task that differs from its series from now on."""
        if not entry.series:
            return entry
        self._series.give_row(entry.seq, cast("list[bytes]", entry.payloads)[0], entry.series)
        return entry._replace(series=0)

    def _deleted(self, rows: Counter[tuple[str, str]]) -> int:
        """Count ended tasks that are gone; ``rows``: how many of each state and job."""
        if rows:
            self.store.change(sql.KEEP_CURSOR, self._cursor)
        for (state, job), many in rows.items():
            self._counts[state] -= many
            self._count_job(job, state, -many)
            self._count_job(job, "tasks", -many)
            self._count_job(job, "deleted", many)
        return rows.total()

    # Ends

    def _end(self, row: Sequence[Any], state: State, value: bytes, cause: str, attempts: int) -> None:
        """Write a task's one end; ``row``: as `_own_row` returns it, of a task that is open and not leased."""
        seq, before, job, name = row[:4]
        self._cursor += 1
        self.store.change(sql.END, state, self._cursor, value, cause, attempts, self._clock.wall(), seq)
        self._move(before, state)
        self._count_job(job, state)
        self.gauges.count(name, state)
        self._backlog.remove(name, seq)
        self._losses.pop(seq, None)
        self._waited.discard(seq)
        self.jobs_ended.add(job)

    def _end_done(self, entry: Entry, values: Sequence[bytes], now: float, held: Held) -> None:
        """The tasks of a lease that was taken back have returned these values."""
        self._cursor += entry.many
        if entry.series:
            self._series.end_done(entry.seq, values, entry.series, self._cursor, now, held)
        else:
            self.store.change(
                sql.END_DONE, self._cursor, values[0], now, held.session.host, held.session.name, held.at, entry.seq
            )
        self._move("ready", "done", entry.many)
        self._count_job(entry.job, "done", entry.many)
        self.gauges.count(entry.name, "done", entry.many)
        self.jobs_ended.add(entry.job)
        if self._losses:
            for seq in range(entry.seq, entry.seq + entry.many):
                self._losses.pop(seq, None)
        if self._waited:
            self._waited.difference_update(range(entry.seq, entry.seq + entry.many))

    def _settle_late(self, task_id: str, value: bytes, seconds: float, session: Session) -> bool:
        """The lease was lost, the work is done: its result counts if the task has none yet."""
        row = self._own_row(task_id)
        if row is None or row[1] in END_STATES:
            return False
        self._leases.take_back(row[0])
        self._end(row, "done", value, "", row[4] + 1)
        self.store.change(sql.SET_ATTEMPT, session.host, session.name, 0.0, row[0])
        if seconds:
            self.gauges.count(row[3], "run", 1, seconds)
        return True

    def _attempt_failed(
        self, entry: Entry, value: bytes, cause: str, held: Held, delay: float = -1.0, final: bool = False
    ) -> None:
        """Count an attempt of one task that is not leased any more and ready on the disk."""
        entry = self._alone(entry)
        attempts = entry.attempts + 1
        self._keep_attempt(entry.seq, attempts, held, "failed", cause)
        self.gauges.count(entry.name, "attempts_failed")
        self._waited.discard(entry.seq)
        retries, backoff = self.store.rows(sql.RETRY_RULES, entry.seq)[0]
        if final or not rules.may_retry(retries, attempts, cause):
            self._end((entry.seq, "ready", entry.job, entry.name), "failed", value, cause, attempts)
            return
        self._put_off(entry, delay if delay >= 0 else rules.pause_before_retry(backoff, attempts), attempts, cause)

    def _keep_attempt(self, seq: int, number: int, held: Held, kind: str, cause: str) -> None:
        """Remember an attempt of a task with a row of its own that did not end well."""
        self.store.change(
            sql.ADD_ATTEMPT, seq, number, held.session.host, held.session.name, held.at, self._clock.wall(), kind, cause
        )
        self.store.change(sql.TRIM_ATTEMPTS, seq)

    def _put_off(self, entry: Entry, seconds: float, attempts: int, cause: str) -> None:
        """Let a task of its own wait for so long."""
        self.store.change(sql.DELAY, self._clock.wall() + seconds, attempts, cause, entry.seq)
        self._move("ready", "delayed")
        self._next_chores = 0.0

    # Sessions

    def _workers(self) -> list[Session]:
        return [session for session in self._leases.sessions.values() if session.info]

    def _end_session(self, session: Session, lost: bool) -> int:
        """A session has left or was lost: what it holds goes back. Returns how many tasks that were."""
        self._leases.end(session, self._clock.wall(), lost)
        return self._give_back(session, lost)

    def _give_back(self, session: Session, lost: bool) -> int:
        """End all leases of a session; those of a lost one are remembered as losses. Returns how many tasks it held."""
        alone = self._leases.by_seq.get(session.alone) if lost else None
        entries = self._leases.take_all(session)
        for entry in entries:
            if alone is not None and session.alone == entry.seq:
                self._attempt_failed(entry, b"", "worker lost: it was running this task alone", alone)
                continue
            if lost:
                for seq in range(entry.seq, entry.seq + entry.many):
                    self._losses[seq] = self._losses.get(seq, 0) + 1
            self._come_back(entry)
        return sum(entry.many for entry in entries)

    def _come_back(self, entry: Entry) -> None:
        """Tasks of a lease that was taken back are ready again; no attempt is counted."""
        self._waited.update(range(entry.seq, entry.seq + entry.many))
        self._backlog.push(entry)


def _fits_a_series(tasks: TaskSeries) -> bool:
    """Whether tasks share a row of `series`: big payloads are to be read one by one, and each end of a wait is its own."""
    many = len(tasks.payloads)
    if many == 1 or tasks.delay > 0 or tasks.expiry:
        return False
    return sum(map(len, tasks.payloads)) <= many * sql.INLINE_BYTES


def _row_of(seq: int, tasks: TaskSeries, number: int, payload: bytes, now: float) -> tuple[Any, ...]:
    """A new task, as `sql.ADD_TASK` takes it."""
    prefix, _, job, name, _, priority, delay, retries, backoff, time_limit, result_ttl, expiry = tasks
    state, due = ("delayed", now + delay) if delay > 0 else ("ready", None)
    begin_by = now + expiry if expiry else None
    return (
        *(seq, prefix, number, job, name, payload, -priority, retries, backoff, time_limit, result_ttl, now, begin_by),
        *(state, due),
    )
