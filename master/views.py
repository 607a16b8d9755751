"""The verbs that only look."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from master import rules, sql
from master.leases import Session
from master.moves import Moves
from master.series import SeriesRows, without
from master.sought import Sought
from taskyard.errors import BadRequest
from taskyard.model import END_STATES, OPEN_STATES, Details, Found
from taskyard.series import ResultSeries, join_id, split_id

REPLY_BYTES = 8 * 1024 * 1024
"""Payloads or values that one reply holds, about; at least one goes whatever its size."""
REPLY_ROWS = 50_000
"""Results or tasks that one reply holds."""
VALUES = ResultSeries._fields.index("values")
LONG_OF_FOUND = (Found._fields.index("cause"),)
LONG_OF_DETAILS = tuple(map(Details._fields.index, ("payload", "value", "cause")))
"""Fields that may be long."""
STATE = Found._fields.index("state")
BEHIND_ALL = 2**62
"""A seq that no task has."""
Row = tuple[Any, ...]


class Views(Moves):
    """What clients are told. Replies are plain data, in the order of `taskyard.model`'s fields."""

    def results(self, job: Any, after: Any, limit: Any) -> list[Row]:
        """Results of a job behind a cursor, at most `REPLY_BYTES` of them: rows of `taskyard.series.ResultSeries`."""
        rules.read_text(job, "job")
        after, limit = rules.read_int(after, "after"), _rows(limit)
        alone = self.store.each(sql.RESULTS, job, after)
        page: list[Row] = []
        size = 0
        for row in merge(alone_rows(alone), self._series.results(job, after), key=itemgetter(0)):
            values = row[VALUES]
            fitting = _fitting(values, limit, REPLY_BYTES - size - len(row[VALUES + 1]), not page)
            if fitting < len(values):
                if fitting:
                    page.append((*row[:VALUES], values[:fitting], *row[VALUES + 1 :]))
                break
            page.append(row)
            size += sum(map(len, values)) + len(row[VALUES + 1])
            limit -= len(values)
        return page

    def find(self, state: Any, job: Any, limit: Any, after: Any, name: Any = None, text: Any = None) -> list[Row]:
        """Tasks in a state (None: any), oldest first, skipping ``after``."""
        limit, after = _rows(limit), min(rules.read_int(after, "after"), BEHIND_ALL)
        for value, what in ((job, "job"), (name, "name"), (text, "text")):
            if value is not None:
                rules.read_text(value, what)
        sought = Sought(job, name, text)
        if state is not None and rules.read_text(state, "state") not in (*OPEN_STATES, *END_STATES):
            raise BadRequest(f"no state {state!r:.100}; there are {', '.join((*OPEN_STATES, *END_STATES))}")
        found = self._leased(sought, after) if state == "leased" else self._found(state, sought, after)
        return _page([self._told(row) for row in islice(found, limit)], *LONG_OF_FOUND)

    def _leased(self, sought: Sought, after: int) -> Iterator[Row]:
        """Leased tasks with their seqs, the oldest lease first, but for the first ``after``."""
        leases = ((held.entry, seq, held.entry.number + seq - held.entry.seq) for held, seq in self._leases.all())
        fitting = (one for one in leases if sought.fits(one[0].job, one[0].name, one[0].prefix, one[2]))
        for entry, seq, _ in islice(fitting, after, None):
            if entry.series:
                yield from SeriesRows(self._series.by_seq(entry.series), seq, seq + 1, "ready")
            else:
                yield from self.store.rows(sql.FIND_ONE, seq)

    def _found(self, state: str | None, sought: Sought, after: int) -> Iterator[Row]:
        """Tasks of a state with their seqs, oldest first, but for the first ``after``."""
        first = self._skip(state, sought, after) if after else 0
        if first is None:
            return
        rows = self.store.each(sql.find(state, *sought), *_given(state, sought), first)
        if state == "ready":
            rows = (row for row in rows if row[0] not in self._leases.by_seq)
        series = (run for run in self._of_series(state, sought) if run.end > first)
        yield from merge(rows, chain.from_iterable(run.behind(first) for run in series), key=itemgetter(0))

    def _skip(self, state: str | None, sought: Sought, after: int) -> int | None:
        """Seq of the first task behind so many, which are counted and not read; None: there are no more."""
        runs = ((run.begin, run.end, len(run)) for run in self._of_series(state, sought))
        leased = [(seq, seq + 1, 0) for seq, held in self._leases.by_seq.items() if state == "ready" and not held.entry.series]
        counted_to = 0
        for begin, end, many in chain(merge(runs, sorted(leased)), [(BEHIND_ALL, BEHIND_ALL, 0)]):
            if counted_to < begin:
                limits = counted_to, begin, after + 1
                count, last = self.store.rows(sql.count(state, *sought), *_given(state, sought), *limits)[0]
                if count > after:
                    return int(last)
                after -= count
            if many > after:
                return begin + after
            after -= many
            counted_to = end
        return None

    def _of_series(self, state: str | None, sought: Sought) -> Iterator[SeriesRows]:
        """Those that are kept in series, oldest first."""
        if state not in (None, "ready", "done"):
            return
        leased = sorted(self._leases.by_seq) if state == "ready" else []
        for series in self._series.all(sought.job):
            for begin, end, done in self._series.runs(series):
                if state is not None and done != (state == "done"):
                    continue
                out = leased[bisect_left(leased, begin) : bisect_left(leased, end)]
                for run in without(begin, end, set(out)) if out else [(begin, end)]:
                    for some in sought.runs(series, *run):
                        yield SeriesRows(series, *some, "done" if done else "ready")

    def show(self, ids: Any, payloads: Any) -> list[Row]:
        """All that is known of these tasks, at most `REPLY_BYTES` of it."""
        rules.read_switch(payloads, "payloads")
        shown: list[Row] = []
        size = 0
        for task_id in rules.read_names(ids, "ids"):
            prefix, number = split_id(task_id)
            row = self.store.row(sql.SHOW, payloads, prefix, number) or self._series.show(prefix, number, payloads)
            if row is None:
                continue
            held = self._leases.by_seq.get(row[0])
            row = (*self._told(row), held.session.name if held else "")
            size += _size(row, LONG_OF_DETAILS)
            if (shown and size > REPLY_BYTES) or len(shown) == REPLY_ROWS:
                break
            shown.append(row)
        return shown

    def attempts(self, ids: Any) -> list[Row]:
        """Attempts of these tasks, each task's from its first on; at most `REPLY_BYTES` of them."""
        told: list[Row] = []
        size = 0
        for task_id in rules.read_names(ids, "ids"):
            rows = self._attempts(task_id)
            size += sum(len(row[-1]) for row in rows)
            if told and (size > REPLY_BYTES or len(told) + len(rows) > REPLY_ROWS):
                break
            told += rows
        return told

    def _attempts(self, task_id: str) -> list[Row]:
        row = self._row(*split_id(task_id))
        if row is None:
            return []
        seq, state = row[:2]
        rows = self.store.rows(sql.ATTEMPTS_OF, seq)
        if state == "done":
            rows += self.store.rows(sql.DONE_ATTEMPT, seq) or self.store.rows(sql.DONE_ATTEMPT_OF_PART, seq)
        held = self._leases.by_seq.get(seq)
        if held is not None:
            rows.append((held.entry.attempts + 1, held.session.host, held.session.name, held.at, 0.0, "leased", ""))
        return [(task_id, *one) for one in rows]

    def running(self, job: Any, limit: Any) -> list[Row]:
        """Leased tasks with their progress, the longest lease first."""
        limit, now = _rows(limit), self.now()
        if job is not None:
            rules.read_text(job, "job")
        leases = ((held, seq) for held, seq in self._leases.all() if job in (None, held.entry.job))
        return [
            (
                join_id(held.entry.prefix, held.entry.number + seq - held.entry.seq),
                held.entry.job,
                held.entry.name,
                held.session.name,
                held.entry.attempts + 1,
                round(now - held.since, 3),
                *held.session.progress.get(seq, (0.0, 0.0, "")),
            )
            for held, seq in islice(leases, limit)
        ]

    def jobs(self, job: Any, limit: Any, after: Any) -> list[Row]:
        """Counts of one job or of all, the newest first, skipping ``after``."""
        limit, after = _rows(limit), rules.read_int(after, "after")
        self._write_job_counts()
        if job is not None:
            return self.store.rows(sql.JOB, rules.read_text(job, "job"))[after : after + limit]
        return self.store.rows(sql.JOBS, limit, after)

    def schedules(self) -> list[Row]:
        """Periodic tasks, by name."""
        return self._schedules.told()

    def stats(self) -> dict[str, Any]:
        """Counts by state, and what bounds them."""
        counts = dict(self._counts)
        counts["ready"] -= len(self._leases)
        return {
            **counts,
            "leased": len(self._leases),
            "paused": self._paused,
            "bound": self._bound,
            "payload_limit": self.payload_limit,
            "lease": self._leases.lease_time,
            "workers": len(self._workers()),
            "items": self.items.counts(),
            "bytes": self.store.size(),
        }

    def workers(self) -> list[Row]:
        """What each worker told of itself: those that are alive, then those that left, the latest first."""
        now = self.now()
        alive = [_worker(session, now, 0.0, False) for session in self._workers()]
        return alive + [_worker(session, now, left, lost) for session, left, lost in reversed(self._leases.gone.values())]

    def history(self, since: Any, step: Any) -> list[Row]:
        """Samples behind a moment, the oldest first, in steps of so many seconds at least."""
        since, step = rules.read_seconds(since, "since"), rules.read_seconds(step, "step")
        return [tuple(sample) for sample in self.gauges.history(since, step, self._clock.wall())]

    def kinds(self) -> list[Row]:
        """Counters of each name of tasks, since the master's start."""
        return [tuple(kind) for kind in self.gauges.kinds()]

    def _told(self, row: Row) -> Row:
        """A task's row without its seq, and with the state of a leased one."""
        return row[1:] if row[0] not in self._leases.by_seq else (*row[1 : STATE + 1], "leased", *row[STATE + 2 :])


def _given(state: str | None, sought: Sought) -> list[str]:
    """Arguments of `sql.find` and `sql.count`."""
    return [value for value in (state, *sought) if value is not None]


def _worker(session: Session, now: float, left: float, lost: bool) -> Row:
    """As `taskyard.model.WorkerInfo` has it."""
    info, draining = session.info, session.drain or session.draining
    told = (info[field] for field in ("host", "slots", "busy"))
    told_too = (info[field] for field in ("python", "pid", "version", "cpu", "memory", "started"))
    silent = round(now - session.seen, 3)
    return (session.name, *told, tuple(info["tasks"]), session.leased, silent, *told_too, left, lost, draining)


def alone_rows(rows: Iterable[Row]) -> Iterator[Row]:
    """Results of tasks with rows of their own, as rows of series."""
    for cursor, prefix, number, state, value, cause, attempts in rows:
        yield cursor, prefix, number, state, [value], cause, attempts


def _fitting(values: Sequence[bytes], limit: int, size: int, one_at_least: bool) -> int:
    """How many of the values, at most ``limit``, take at most ``size`` bytes."""
    for index, value in enumerate(values):
        size -= len(value)
        if index == limit or (size < 0 and (index or not one_at_least)):
            return index
    return len(values)


def _rows(limit: Any) -> int:
    return min(rules.read_int(limit, "limit", 1), REPLY_ROWS)


def _size(row: Row, fields: Sequence[int]) -> int:
    return sum(len(row[field]) for field in fields)


def _page(rows: list[Row], *fields: int) -> list[Row]:
    """As many of the rows as one reply may hold, one at least; ``fields``: those that may be long."""
    size = 0
    for index, row in enumerate(rows):
        for field in fields:
            size += len(row[field])
        if size > REPLY_BYTES and index:
            return rows[:index]
    return rows
